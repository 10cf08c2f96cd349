"""Scaling: every backend over its replica counts, weak and strong apart, against a bare run and itself alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench import stats
from bench.records import TrialResult
from bench.stats import Amdahl, Estimate, LatencyBandwidth
from reports import caveats, compare
from reports.caveats import Caveat
from reports.load import LoadedRun, once
from reports.measure import Measured
from reports.table import Row, bounded
from reports.text import counted, number, percent

Kind = Literal["weak", "strong"]
Against = Literal["bare", "solo"]
# The settings that a series varies: one replica has no exchange to leave out of a local window.
_VARIED = ("replicas", "workload.batch_per_replica", "timing.local_windows")


@dataclass(frozen=True, slots=True)
class Gain:
    """Against one baseline: `speed_up` = R(N) / R(1), `efficiency` = that / N, R being samples per second. Of the
    baseline itself both are 1 by definition, without an interval."""

    baseline: str
    speed_up: Estimate
    efficiency: Estimate
    suspect: Caveat | None
    is_baseline: bool = False

    def bounds(self, interval: str | None) -> str:
        """What is said below a number of this: its interval, or why it has none."""
        return interval or ("baseline" if self.is_baseline else "no interval")


@dataclass(frozen=True, slots=True)
class Point:
    """One replica count with a speed. `bare`, `solo`: against a bare run, against the same backend alone."""

    row: Row
    rate: float
    bare: Gain | None
    solo: Gain | None

    @property
    def replicas(self) -> int:
        return self.row.trial.replicas

    def gain(self, against: Against) -> Gain | None:
        return self.bare if against == "bare" else self.solo

    def caveats(self, against: Against) -> list[Caveat]:
        found = self.gain(against)
        return [caveat for caveat in (self.row.oversubscribed, found.suspect if found else None) if caveat]


@dataclass(frozen=True, slots=True)
class Curves:
    """What explains the points. Amdahl's is of the time per sample in ms, the other of the time of a step in ms; None
    where there are too few points. `words` say what was found and what it is worth."""

    amdahl: Amdahl | None
    latency_bandwidth: LatencyBandwidth | None
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One backend over its replica counts, in order. `absent`: rows without a speed. `no_bare`, `no_solo`: why there
    is no such baseline."""

    label: str
    backend: str
    points: tuple[Point, ...]
    absent: tuple[Row, ...]
    no_bare: str | None
    no_solo: str | None
    curves: Curves

    @property
    def sentences(self) -> list[str]:
        """What the curves say, and which baseline is missing."""
        missing = [("bare run", self.no_bare), ("run of its own on one replica", self.no_solo)]
        return [*self.curves.words, *(f"against no {name}: {why}" for name, why in missing if why)]


@dataclass(frozen=True, slots=True)
class Scaling:
    """All series of one kind with one batch: of each replica in weak scaling, of the whole job in strong scaling."""

    kind: Kind
    batch: int
    series: tuple[Series, ...]

    @property
    def title(self) -> str:
        whose = "per replica" if self.kind == "weak" else "for the whole job"
        return f"{self.kind.capitalize()} scaling: a batch of {self.batch} {whose}"

    @property
    def baselines(self) -> list[Against]:
        """Those that there are, the bare run first."""
        points = [point for series in self.series for point in series.points]
        both: tuple[Against, Against] = ("bare", "solo")
        return [against for against in both if any(point.gain(against) for point in points)]


@once
def scalings(run: LoadedRun, rows: Sequence[Row]) -> list[Scaling]:
    """Weak ones first; none where no backend runs at two replica counts with a batch that belongs together."""
    by_id = {row.trial_id: row for row in rows}
    wrapped = [trial for trial in run.result.trials if trial.mode != "bare"]
    families: dict[str, list[TrialResult]] = {}
    for trial in wrapped:
        families.setdefault(repr(_fixed(trial)), []).append(trial)
    names = {
        name: compare.called(_fixed(own[0]), [_fixed(other[0]) for other in families.values() if _rival(own, other)])
        for name, own in families.items()
    }
    found: dict[tuple[Kind, int], list[Series]] = {}
    for name, family in families.items():
        for kind, batch, members in _members(family):
            if any(by_id[trial.trial_id].measured for trial in members):
                series = _series(run, by_id, names[name], kind, batch, members)
                found.setdefault((kind, batch), []).append(series)
    order = sorted(found, key=lambda one: (one[0] != "weak", one[1]))
    return [Scaling(kind, batch, tuple(found[kind, batch])) for kind, batch in order]


def _fixed(trial: TrialResult) -> compare.Key:
    return {name: value for name, value in compare.settings(trial.trial).items() if name not in _VARIED}


def _rival(own: Sequence[TrialResult], other: Sequence[TrialResult]) -> bool:
    return own[0].trial.backend == other[0].trial.backend


def _members(family: Sequence[TrialResult]) -> Iterator[tuple[Kind, int, list[TrialResult]]]:
    """Each set of at least two replica counts whose batch per replica, or of the whole job, is the same."""
    batches: dict[tuple[Kind, int], list[TrialResult]] = {}
    for trial in family:
        batches.setdefault(("weak", trial.trial.workload.batch_per_replica), []).append(trial)
        batches.setdefault(("strong", trial.trial.global_batch), []).append(trial)
    for (kind, batch), members in batches.items():
        if len(members) > 1:
            yield kind, batch, sorted(members, key=lambda trial: trial.trial.replicas)


