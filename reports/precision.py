"""What was asked for and what ran: the precision of the arithmetic and of the wire, and the all-reduce algorithm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.records import TrialResult
from reports.text import DASH


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of one trial.

    asked   None where nothing is exchanged, so that no wire precision means anything
    ran     what all ranks of all launches read back, joined by a bar where they disagree; None: none has said
    """

    asked: str | None
    ran: str | None

    @property
    def differs(self) -> bool:
        """Something else ran than what was asked for. Unknown does not differ."""
        return self.asked is not None and self.ran is not None and self.asked != self.ran


def compute(result: TrialResult) -> Axis:
    """Of the forward and backward pass."""
    told = [facts.compute_dtype for repeat in result.repeats for facts in repeat.facts]
    return Axis(result.trial.compute, _joined(told))


def wire(result: TrialResult) -> Axis:
    """Of the exchanged gradients. One device has no wire; neither has one rank that was seen to exchange nothing."""
    told = [facts.wire_dtype for repeat in result.repeats for facts in repeat.facts]
    ran = _joined(told)
    idle = result.mode == "bare" or (result.mode == "solo" and bool(told) and ran is None)
    return Axis(None if idle else result.trial.wire, ran)


def allreduce(result: TrialResult) -> Axis:
    """The algorithm. Where the stack was left to choose, nothing was asked; one replica exchanges with nobody."""
    told = [facts.algorithm for repeat in result.repeats for facts in repeat.facts]
    if result.trial.replicas == 1:
        return Axis(None, None)
    return Axis(None if result.trial.allreduce == "auto" else result.trial.allreduce, _joined(told))


def evidence(result: TrialResult) -> str | None:
    """How the algorithm is known, as the backends say it."""
    if result.trial.replicas == 1:
        return None
    return _joined(facts.algorithm_evidence for repeat in result.repeats for facts in repeat.facts)


def said(axis: Axis) -> str:
    """The precision where it ran as asked, both where it did not, or a dash where there is nothing to say.

    >>> said(Axis("float16", "float32")), said(Axis("float16", "float16"))
    ('asked float16, ran float32', 'float16')
    """
    if axis.asked == axis.ran or axis.asked is None:
        return axis.ran or DASH
    return f"asked {axis.asked}" if axis.ran is None else f"asked {axis.asked}, ran {axis.ran}"


def shared(computes: Sequence[Axis], wires: Sequence[Axis]) -> str | None:
    """A sentence about a run in which every trial was asked for the same; None where there are several precisions."""
    asked = [{axis.asked for axis in axes if axis.asked is not None} for axes in (computes, wires)]
    if max(map(len, asked)) > 1 or not asked[0]:
        return None
    said = [f"{name} {value}" for name, values in zip(("compute", "wire"), asked, strict=True) for value in values]
    whose = "asked of all trials" if any(axis.differs for axis in (*computes, *wires)) else "all trials"
    return f"{whose}: {', '.join(said)}"


def _joined(told: Iterable[str | None]) -> str | None:
    """Each value once; a rank that says nothing beside ranks that do shows as a dash, which is no precision at all."""
    values = list(dict.fromkeys(told))
    return " | ".join(DASH if value is None else value for value in values) if values not in ([], [None]) else None
