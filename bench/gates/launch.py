"""Gates of one launch: what all ranks did, against what the trial says and against one another."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.gates.exchange import asked_algorithm, asked_precision, exchanged_once
from bench.gates.losses import finite_loss, seen_weights
from bench.gates.outcome import fails, holds, unknown
from bench.gates.report import RankReport, trained_elements
from bench.gates.settings import asked_settings, sound_loss_scale
from bench.records import Assignment, GateOutcome


def of_launch(assignment: Assignment, reports: Sequence[RankReport]) -> list[GateOutcome]:
    """All gates of one launch, in the order in which a reader would ask. A failure names the backend."""
    trial, trained = assignment.trial, trained_elements(assignment)
    outcomes = [
        same_parameters(reports, trained),
        asked_threads(assignment, reports),
        asked_precision(trial, reports),
        asked_settings(trial, reports, trained),
        sound_loss_scale(trial, reports),
        exchanged_once(trial, reports, trained),
        asked_algorithm(trial, reports),
        seen_weights(reports),
        finite_loss(reports),
        same_weights(reports),
    ]
    return [named(outcome, trial.backend) for outcome in outcomes]


def named(outcome: GateOutcome, backend: str) -> GateOutcome:
    """The same, with the backend in the sentence of a failure."""
    if outcome.holds is not False:
        return outcome
    return msgspec.structs.replace(outcome, sentence=f"{backend}: {outcome.sentence}")


def same_parameters(reports: Sequence[RankReport], trained: dict[str, int] | None = None) -> GateOutcome:
    """Every rank trains the same number of elements: those of the initial checkpoint, where it is known."""
    expected, whose = reports[0].facts.parameter_elements, f"on rank {reports[0].rank}"
    if trained is not None:
        expected, whose = sum(trained.values()), "in the initial checkpoint"
    for report in reports:
        count = report.facts.parameter_elements
        if count != expected:
            return fails(
                "parameters", f"rank {report.rank} trains {count:,} elements, expected {expected:,} as {whose}"
            )
    return holds("parameters", f"{expected:,} trained elements on every rank")


def asked_threads(assignment: Assignment, reports: Sequence[RankReport]) -> GateOutcome:
    """Every rank is set to the threads of its replicas: a stack with more would only look fast.

    What a framework reports is its setting (TensorFlow) or its pool (PyTorch), not threads seen at work.
    """
    expected = assignment.trial.threads_per_replica * assignment.local_replicas
    for report in reports:
        if report.facts.threads is None:
            return unknown("threads", f"rank {report.rank} cannot tell its threads")
        if report.facts.threads != expected:
            return fails("threads", f"rank {report.rank} has {report.facts.threads} threads, asked were {expected}")
    return holds("threads", f"{expected} per rank, as the frameworks report their own setting")


def same_weights(reports: Sequence[RankReport]) -> GateOutcome:
    """After the last step every tensor is bitwise the same on all ranks and replicas: the exchange reached everyone."""
    copies = [(report.rank, tensor) for report in reports for tensor in report.weights.tensors]
    expected = {tensor.name: tensor for rank, tensor in reversed(copies)}
    replicas = len({(rank, tensor.replica) for rank, tensor in copies} | {(report.rank, 0) for report in reports})
    if replicas < 2:
        return unknown("weights", "one replica: nothing to compare")
    for rank, tensor in copies:
        first = expected[tensor.name]
        if tensor.sha256 != first.sha256:
            return fails(
                "weights",
                f"{tensor.name} differs on rank {rank}, replica {tensor.replica}: norm {_said(tensor.norm)}, "
                f"expected {_said(first.norm)} as on rank 0; the exchange did not reach it",
            )
    names = {name: sum(tensor.name == name for _, tensor in copies) for name in expected}
    for name, count in names.items():
        if count != replicas:
            return fails("weights", f"{name} was found on {count} of {replicas} replicas")
    return holds("weights", f"{len(expected)} tensors bitwise equal on {replicas} replicas")


def _said(norm: float | None) -> str:
    return "not finite" if norm is None else f"{norm:.9g}"
