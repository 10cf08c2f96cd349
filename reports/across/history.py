"""The speed of a study's trials over many runs: its levels, where they changed, and what else changed there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench import stats
from bench.stats import RUNS_FOR_CHANGE, Estimate
from reports import compare
from reports.across import shelf
from reports.across.matching import names, said
from reports.across.reading import RunReading, TrialReading
from reports.across.shelf import Shelved
from reports.compare import Key

# Along one line these may change, and are named where they do; two speeds of different ones are two lines.
_MAY_CHANGE = "packages."
# A launch that failed tells nothing of these: they do not keep its row from the line that it belongs to.
_OPEN = ("data_digest", "hosts", "devices")
_RESTLESS = ("load_average",)  # never the same twice
_RAN = "as it ran, "
QUICK = "a quick run: a look, not a measurement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One trial of one run. `speed`: samples per second over its launches, None where `reason` says why.

    at_s      seconds since 1970
    changed   "key (value and value)" of what is not as in the run before
    level     the place of its level, from 0; None without a speed
    """

    run: str
    created_utc: str
    at_s: float
    speed: Estimate | None
    launch_rates: tuple[float, ...]
    reason: str | None
    known: Key
    changed: tuple[str, ...] = ()
    level: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """The level changed with the run `run`. `ratio`: the level's speed over the one before; between runs as units, so
    without an interval below three runs a side. `changed`: as Point has it."""

    run: str
    created_utc: str
    ratio: Estimate
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One trial on one machine over the runs, in order of time.

    apart   "key value" of what tells it from other series of the same trial
    trend   speed at the last run over that at the first of the last level, None below two runs
    """

    label: str
    backend: str
    apart: tuple[str, ...]
    points: tuple[Point, ...]
    steps: tuple[Step, ...] = ()
    trend: Estimate | None = None

    @property
    def measured(self) -> list[Point]:
        """Points with a speed."""
        return [point for point in self.points if point.speed]

    def at_level(self, level: int) -> list[Point]:
        """Points of one level."""
        return [point for point in self.points if point.level == level]


@dataclass(frozen=True, slots=True)
class History:
    """All runs of one study, in order of time. `left_out`: run and reason; `looked_at`: so many series could show a
    change, and share the 5 % of false alarms."""

    study: str
    runs: tuple[str, ...]
    series: tuple[Series, ...]
    left_out: tuple[tuple[str, str], ...]
    looked_at: int


def histories(found: Sequence[Shelved]) -> list[History]:
    """One per study, by name, of the runs that could be read. Those that could not are nobody's."""
    by_study: dict[str, list[_Run]] = {}
    for one in shelf.in_order(found):
        if one.reading is not None:
            by_study.setdefault(one.reading.study, []).append(_Run(one.name, one.at_s, one.reading))
    return [_history(study, runs) for study, runs in sorted(by_study.items())]


def unread(found: Sequence[Shelved]) -> list[tuple[str, str]]:
    """Runs that could not be read, with the reason."""
    return [(one.name, one.reason) for one in found if one.reason is not None]


@dataclass(frozen=True, slots=True)
class _Run:
    name: str
    at_s: float | None
    reading: RunReading


def _history(study: str, runs: Sequence[_Run]) -> History:
    left_out = [(run.name, reason) for run in runs if (reason := _unfit(run)) is not None]
    fit = [run for run in runs if _unfit(run) is None]
    lines = _lines(fit)
    looked_at = sum(len([point for point in points if point.speed]) >= RUNS_FOR_CHANGE for _, points in lines)
    named = zip(_names([key for key, _ in lines]), lines, strict=True)
    series = [
        _series(Series(label, str(key["trial.backend"]), apart, tuple(points)), max(1, looked_at))
        for (label, apart), (key, points) in named
    ]
    return History(study, tuple(run.name for run in runs), tuple(series), tuple(left_out), looked_at)


def _unfit(run: _Run) -> str | None:
    if run.at_s is None:
        return f"its time cannot be read: {run.reading.created_utc}"
    return QUICK if run.reading.quick else None


