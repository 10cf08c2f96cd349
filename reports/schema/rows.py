"""The types of a report's verdicts and rows. A name ends in its unit; unknown is null, never 0."""

from __future__ import annotations

from typing import Literal

from bench.records import Record


class Pair(Record, frozen=True, kw_only=True):
    """The fastest trial of a group against one other: ratio of their samples per second. `shown`: its interval clears
    1 by the practical threshold; null without an interval."""

    other: str
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    shown: bool | None


class Verdict(Record, frozen=True, kw_only=True):
    """About one group of trials with equal work. "not shown": an interval does not clear 1 by the practical threshold;
    "no verdict": `sentence` says why none can be given. `fastest` is a label, and `pairs` are in order of speed.
    work_difference: largest relative difference of any step's loss between the contenders."""

    work: str
    outcome: Literal["shown", "not shown", "no verdict"]
    sentence: str
    fastest: str | None
    work_difference: float | None
    pairs: list[Pair]


class Row(Record, frozen=True, kw_only=True):
    """One trial. Every number is null unless `status` is "ok".

    mode              "bare": one device without a wrapper; "solo": one replica; "full": several
    *_effective       what ran, read back; `precision_mismatch` says in words where it is not what was asked
    reason            why there is no speed; `no_interval` why there is no interval
    samples_per_second, tokens_*_per_second   over launches, of the whole job
    step_ms_*, skew_ms_median, outliers   over all counted `windows` of all launches, per step
    setup_s, first_step_s   slowest rank, median over launches
    input_wait_share  of the ranks' window time, 0 to 1; `cpu_cores` of all ranks together
    rss_bytes         the largest seen on any rank; `*_bytes_per_step` of all ranks' own connections together
    efficiency        samples per second over replicas x those of `baseline` (a trial_id), 1 is ideal; `scaling`
                      "weak": each replica has the baseline's batch, "strong": all together have it
    baseline_note     what stands in the place of an efficiency
    oversubscribed, suspect   caveats in words, to be shown wherever a number of the row is
    warmup_windows_most, launches_unsettled   windows left out at the start, and launches not steady by then
    loss_difference   largest relative difference of a step's loss from those of `loss_reference` (a trial_id)
    metric_value, validation_loss   after `evaluated_steps`, medians over launches
    target_launches   launches that reached `target`; `*_to_target` are null unless all did
    verified_*        what `paceline verify` had found before the run: difference, bound and place of the worst
    """

    trial_id: str
    label: str
    backend: str
    framework: str
    mode: Literal["bare", "solo", "full"]
    replicas: int
    launcher: str
    task: str
    model: str
    sequence_length: int
    batch_per_replica: int
    accumulation: int
    optimizer: str
    compile: bool
    allreduce: str
    compute: str
    compute_effective: str | None
    wire: str | None
    wire_effective: str | None
    precision_mismatch: str | None
    allreduce_effective: str | None
    allreduce_evidence: str | None
    status: Literal["ok", "failed", "not_selectable", "withheld"]
    reason: str | None
    launches: int
    no_interval: str | None
    samples_per_second: float | None
    samples_per_second_low: float | None
    samples_per_second_high: float | None
    tokens_real_per_second: float | None
    tokens_real_per_second_low: float | None
    tokens_real_per_second_high: float | None
    tokens_padded_per_second: float | None
    tokens_padded_per_second_low: float | None
    tokens_padded_per_second_high: float | None
    step_ms_median: float | None
    step_ms_p95: float | None
    step_ms_p99: float | None
    windows: int | None
    outliers: int | None
    skew_ms_median: float | None
    setup_s: float | None
    first_step_s: float | None
    input_wait_share: float | None
    cpu_cores: float | None
    rss_bytes: int | None
    received_bytes_per_step: float | None
    sent_bytes_per_step: float | None
    efficiency: float | None
    efficiency_low: float | None
    efficiency_high: float | None
    scaling: Literal["weak", "strong"] | None
    baseline: str | None
    baseline_note: str | None
    oversubscribed: str | None
    suspect: str | None
    stopped: str | None
    warmup_windows_most: int | None
    launches_unsettled: int | None
    loss_difference: float | None
    loss_reference: str | None
    metric: str | None
    metric_value: float | None
    validation_loss: float | None
    evaluated_steps: float | None
    evaluated_samples: float | None
    target: float | None
    target_launches: int | None
    steps_to_target: float | None
    samples_to_target: float | None
    seconds_to_target: float | None
    seconds_to_target_low: float | None
    seconds_to_target_high: float | None
    target_note: str | None
    verified_utc: str | None
    verified_steps: int | None
    verified_against: str | None
    verified_error: str | None
    verified_loss_difference: float | None
    verified_loss_allowed: float | None
    verified_loss_where: str | None
    verified_gradient_difference: float | None
    verified_gradient_allowed: float | None
    verified_gradient_where: str | None
    verified_update_difference: float | None
    verified_update_allowed: float | None
    verified_update_where: str | None
    verified_gates_failed: int | None
