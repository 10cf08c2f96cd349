"""Windows to numbers: one trial's measured windows, reduced launch by launch. No opinion on whether to show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import pandas

from bench import stats
from bench.records import TrialResult
from bench.stats import Estimate

P99_WINDOWS = 100  # of fewer, p99 is little else than the slowest one


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one trial's launches showed.

    launch_rates        samples per second, one per launch, in order of repeat
    *_per_second        over launches; step_ms_* and skew_ms_median over all job windows, per step
    step_ms_p99         None below P99_WINDOWS windows
    windows, outliers   job windows of all launches, and how many of them lie beyond Tukey's fences; none is left out
    setup_s             start and build, first_step_s: slowest rank, median over launches
    input_wait_share    of the ranks' window time, 0 to 1
    cpu_cores           process CPU time of all ranks per second of job time
    rss_bytes           the largest seen on any rank
    *_bytes_per_step    over the ranks' own TCP connections, all ranks together
    """

    launch_rates: tuple[float, ...]
    samples_per_second: Estimate
    tokens_real_per_second: Estimate | None
    tokens_padded_per_second: Estimate | None
    step_ms_median: float | None
    step_ms_p95: float | None
    step_ms_p99: float | None
    windows: int
    outliers: int
    skew_ms_median: float | None
    setup_s: float | None
    first_step_s: float | None
    input_wait_share: float | None
    cpu_cores: float | None
    rss_bytes: int | None
    received_bytes_per_step: float | None
    sent_bytes_per_step: float | None


def measured_windows(result: TrialResult, windows: pandas.DataFrame) -> pandas.DataFrame:
    """The windows that count: no warm-up, and no local ones (which leave out the exchange) of a full run."""
    chosen = (windows["trial_id"] == result.trial_id) & ~windows["warmup"]
    return windows[chosen & windows["exchange"]] if result.mode == "full" else windows[chosen]


def defect(result: TrialResult, windows: pandas.DataFrame) -> str | None:
    """Why these windows give no speed, or None. `windows` as `measured_windows` returned them."""
    if not result.repeats:
        return "no launch is recorded"
    for repeat in result.repeats:
        own = windows[windows["repeat"] == repeat.repeat]
        if own.empty:
            return f"launch {repeat.repeat} has no measured window"
        ranks = own.groupby("index")["rank"].nunique()
        if len(own) != len(ranks) * own["rank"].nunique() or ranks.min() != ranks.max():
            return f"launch {repeat.repeat} is not whole: some rank lacks a window, or has one twice"
        if (own.groupby("index")["steps"].nunique() > 1).any():
            return f"in launch {repeat.repeat} the ranks disagree on the steps of a window"
        if (own["duration_ns"] <= 0).any() or own["samples"].sum() <= 0 or (own["steps"] <= 0).any():
            return f"launch {repeat.repeat} has a window without time, steps or samples"
    return None


def measure(result: TrialResult, windows: pandas.DataFrame) -> Measured:
    """Only for windows without a `defect`."""
    launches = [windows[windows["repeat"] == repeat.repeat] for repeat in result.repeats]
    paces = [_pace(launch, "samples") for launch in launches]
    steps = np.concatenate([launch.groupby("index")["steps"].first().to_numpy(np.int64) for launch in launches])
    durations = np.concatenate([pace.duration_ns for pace in paces])
    skews = np.concatenate([pace.skew_ns for pace in paces])
    step_ms = durations / steps / 1e6
    rates = _rates(launches, "samples")
    whole = stats.over_launches(rates)
    if whole is None:
        raise ValueError("measure() was given windows with a defect")
    return Measured(
        launch_rates=tuple(rates),
        samples_per_second=whole,
        tokens_real_per_second=_over(_rates(launches, "tokens_real")),
        tokens_padded_per_second=_over(_rates(launches, "tokens_padded")),
        step_ms_median=stats.quantile(step_ms, 0.5),
        step_ms_p95=stats.quantile(step_ms, 0.95),
        step_ms_p99=stats.quantile(step_ms, 0.99) if len(step_ms) >= P99_WINDOWS else None,
        windows=len(step_ms),
        outliers=stats.num_outliers(step_ms),
        skew_ms_median=stats.quantile(skews / steps / 1e6, 0.5),
        setup_s=_slowest_s([[times.start_ns + times.build_ns for times in repeat.setup] for repeat in result.repeats]),
        first_step_s=_slowest_s([[times.first_step_ns for times in repeat.setup] for repeat in result.repeats]),
        input_wait_share=int(windows["input_wait_ns"].sum()) / int(windows["duration_ns"].sum()),
        cpu_cores=int(windows["cpu_ns"].sum()) / int(durations.sum()),
        rss_bytes=None if windows["rss_bytes"].isna().any() else int(windows["rss_bytes"].max()),
        received_bytes_per_step=_network(windows["received_bytes"], int(steps.sum())),
        sent_bytes_per_step=_network(windows["sent_bytes"], int(steps.sum())),
    )


def no_p99(found: Measured) -> str | None:
    """Why there is no p99, or None."""
    return None if found.step_ms_p99 is not None else f"{found.windows} windows, {P99_WINDOWS} are needed"


def _pace(launch: pandas.DataFrame, amount: str) -> stats.Pace:
    return stats.pace(*(launch[name].tolist() for name in ("index", amount, "duration_ns")))


def _rates(launches: Sequence[pandas.DataFrame], amount: str) -> list[float]:
    """`amount` per second of job time, one per launch."""
    paces = [_pace(launch, amount) for launch in launches]
    rates = [stats.throughput(pace.samples, pace.duration_ns) for pace in paces]
    return [rate for rate in rates if rate is not None]


def _over(rates: Sequence[float]) -> Estimate | None:
    """None when a launch had none at all: a geometric mean of zero says nothing."""
    return stats.over_launches(rates) if all(rate > 0 for rate in rates) else None


def _slowest_s(launches: Sequence[Sequence[int]]) -> float | None:
    slowest = [max(ranks) for ranks in launches if ranks]
    return median(slowest) / 1e9 if slowest else None


def _network(of_ranks: pandas.Series[int], steps: int) -> float | None:
    """Bytes per step of the job: every rank counts its own connections. None where any rank does not know."""
    return None if of_ranks.isna().any() else int(of_ranks.sum()) / steps