def _lines(runs: Sequence[_Run]) -> list[tuple[Key, list[Point]]]:
    """Per series its circumstances and points, in order of appearance."""
    lines: list[tuple[Key, list[Point]]] = []
    for run in runs:
        for trial in run.reading.trials:
            if trial.status == "not_selectable":
                continue
            own = {name: value for name, value in trial.fingerprint.items() if not name.startswith(_MAY_CHANGE)}
            fits = [line for line in lines if _agree(line[0], own, trial)]
            if not fits:
                lines.append((own, []))
                fits = lines
            key, points = fits[-1]
            if trial.launch_rates:  # now all of it is known
                key.update(own)
            points.append(_point(run, trial, points[-1] if points else None))
    return lines


def _agree(line: Key, own: Key, trial: TrialReading) -> bool:
    """Whether a trial belongs to the line of these circumstances."""
    known = trial.launch_rates and any(line.get(name) is not None for name in _OPEN)
    open_ = () if known else _OPEN
    return not [name for name in names(line, own) if name not in open_]


def _point(run: _Run, trial: TrialReading, before: Point | None) -> Point:
    ran = {f"{_RAN}{name}": value for name, value in trial.ran.items()}
    known = {name: value for name, value in run.reading.surroundings.items() if name not in _RESTLESS} | ran
    return Point(
        run=run.name,
        created_utc=run.reading.created_utc,
        at_s=run.at_s or 0.0,
        speed=stats.over_launches(trial.launch_rates),
        launch_rates=tuple(trial.launch_rates),
        reason=None if trial.launch_rates else f"{trial.status.replace('_', ' ')}: {trial.reason}",
        known=known,
        changed=_changed(before.known, known) if before else (),
    )


def _changed(before: Key, after: Key) -> tuple[str, ...]:
    """A launch that failed may have said nothing of itself: that is no change."""
    found = [name for name in names(before, after) if not name.startswith(_RAN) or (name in before and name in after)]
    return said(found, before, after)


def _series(found: Series, looked_at: int) -> Series:
    """With its levels."""
    measured = found.measured
    means = [point.speed.point for point in measured if point.speed]
    begins = stats.changes(means, looked_at)
    levels = iter(sum(place >= begin for begin in begins) for place in range(len(measured)))
    points = tuple(replace(point, level=next(levels)) if point.speed else point for point in found.points)
    edges = [0, *begins, len(means)]
    # Of each change: where the level before begins, where the new one does, and where that ends.
    steps = tuple(_step(measured, means, *edges[place : place + 3]) for place in range(len(begins)))
    at_s = [point.at_s for point in measured]
    trend = stats.drift(at_s[edges[-2] :], means[edges[-2] :]) if len(means) - edges[-2] > 1 else None
    return replace(found, points=points, steps=steps, trend=trend)


def _step(measured: Sequence[Point], means: Sequence[float], begin: int, place: int, end: int) -> Step:
    ratio = stats.ratio(means[place:end], means[begin:place])
    if ratio is None:
        raise ValueError("a level has runs")
    first, before = measured[place], measured[place - 1]
    return Step(first.run, first.created_utc, ratio, _changed(before.known, first.known))


def _names(lines: Sequence[Key]) -> list[tuple[str, tuple[str, ...]]]:
    """Label of each line, and what tells it from the other lines of the same trial."""
    asked = [{name.removeprefix("trial."): value for name, value in line.items() if _asks(name)} for line in lines]
    named = []
    for line, own in zip(lines, asked, strict=True):
        rivals = [other for other in asked if all(other.get(key) == own.get(key) for key in ("backend", "replicas"))]
        twins = [other for other, theirs in zip(lines, asked, strict=True) if theirs == own and other is not line]
        apart = dict.fromkeys(name for twin in twins for name in names(line, twin))
        label = f"{compare.called(own, rivals)} \u00d7{own['replicas']}"
        named.append((label, tuple(f"{name} {line.get(name)}" for name in apart)))
    return named


def _asks(name: str) -> bool:
    return name.startswith("trial.")
