"""Precision on two axes, each asked for and as it ran: what is computed in, and what goes over the wire."""

from __future__ import annotations

from collections.abc import Iterable
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


def said(axis: Axis) -> str:
    """ "asked float16, ran float32", or a dash where there is nothing to say.

    >>> said(Axis("float16", "float32"))
    'asked float16, ran float32'
    """
    if axis.asked is None and axis.ran is None:
        return DASH
    return f"asked {axis.asked or DASH}, ran {axis.ran or DASH}"


def _joined(told: Iterable[str | None]) -> str | None:
    """Each value once; a rank that says nothing beside ranks that do shows as a dash, which is no precision at all."""
    values = list(dict.fromkeys(told))
    return " | ".join(DASH if value is None else value for value in values) if values not in ([], [None]) else None
