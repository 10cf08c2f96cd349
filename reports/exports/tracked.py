"""A trial as trackers of experiments know one: settings, numbers, and points over its steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench import stats
from bench.records import Repeat, TrialResult
from reports import compare
from reports.columns import columns
from reports.load import LoadedRun
from reports.measure import pace
from reports.table import Row, finite, rows
from reports.text import one_line, seconds


@dataclass(frozen=True, slots=True)
class Point:
    """`steps` trained so far, the time as seconds since 1970 (None: not known), and what was measured there."""

    steps: int
    at_s: float | None
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of a trial; `started_s` since 1970, None: not known. `points` in order of steps."""

    repeat: int
    started_s: float | None
    rate: float | None
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Tracked:
    """One trial. `numbers` are its finite columns, `words` those of text; no speed where the report shows none."""

    trial_id: str
    name: str
    settings: dict[str, compare.Scalar]
    numbers: dict[str, float]
    words: dict[str, str]
    launches: tuple[Launch, ...]


def tracked(run: LoadedRun) -> Iterator[Tracked]:
    """Every trial that was launched, in the order of the study."""
    for row, trial in zip(rows(run), run.result.trials, strict=True):
        if trial.repeats:
            yield _tracked(run, row, trial)


def _tracked(run: LoadedRun, row: Row, trial: TrialResult) -> Tracked:
    numbers: dict[str, float] = {}
    words: dict[str, str] = {}
    for name, cell in columns(row).items():
        if isinstance(cell, str):
            words[name] = one_line(cell, 500)
        elif cell is not None and not isinstance(cell, bool):
            numbers[name] = float(cell)
    rates = row.measured.launch_rates if row.measured else [None] * len(trial.repeats)
    launches = tuple(
        Launch(repeat.repeat, seconds(repeat.started_utc), rate, tuple(_points(run, row, repeat)))
        for repeat, rate in zip(trial.repeats, rates, strict=True)
    )
    name = one_line(f"{row.label} \u00d7{trial.trial.replicas}", 200)
    return Tracked(row.trial_id, name, compare.settings(trial.trial), numbers, words, launches)


def _points(run: LoadedRun, row: Row, repeat: Repeat) -> Iterator[Point]:
    """Losses of every step, evaluations, and the speed of the windows that count where the trial shows one."""
    found: dict[int, dict[str, float]] = {}
    at_s: dict[int, float] = {}
    for place, loss in enumerate(repeat.losses):
        _add(found, place + 1, "loss", loss)
    for evaluation in repeat.evaluations:
        _add(found, evaluation.step, evaluation.metric, evaluation.value)
        _add(found, evaluation.step, "validation_loss", evaluation.loss)
    for steps, end_s, speed in _windows(run, repeat) if row.measured else ():
        found.setdefault(steps, {}).update(speed)
        at_s[steps] = end_s
    began = seconds(repeat.started_utc)
    ready_s = max((one.start_ns + one.build_ns for one in repeat.setup), default=0) / 1e9
    for steps in sorted(found):
        after = at_s.get(steps)
        yield Point(steps, None if after is None or began is None else began + ready_s + after, found[steps])


def _windows(run: LoadedRun, repeat: Repeat) -> Iterator[tuple[int, float, dict[str, float]]]:
    """(steps trained by its end, seconds after the first window began, speed of the whole job) of each that counts."""
    launch = run.windows.launch(repeat.trial_id, repeat.repeat)
    trained = launch.where(launch.exchange)
    job, steps = pace(trained), trained.steps
    ends, start_ns = steps.cumsum(), trained.column("start_ns")[0]
    for place in range(len(trained)):
        duration_ns = int(job.duration_ns[place])
        rate = stats.throughput([int(job.samples[place])], [duration_ns])
        if rate is not None and not trained.warmup[place]:
            speed = {"samples_per_second": rate, "step_ms": duration_ns / int(steps[place]) / 1e6}
            yield int(ends[place]), (int(start_ns[place] - start_ns[0]) + duration_ns) / 1e9, speed


def _add(found: dict[int, dict[str, float]], steps: int, name: str, value: float | None) -> None:
    kept = finite(value)
    if kept is not None:
        found.setdefault(steps, {})[name] = kept
