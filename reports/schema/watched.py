"""The types of what was watched beside the speeds: step times, ranks, resources, devices."""

from __future__ import annotations

from typing import Literal

from bench.records import Record


class Distribution(Record, frozen=True, kw_only=True):
    """Step times of the windows that count, ms per step; `launch` null: of all launches together."""

    trial_id: str
    label: str
    replicas: int
    launch: int | None
    windows: int
    warmup_windows: int | None
    outliers: int | None
    step_ms_min: float | None
    step_ms_p50: float | None
    step_ms_p95: float | None
    step_ms_p99: float | None
    step_ms_max: float | None


class Ranks(Record, frozen=True, kw_only=True):
    """One rank, or a group of ranks with the least, the median and the greatest of theirs: ms per step, medians over
    `windows`. measured: "ready" counts from the window's barrier to the rank's own readiness, else its whole window."""

    trial_id: str
    label: str
    replicas: int
    measured: str
    windows: int
    first_rank: int
    last_rank: int
    hosts: str
    ms_min: float | None
    ms_median: float | None
    ms_max: float | None
    late_share_max: float | None
    late_ms_max: float | None
    chronic_ranks: int


class Resources(Record, frozen=True, kw_only=True):
    """Some windows of one launch: `_max` of any rank and window, `_median` over the windows of the median rank's."""

    trial_id: str
    label: str
    replicas: int
    ranks: int
    launch: int
    kind: Literal["warm-up", "measured"]
    first_window: int
    last_window: int
    cpu_cores_max: float | None
    cpu_cores_median: float | None
    rss_bytes_max: float | None
    rss_bytes_median: float | None
    sent_bytes_per_step_max: float | None
    sent_bytes_per_step_median: float | None
    received_bytes_per_step_max: float | None
    received_bytes_per_step_median: float | None


class Devices(Record, frozen=True, kw_only=True):
    """One trial on its devices: FLOP/s of all of them together, `mfu` and other shares 0 to 1 of `peak_flop_per_second`
    (see `peak_source`) or of what a probe reached on the same device. Null where it is not known."""

    trial_id: str
    label: str
    compute: str
    preset: str
    device: str | None
    devices: int | None
    ranks_per_device: int | None
    flop_per_second: float | None
    useful_flop_per_second: float | None
    peak_flop_per_second: float | None
    peak_source: str | None
    mfu: float | None
    mfu_low: float | None
    mfu_high: float | None
    useful_mfu: float | None
    probed_flop_per_second: float | None
    probed_bytes_per_second: float | None
    share_of_probed: float | None
    joule_per_sample: float | None
    power_w: float | None
    sm_clock_mhz: float | None
    memory_clock_mhz: float | None
    temperature_c: float | None
    throttled_by: str | None
    throttled_share: float | None
    utilisation: float | None
    memory_used_bytes: int | None
    allocated_bytes: int | None
    device_step_ms: float | None
    forward_ms: float | None
    backward_ms: float | None
    update_ms: float | None
    note: str | None
