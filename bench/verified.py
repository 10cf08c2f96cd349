"""What the gates find: records of verification. Part of the file format; import them from bench.records."""

from __future__ import annotations

import math

from bench.trial import Record


class GateOutcome(Record, frozen=True, kw_only=True):
    """`sentence` names the evidence when it holds, and backend, rank, tensor, step, expected and received if not.

    `holds` is None where the gate could not be applied (one rank only, say): shown, never counted as passed.
    `trial_id` is given for gates between trials of a study; those of one launch stand in its Repeat.
    """

    gate: str
    holds: bool | None
    sentence: str
    trial_id: str | None = None


class PlantedTensor(Record, frozen=True, kw_only=True):
    """What one exchange of constant gradients gave one tensor of one local replica: its least and its largest element.
    None: not finite."""

    name: str
    replica: int
    least: float | None
    largest: float | None


class Rehearsal(Record, frozen=True, kw_only=True, tag="rehearsal"):
    """What only `paceline verify` asks of a rank.

    planted        its replicas' gradients were all their own number, counted from 1 over the whole world
    shares         loss numerators, axes (step, local replica, head); None: not finite
    digests        of its part of each step's batch
    repeated       of one batch, trained on again and again after the other steps; per step and head over its replicas
    not_restored   weights that were not those of the snapshot after a restore
    """

    planted: list[PlantedTensor]
    shares: list[list[list[float | None]]]
    digests: list[int]
    repeated: list[list[float | None]]
    not_restored: list[str]


class Worst(Record, frozen=True, kw_only=True):
    """Of many comparisons the one nearest to its bound, or furthest beyond.

    where                 a tensor; or a step, and the rank whose share of the loss it is
    given, expected       losses, or norms of tensors. None: not finite
    difference, allowed   relative to what was expected; of tensors the norm of the difference. None: no number
    """

    where: str
    given: float | None
    expected: float | None
    difference: float | None
    allowed: float

    @property
    def excess(self) -> float:
        """How many times what is allowed; above 1 it fails."""
        return math.inf if self.difference is None else self.difference / self.allowed


class Verified(Record, frozen=True, kw_only=True):
    """What one trial did in `steps` steps, beside that of the trial `reference` (None: there was none to compare with).

    gradients   of the first step. updates: weights after all steps minus the initial ones
    error       the launch failed, and nothing below it is known
    """

    trial_id: str
    backend: str
    replicas: int
    created_utc: str
    steps: int
    reference: str | None
    error: str | None
    losses: Worst | None
    gradients: Worst | None
    updates: Worst | None
    gates: list[GateOutcome]
