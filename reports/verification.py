"""Was the work equal? What `paceline verify` found of each trial, beside the gates that its launches passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.records import GateOutcome, Result, Worst
from reports.table import Row, gates
from reports.text import DASH, counted, difference

NOT_VERIFIED = "not verified: `paceline verify STUDY` does it"
PLANTED = "average"  # the gate that plants gradients and looks at what the exchange returns


@dataclass(frozen=True, slots=True)
class Proof:
    """One trial's line. `summary` in one sentence; `planted` None: no such gate; `failed` of the verification only.

    launches    what the gates of its launches came to
    """

    row: Row
    summary: str
    launches: str
    losses: str
    gradients: str
    updates: str
    planted: GateOutcome | None
    failed: tuple[GateOutcome, ...]
    open: tuple[GateOutcome, ...]


def proofs(result: Result, rows: Sequence[Row], labels: Mapping[str, str]) -> list[Proof]:
    """One per trial that was started or verified, in the order of the study."""
    return [_proof(result, row, labels) for row in rows if row.launches or row.verified]


def unverified(rows: Sequence[Row]) -> str | None:
    """One remark for a short document: how to have the work of the trials with a speed proven, where it is not."""
    missing = [row.label for row in rows if row.measured and not row.verified]
    if not missing:
        return None
    return NOT_VERIFIED if len(missing) == sum(row.measured is not None for row in rows) else (
        f"{', '.join(missing)}: {NOT_VERIFIED}"
    )  # fmt: skip


def worst(found: Worst | None) -> str:
    """ "3.1e-07, allowed 1.0e-05: the loss of step 4"; a dash where nothing was compared."""
    if found is None:
        return DASH
    apart = "not comparable" if found.difference is None else difference(found.difference)
    return f"{apart}, allowed {difference(found.allowed)}: {found.where}"


def _proof(result: Result, row: Row, labels: Mapping[str, str]) -> Proof:
    found = row.verified
    outcomes = found.gates if found else []
    return Proof(
        row=row,
        summary=_summary(row, labels),
        launches=_launches(result, row),
        losses=worst(found.losses if found else None),
        gradients=worst(found.gradients if found else None),
        updates=worst(found.updates if found else None),
        planted=next((gate for gate in outcomes if gate.gate == PLANTED), None),
        failed=tuple(gate for gate in outcomes if gate.holds is False),
        open=tuple(gate for gate in outcomes if gate.holds is None),
    )


def _summary(row: Row, labels: Mapping[str, str]) -> str:
    found = row.verified
    if found is None:
        return NOT_VERIFIED
    if found.error is not None:
        return f"not verified, the launch failed: {found.error}"
    steps = f"{counted(found.steps, 'step')}, {found.created_utc}"
    if found.reference is None:
        return f"equality not shown, no other stack to compare with ({steps})"
    if found.losses is None:  # the reference itself
        return f"the others are compared with this trial ({steps})"
    return f"against {labels.get(found.reference, found.reference)} ({steps})"


def _launches(result: Result, row: Row) -> str:
    outcomes = [one.gate.holds for one in gates(result) if one.repeat is not None and one.trial_id == row.trial_id]
    if not outcomes:
        return DASH
    rest = [f"{outcomes.count(None)} not applied"] if None in outcomes else []
    rest += [f"{outcomes.count(False)} failed"] if False in outcomes else []
    return ", ".join([f"{outcomes.count(True)} of {len(outcomes)} hold", *rest])
