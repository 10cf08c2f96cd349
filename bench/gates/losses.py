"""Gates of one launch over its losses, and the loss of the whole job."""

from __future__ import annotations

from collections.abc import Sequence

from bench.gates.outcome import fails, holds
from bench.gates.report import RankReport, windows_of_all
from bench.records import GateOutcome


def seen_weights(reports: Sequence[RankReport]) -> GateOutcome:
    """The loss weights (masked or labelled tokens) that the backends summed are those of the data, at every step.

    Fails when a rank was fed, or used, something else than its share of the global batch.
    """
    steps = 0
    for parts in windows_of_all(reports):
        for step, expected in enumerate(parts[0].global_weights):
            seen = [sum(part.weights[step][head] for part in parts) for head in range(len(expected))]
            steps += 1
            for head, name in enumerate(parts[0].heads):
                if seen[head] != expected[head]:
                    where = f"window {parts[0].window}, step {step}"
                    given = f"the ranks' {name} weights add up to {seen[head]:g}"
                    return fails("data", f"{where}: {given}, the global batch has {expected[head]:g}")
    return holds("data", f"the ranks' loss weights add up to the global batch's at each of {steps} steps")


def finite_loss(reports: Sequence[RankReport]) -> GateOutcome:
    """No step's loss is infinite or not a number, on any rank."""
    step = 0
    for parts in windows_of_all(reports):
        for index in range(len(parts[0].numerators)):
            for report, part in zip(reports, parts, strict=True):
                if None in part.numerators[index]:
                    return fails("finite loss", f"the loss of rank {report.rank} is not finite at step {step}")
            step += 1
    return holds("finite loss", f"finite at all {step} steps")


def step_losses(reports: Sequence[RankReport]) -> list[float | None]:
    """Global loss per step: over heads, the ranks' numerators added, divided by the global weight. None: not finite."""
    return [
        global_loss([part.numerators[step] for part in parts], weights)
        for parts in windows_of_all(reports)
        for step, weights in enumerate(parts[0].global_weights)
    ]


def global_loss(of_ranks: Sequence[Sequence[float | None]], weights: Sequence[float]) -> float | None:
    """`of_ranks`: numerators, axes (rank, head). A head without weight adds nothing."""
    terms = [[numerators[head] for numerators in of_ranks] for head in range(len(weights))]
    known = [[value for value in of_head if value is not None] for of_head in terms]
    total = sum(sum(values) / weight for values, weight in zip(known, weights, strict=True) if weight)
    return total if known == terms else None