def _series(
    run: LoadedRun, by_id: Mapping[str, Row], label: str, kind: Kind, batch: int, members: Sequence[TrialResult]
) -> Series:
    bare, no_bare = compare.baseline(members[0], run.result.trials, batch)
    alone = members[0] if members[0].trial.replicas == 1 else None
    bases = [by_id[trial.trial_id] if trial else None for trial in (bare, alone)]
    rows = [by_id[trial.trial_id] for trial in members]
    points = tuple(
        Point(row, row.measured.samples_per_second.point, *(_gain(row, base, kind, run.result.quick) for base in bases))
        for row in rows
        if row.measured
    )
    return Series(
        label=label,
        backend=members[0].trial.backend,
        points=points,
        absent=tuple(row for row in rows if not row.measured),
        no_bare=no_bare or _silent(bases[0]),
        no_solo=_silent(bases[1]) if alone else "no run of one replica",
        curves=_curves(points, kind, batch),
    )


def _silent(base: Row | None) -> str | None:
    return f"{base.label} \u00d71 has no speed" if base and not base.measured else None


def _gain(row: Row, base: Row | None, kind: Kind, quick: bool) -> Gain | None:
    if base is None or base.measured is None or row.measured is None:
        return None
    name = base.label if base.mode == "bare" else f"{base.label} on one replica"
    if row is base:
        by_definition = Estimate(1.0, None, None, row.launches)
        return Gain(name, by_definition, by_definition, None, is_baseline=True)
    own, other = row.measured, base.measured
    own_times, times = _per_sample(own), _per_sample(other)
    gained = bounded(stats.speed_up(own_times, times), quick)
    if kind == "weak":
        efficiency = stats.scaling_efficiency(own.launch_rates, other.launch_rates, row.trial.replicas)
    else:
        efficiency = stats.strong_efficiency(own_times, times, row.trial.replicas)
    efficiency = bounded(efficiency, quick)
    if gained is None or efficiency is None:
        return None
    return Gain(name, gained, efficiency, caveats.suspect(efficiency, name))


def _per_sample(found: Measured) -> list[float]:
    """ms per sample of the whole job, one per launch."""
    return [1000 / rate for rate in found.launch_rates]


# ---- curves -----------------------------------------------------------------------------------------------------


def per_step(kind: Kind, batch: int, replicas: float) -> float:
    """Samples of one step of the whole job."""
    return batch * replicas if kind == "weak" else batch


def _curves(points: Sequence[Point], kind: Kind, batch: int) -> Curves:
    sizes = [point.replicas for point in points]
    samples_ms = [1000 / point.rate for point in points]
    steps_ms = [per_step(kind, batch, point.replicas) * 1000 / point.rate for point in points]
    amdahl = stats.fit_amdahl(sizes, samples_ms)
    ring = stats.fit_latency_bandwidth(sizes, steps_ms, divided=kind == "strong")
    words = [
        _amdahl_said(amdahl, sizes, samples_ms) if amdahl else _too_few("Amdahl's curve", 2, sizes),
        _ring_said(ring, sizes, steps_ms) if ring else _too_few("a latency-bandwidth curve", 3, sizes),
    ]
    short = [str(point.replicas) for point in points if point.row.oversubscribed]
    if short and (amdahl or ring):
        words.append(f"oversubscribed at {', '.join(short)}: there the curves explain the want of cores as well")
    return Curves(amdahl, ring, tuple(words))


def _too_few(curve: str, needed: int, sizes: Sequence[int]) -> str:
    return f"{curve} needs {needed} replica counts with a speed, there {_are(len(set(sizes)))}"


def _are(count: int) -> str:
    return f"is {count}" if count == 1 else f"are {count}"


def _amdahl_said(found: Amdahl, sizes: Sequence[int], times: Sequence[float]) -> str:
    limit = f"at most {number(1 / found.serial, 3)} times one replica" if found.serial > 0 else "no limit in sight"
    fits = _fits(stats.largest_deviation(found, sizes, times), len(sizes), 2)
    return f"Amdahl: {percent(found.serial)} of the time per sample does not shrink with replicas, {limit}; {fits}"


def _ring_said(found: LatencyBandwidth, sizes: Sequence[int], times: Sequence[float]) -> str:
    parts = f"{_ms(found.alone)} alone, {_ms(found.latency)} latency a message, {_ms(found.message)} for all gradients"
    fits = _fits(stats.largest_deviation(found, sizes, times), len(sizes), 3)
    return f"latency-bandwidth: a step is {parts}; {fits}"


def _ms(value: float) -> str:
    return f"{number(value, 3)} ms"


def _fits(deviation: float, points: int, parts: int) -> str:
    within = f"within {percent(deviation)} of every point"
    if points == parts:
        return f"{within}, which with {counted(points, 'point')} for {parts} unknowns says nothing"
    return within
