"""The types of what stands beside a report's rows: ladder, traces, evaluations, scaling, drift, launches."""

from __future__ import annotations

from typing import Literal

from bench.records import Record


class Ratio(Record, frozen=True, kw_only=True):
    """Samples per second of one trial over those of another. No verdict: that asks for equal work too."""

    trial_id: str
    against: str
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None


class Contrast(Record, frozen=True, kw_only=True):
    """Two trials that differ in one axis alone, the all-reduce or the precision: samples per second of the one over
    those of the other. `reason`: why there is no ratio."""

    axis: str
    trial_id: str
    label: str
    replicas: int
    value: str
    against_trial_id: str
    against: str
    samples_per_second: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    launches: int
    reason: str | None


class Climb(Record, frozen=True, kw_only=True):
    """Where a step of one trial goes: milliseconds per step, and shares of the full step.

    lost = wrapper + contention + input wait + exposed communication. standalone: the same gradients exchanged alone;
    hidden_share: 1 - exposed / standalone. ready_ms, late_share: per rank, in order of rank.
    """

    trial_id: str
    label: str
    bare_ms: float | None
    bare_ms_low: float | None
    bare_ms_high: float | None
    local_ms: float | None
    local_ms_low: float | None
    local_ms_high: float | None
    full_ms: float | None
    full_ms_low: float | None
    full_ms_high: float | None
    lost_ms: float | None
    lost_ms_low: float | None
    lost_ms_high: float | None
    lost_share: float | None
    lost_share_low: float | None
    lost_share_high: float | None
    wrapper_ms: float | None
    wrapper_ms_low: float | None
    wrapper_ms_high: float | None
    wrapper_share: float | None
    wrapper_share_low: float | None
    wrapper_share_high: float | None
    contention_ms: float | None
    contention_ms_low: float | None
    contention_ms_high: float | None
    contention_share: float | None
    contention_share_low: float | None
    contention_share_high: float | None
    input_wait_ms: float | None
    input_wait_ms_low: float | None
    input_wait_ms_high: float | None
    input_wait_share: float | None
    input_wait_share_low: float | None
    input_wait_share_high: float | None
    exposed_communication_ms: float | None
    exposed_communication_ms_low: float | None
    exposed_communication_ms_high: float | None
    exposed_communication_share: float | None
    exposed_communication_share_low: float | None
    exposed_communication_share_high: float | None
    standalone_ms: float | None
    standalone_ms_low: float | None
    standalone_ms_high: float | None
    hidden_share: float | None
    hidden_share_low: float | None
    hidden_share_high: float | None
    skew_ms: float | None
    ready_ms: list[float | None] | None
    late_share: list[float | None] | None
    chronic_stragglers: list[int] | None
    notes: list[str]


class TracedRank(Record, frozen=True, kw_only=True):
    """One rank's timeline, per step: another definition of exposed communication than the ladder's. `slow_down`: what
    tracing did to the speed, as a factor."""

    trial_id: str
    label: str
    rank: int
    host: str
    source: str
    steps: int
    traced_step_ms: float | None
    traced_communication_ms: float | None
    traced_exposed_ms: float | None
    traced_compute_ms: float | None
    traced_overlap: float | None
    slow_down: float | None


class Evaluation(Record, frozen=True, kw_only=True):
    """The model on the validation data; `train_s` without evaluations."""

    trial_id: str
    launch: int
    steps: int
    samples: int
    train_s: float
    metric: str
    value: float | None
    validation_loss: float | None
    reached: bool


class ScalingPoint(Record, frozen=True, kw_only=True):
    """One trial of a scaling series, against both baselines (a trial_id each)."""

    scaling: Literal["weak", "strong"]
    batch: int
    label: str
    trial_id: str
    replicas: int
    samples_per_second: float | None
    baseline_bare: str | None
    speed_up_bare: float | None
    speed_up_bare_low: float | None
    speed_up_bare_high: float | None
    efficiency_bare: float | None
    efficiency_bare_low: float | None
    efficiency_bare_high: float | None
    suspect_bare: str | None
    baseline_solo: str | None
    speed_up_solo: float | None
    speed_up_solo_low: float | None
    speed_up_solo_high: float | None
    efficiency_solo: float | None
    efficiency_solo_low: float | None
    efficiency_solo_high: float | None
    suspect_solo: str | None
    oversubscribed: str | None


class ScalingCurve(Record, frozen=True, kw_only=True):
    """What was fitted to a series: Amdahl's law, and a ring's latency and bandwidth. Null where not fitted."""

    scaling: Literal["weak", "strong"]
    batch: int
    label: str
    amdahl_single_ms_per_sample: float | None
    amdahl_serial: float | None
    ring_alone_ms: float | None
    ring_latency_ms: float | None
    ring_message_ms: float | None
    sentences: str


class Drift(Record, frozen=True, kw_only=True):
    """The sentinel's speed at the end over that at the beginning; null where it was not watched."""

    sentence: str
    shown: bool | None
    span_s: float | None
    drift: float | None
    drift_low: float | None
    drift_high: float | None


class Launch(Record, frozen=True, kw_only=True):
    """One launch of one trial's processes. `place` in the run's order from 1; `after_s` its start after the first's.
    samples_per_second: null where the trial shows no speed. warmup_windows: so many at the start do not count, and
    `settled` false: not steady by then."""

    place: int
    trial_id: str
    label: str
    replicas: int
    repeat: int
    started_utc: str
    after_s: float | None
    wall_s: float
    samples_per_second: float | None
    warmup_windows: int | None
    settled: bool | None
    error: str | None
