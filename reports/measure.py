"""Windows to numbers: one trial's measured windows, reduced launch by launch. No opinion on whether to show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from bench import stats
from bench.records import TrialResult
from bench.stats import Estimate, Integers, Pace
from reports.windows import LaunchWindows, NotWhole, Windows

P95_WINDOWS = 20
P99_WINDOWS = 100  # of fewer, p95 and p99 are little else than the slowest one


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one trial's launches showed.

    launch_rates        samples per second, one per launch, in order of repeat
    *_per_second        over launches; step_ms_* and skew_ms_median over all job windows, per step
    step_ms_p95, p99    None below P95_WINDOWS, P99_WINDOWS windows
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


def counted(result: TrialResult, windows: Windows) -> list[LaunchWindows]:
    """Of each launch the windows that count: no warm-up, and no local ones, which leave out the exchange. Raises
    NotWhole; where there is no `defect`, it does not."""
    return [_counted(windows.launch(result.trial_id, repeat.repeat)) for repeat in result.repeats]


def _counted(launch: LaunchWindows) -> LaunchWindows:
    return launch.where(~launch.warmup & launch.exchange)


def pace(launch: LaunchWindows) -> Pace:
    """Of the whole job."""
    return stats.pace_of_ranks(launch.index, launch.column("samples"), launch.column("duration_ns"))


def defect(result: TrialResult, windows: Windows) -> str | None:
    """Why the windows give no speed, or None."""
    if not result.repeats:
        return "no launch is recorded"
    for repeat in result.repeats:
        try:
            launch = _counted(windows.launch(result.trial_id, repeat.repeat))
        except NotWhole as clause:
            return f"launch {repeat.repeat} {clause}"
        if not len(launch):
            return f"launch {repeat.repeat} has no measured window"
        found = pace(launch)
        if (found.duration_ns - found.skew_ns).min() <= 0 or found.samples.sum() <= 0 or launch.steps.min() <= 0:
            return f"launch {repeat.repeat} has a window without time, steps or samples"
    return None


def measure(result: TrialResult, windows: Windows) -> Measured:
    """Only of a trial without a `defect`."""
    launches = counted(result, windows)
    paces = [pace(launch) for launch in launches]
    steps = np.concatenate([launch.steps for launch in launches])
    durations = np.concatenate([one.duration_ns for one in paces])
    skews = np.concatenate([one.skew_ns for one in paces])
    step_ms = durations / steps / 1e6
    middle, p95, p99 = quantiles(step_ms)
    rates = [stats.throughput(one.samples, one.duration_ns) or 0.0 for one in paces]
    whole = stats.over_launches(rates)
    if whole is None:
        raise ValueError("measure() was given windows with a defect")
    return Measured(
        launch_rates=tuple(rates),
        samples_per_second=whole,
        tokens_real_per_second=_tokens(launches, paces, "tokens_real"),
        tokens_padded_per_second=_tokens(launches, paces, "tokens_padded"),
        step_ms_median=middle,
        step_ms_p95=p95,
        step_ms_p99=p99,
        windows=len(step_ms),
        outliers=stats.num_outliers(step_ms),
        skew_ms_median=stats.quantile(skews / steps / 1e6, 0.5),
        setup_s=_slowest_s([[times.start_ns + times.build_ns for times in repeat.setup] for repeat in result.repeats]),
        first_step_s=_slowest_s([[times.first_step_ns for times in repeat.setup] for repeat in result.repeats]),
        input_wait_share=_sum(launches, "input_wait_ns") / _sum(launches, "duration_ns"),
        cpu_cores=_sum(launches, "cpu_ns") / int(durations.sum()),
        rss_bytes=_largest(launches, "rss_bytes"),
        received_bytes_per_step=_network(launches, "received_bytes", steps),
        sent_bytes_per_step=_network(launches, "sent_bytes", steps),
    )


def quantiles(step_ms: NDArray[np.float64]) -> tuple[float | None, float | None, float | None]:
    """Median, p95 and p99, these from as many windows on as they need."""
    needed = ((0.5, 1), (0.95, P95_WINDOWS), (0.99, P99_WINDOWS))
    middle, p95, p99 = (stats.quantile(step_ms, share) if len(step_ms) >= few else None for share, few in needed)
    return middle, p95, p99


def no_p99(found: Measured) -> str | None:
    """Why there is no p99, or None."""
    return None if found.step_ms_p99 is not None else f"{found.windows} windows, {P99_WINDOWS} are needed"


def _sum(launches: Sequence[LaunchWindows], name: str) -> int:
    """Of all ranks and windows."""
    return sum(int(launch.column(name).sum()) for launch in launches)


def _tokens(launches: Sequence[LaunchWindows], paces: Sequence[Pace], name: str) -> Estimate | None:
    """Per second. None when a launch had none at all: a geometric mean of zero says nothing."""
    totals = [launch.column(name).sum(axis=0) for launch in launches]
    rates = [stats.throughput(total, one.duration_ns) or 0.0 for total, one in zip(totals, paces, strict=True)]
    return stats.over_launches(rates) if all(rate > 0 for rate in rates) else None


def _slowest_s(launches: Sequence[Sequence[int]]) -> float | None:
    slowest = [max(ranks) for ranks in launches if ranks]
    return median(slowest) / 1e9 if slowest else None


def _largest(launches: Sequence[LaunchWindows], name: str) -> int | None:
    """None where any rank does not know."""
    largest = [None if (found := launch.optional(name)) is None else int(found.max()) for launch in launches]
    return max((one for one in largest if one is not None), default=None) if None not in largest else None


def _network(launches: Sequence[LaunchWindows], name: str, steps: Integers) -> float | None:
    """Bytes per step of the job: every rank counts its own connections. None where any rank does not know."""
    totals = [None if (found := launch.optional(name)) is None else int(found.sum()) for launch in launches]
    known = [total for total in totals if total is not None]
    return sum(known) / int(steps.sum()) if len(known) == len(totals) else None
