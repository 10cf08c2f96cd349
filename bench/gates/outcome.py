"""What a gate says."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records import GateOutcome


def holds(gate: str, sentence: str, trial_id: str | None = None) -> GateOutcome:
    """`sentence`: the evidence."""
    return GateOutcome(gate=gate, holds=True, sentence=sentence, trial_id=trial_id)


def fails(gate: str, sentence: str, trial_id: str | None = None) -> GateOutcome:
    """`sentence`: who, where, what was expected and what was received."""
    return GateOutcome(gate=gate, holds=False, sentence=sentence, trial_id=trial_id)


def unknown(gate: str, sentence: str, trial_id: str | None = None) -> GateOutcome:
    """`sentence`: why the gate cannot be applied."""
    return GateOutcome(gate=gate, holds=None, sentence=sentence, trial_id=trial_id)


def first_failure(outcomes: Sequence[GateOutcome]) -> str | None:
    """The sentence of the first gate that does not hold, with its name."""
    return next((f"gate {outcome.gate!r}: {outcome.sentence}" for outcome in outcomes if outcome.holds is False), None)
