"""Gates of one launch: the precisions that ran, and what was exchanged."""

from __future__ import annotations

from collections.abc import Sequence

from bench.gates.outcome import fails, holds, unknown
from bench.gates.report import RankReport, is_programmed
from bench.records import ITEM_BYTES, ExchangedTensor, GateOutcome, Trial, Wire


def asked_precision(trial: Trial, reports: Sequence[RankReport]) -> GateOutcome:
    """Compute and wire ran as asked, as seen on the tensors or in the graph; a wire is seen only where one is used."""
    for report in reports:
        given = report.facts.compute_dtype
        if given != trial.compute:
            return fails("precision", f"rank {report.rank} computed in {given}, asked was {trial.compute}")
        wire = report.facts.wire_dtype
        if wire is None and trial.replicas > 1 and not is_programmed(trial):
            return fails("precision", f"rank {report.rank} saw no dtype on the wire, asked was {trial.wire}")
        if wire not in (None, trial.wire):
            return fails("precision", f"rank {report.rank} exchanged {wire}, asked was {trial.wire}")
    wire = reports[0].facts.wire_dtype
    return holds("precision", f"computed in {trial.compute}, " + (f"exchanged {wire}" if wire else "no exchange"))


def asked_algorithm(trial: Trial, reports: Sequence[RankReport]) -> GateOutcome:
    """The all-reduce that ran, with its evidence, is the one that was asked; `auto` asks for none."""
    first = reports[0].facts
    if trial.replicas == 1 or is_programmed(trial):
        return unknown("all-reduce", "nothing is exchanged")
    for report in reports:
        ran, evidence = report.facts.algorithm, report.facts.algorithm_evidence
        if trial.allreduce not in ("auto", ran):
            return fails("all-reduce", f"rank {report.rank} ran {ran}, asked was {trial.allreduce} ({evidence})")
        if ran != first.algorithm:
            return fails("all-reduce", f"rank {report.rank} ran {ran}, rank {reports[0].rank} {first.algorithm}")
    said = f"{first.algorithm}: {first.algorithm_evidence}"
    return unknown("all-reduce", said) if first.algorithm == "unknown" else holds("all-reduce", said)


def exchanged_once(trial: Trial, reports: Sequence[RankReport], trained: dict[str, int] | None) -> GateOutcome:
    """A full step's exchange, as issued, holds every trained tensor once, whole, and in the asked dtype.

    `trained`: elements by tensor; None: not known, so nothing can be said.
    """
    if trained is None:
        return unknown("exchange", "what is trained is not known")
    for report in reports:
        if not report.exchange.tensors:
            if trial.replicas > 1:
                return fails("exchange", f"rank {report.rank} exchanged nothing, expected {len(trained)} tensors")
            return unknown("exchange", "one replica: nothing is exchanged")
        wrong = _wrong(report.exchange.tensors, trained, trial.wire) or _miscounted(report, sum(trained.values()))
        if wrong:
            return fails("exchange", f"rank {report.rank}: {wrong}")
    total = sum(trained.values())
    return holds("exchange", f"{len(trained)} tensors, {total:,} elements, each once a step, dense, in {trial.wire}")


def _wrong(tensors: Sequence[ExchangedTensor], trained: dict[str, int], wire: Wire) -> str | None:
    """One clause about the first tensor that was not exchanged as it should, None when all were."""
    times = dict.fromkeys(trained, 0)
    for tensor in tensors:
        times[tensor.name] = times.get(tensor.name, 0) + tensor.count
    for name, count in times.items():
        expected = 1 if name in trained else 0
        if count != expected:
            return f"{name} was exchanged {count} times a step, expected {expected}"
    return next((odd for tensor in tensors if (odd := _odd(tensor, trained[tensor.name], wire))), None)


def _odd(tensor: ExchangedTensor, expected: int, wire: Wire) -> str | None:
    if not tensor.dense:
        return f"{tensor.name} was gathered as a sparse gradient, expected a dense all-reduce"
    if tensor.elements != expected:
        return f"{tensor.name} was exchanged with {tensor.elements:,} elements, expected {expected:,}"
    if tensor.dtype != wire:
        return f"{tensor.name} was exchanged in {tensor.dtype}, asked was {wire}"
    if tensor.bytes != expected * ITEM_BYTES[wire]:
        return f"{tensor.name} was exchanged in {tensor.bytes:,} bytes, expected {expected * ITEM_BYTES[wire]:,}"
    return None


def _miscounted(report: RankReport, expected: int) -> str | None:
    """The wrapper's own count (of its buckets, say), where it has one."""
    given = report.facts.exchange_elements
    return None if given in (None, expected) else f"the wrapper counts {given:,} elements a step, expected {expected:,}"
