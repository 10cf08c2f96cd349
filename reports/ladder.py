"""Where the time goes: from one bare device to all ranks, rung by rung, and which rank the others wait for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import stats
from bench.records import Repeat, Trial, TrialResult
from bench.stats import Estimate, Integers, Ladder, Part, Readiness, Rungs
from reports import compare, measure
from reports.columns import plain, spread
from reports.load import LoadedRun, once
from reports.table import Row, bounded
from reports.text import counted, number, percent
from reports.windows import LaunchWindows

NAMED = 8
PARTS = ("wrapper", "contention", "input wait", "exposed communication")


@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """One trial of several replicas that measured local windows.

    notes        what the parts stand for in this backend, for people
    standalone   ms per step, the same gradients exchanged alone; None: `no_standalone` says why
    hidden       share of that which the step hides, 0 to 1
    readiness    None for one rank
    hosts        per rank, of the first launch
    """

    row: Row
    ladder: Ladder
    notes: tuple[str, ...]
    standalone: Estimate | None
    no_standalone: str | None
    hidden: Estimate | None
    readiness: Readiness | None
    hosts: tuple[str, ...]


@once
def climbs(run: LoadedRun, rows: Sequence[Row]) -> list[Climb]:
    """Of every trial that shows a speed and has local windows that count, in the order of the study."""
    results = {result.trial_id: result for result in run.result.trials}
    shown = [row for row in rows if row.measured and row.trial.timing.local_windows]
    return [_climb(run, rows, row, results[row.trial_id]) for row in shown if _has_local(run, results[row.trial_id])]


def _has_local(run: LoadedRun, result: TrialResult) -> bool:
    """Whether every launch got so far."""
    launches = [run.windows.launch(result.trial_id, repeat.repeat) for repeat in result.repeats]
    return all(bool((~launch.warmup & ~launch.exchange).any()) for launch in launches)


def parts(found: Ladder) -> list[tuple[str, Part | None]]:
    """In the order of PARTS; they add up to what is lost."""
    return list(zip(PARTS, (found.wrapper, found.contention, found.waited, found.exposed), strict=True))


def rungs(found: Ladder) -> tuple[tuple[str, Estimate], list[tuple[str, Part | None]]]:
    """Where the climb starts, by name, and the parts from there to the full step."""
    if found.bare is not None:
        return ("bare", found.bare), parts(found)
    return ("local", found.local), parts(found)[2:]


def as_columns(found: Climb) -> dict[str, Any]:
    """What JSON and CSV write of it: milliseconds per step, shares 0 to 1. None is unknown."""
    cells: dict[str, Any] = {"trial_id": found.row.trial_id, "label": found.row.label}
    for name, estimate in (("bare", found.ladder.bare), ("local", found.ladder.local), ("full", found.ladder.full)):
        cells |= spread(f"{name}_ms", estimate)
    for name, part in [("lost", found.ladder.lost), *parts(found.ladder)]:
        column = name.replace(" ", "_")
        cells |= spread(f"{column}_ms", part.ms if part else None)
        cells |= spread(f"{column}_share", part.share if part else None)
    cells |= spread("standalone_ms", found.standalone) | spread("hidden_share", found.hidden)
    ready = found.readiness
    cells["skew_ms"] = None if ready is None else plain(ready.skew_ms)
    cells["ready_ms"] = None if ready is None else [plain(each) for each in ready.ready_ms]
    cells["late_share"] = None if ready is None else [plain(each) for each in ready.late_share]
    cells["chronic_stragglers"] = None if ready is None else list(ready.chronic)
    cells["notes"] = list(found.notes)
    return {name: plain(cell) if isinstance(cell, float) else cell for name, cell in cells.items()}


def stragglers(found: Climb) -> str | None:
    """One sentence; None for one rank."""
    return None if found.readiness is None else lateness(found.readiness, found.hosts)


def lateness(ready: Readiness, hosts: Sequence[str]) -> str:
    """Who is late, in one sentence; of many chronically late ranks the latest by name. `hosts`: of each rank."""
    latest = sorted(ready.chronic, key=lambda rank: -ready.late_ms[rank])[:NAMED]
    named = [
        f"rank {rank} on {hosts[rank]} is chronically late: {ready.late_ms[rank]:.3g} ms a step longer than the "
        f"others, late in {ready.late_share[rank]:.0%} of the windows"
        for rank in latest
    ]
    if len(ready.chronic) > NAMED:
        named.append(f"and so are {len(ready.chronic) - NAMED:,} more of {len(ready.ready_ms):,} ranks")
    if ready.transient > 0:
        who = "another rank" if named else "some rank"
        named.append(f"in {ready.transient:.0%} of the windows {who} is late")
    said = "; ".join(named) or "no rank is late"
    if ready.windows < stats.CHRONIC_WINDOWS:
        said += f" ({counted(ready.windows, 'window')}: too few to call a rank chronically late)"
    return f"{said}; between the fastest and the slowest lie {ready.skew_ms:.3g} ms a step (median)"


def hidden(share: Estimate) -> str:
    """In words: nothing is less than nothing, but an exchange may cost more beside other work than alone."""
    return f"{percent(share.point)} hidden" if share.point > 0 else "none of it hidden: in the step it costs more"


def sentence(found: Climb) -> str:
    """The whole climb for a terminal."""
    name = f"{found.row.label} \u00d7{found.row.trial.replicas}"
    start, shown = rungs(found.ladder)
    terms = [start, *[(part, known.ms) for part, known in shown if known]]
    sum_of = " + ".join(f"{part} {number(known.point, 3)}" for part, known in terms).replace("+ -", "- ")
    said = f"{number(found.ladder.full.point, 3)} ms a step = {sum_of}"
    if found.hidden is not None and found.standalone is not None:
        said += f"; the exchange alone takes {number(found.standalone.point, 3)}, {hidden(found.hidden)}"
    return f"{name}: {'; '.join(filter(None, (said, stragglers(found))))}"


def _climb(run: LoadedRun, rows: Sequence[Row], row: Row, result: TrialResult) -> Climb:
    of_launches = [_launch(run, result, repeat) for repeat in result.repeats]
    bare, solo = _alone(run, rows, row, bare=True), _alone(run, rows, row, bare=False)
    measured = Rungs(
        bare=bare,
        solo=solo if "solo" in result.wrapped else None,
        local=[launch.local for launch in of_launches],
        ready=[launch.ready for launch in of_launches],
        full=[launch.full for launch in of_launches],
        wrapped="local" in result.wrapped,
    )
    found = stats.ladder(measured)
    alone, no_standalone = _standalone(result)
    ready = stats.readiness(np.concatenate([launch.of_ranks for launch in of_launches]))
    return Climb(
        row=row,
        ladder=_bounded(found, run.result.quick),
        notes=tuple(_notes(result, found, ready)),
        standalone=bounded(stats.mean(alone), run.result.quick),
        no_standalone=no_standalone,
        hidden=bounded(stats.hidden_share(measured, alone), run.result.quick) if alone else None,
        readiness=ready,
        hosts=tuple(result.repeats[0].hosts),
    )


@dataclass(frozen=True, slots=True)
class _Launch:
    """Milliseconds per step of one launch, as in stats.Rungs; `of_ranks`: ready times, axes (window, rank)."""

    full: float
    ready: float
    local: float
    of_ranks: NDArray[np.float64]


def _launch(run: LoadedRun, result: TrialResult, repeat: Repeat) -> _Launch:
    launch = run.windows.launch(result.trial_id, repeat.repeat)
    full, local = (launch.where(~launch.warmup & chosen) for chosen in (launch.exchange, ~launch.exchange))
    ready_ns = local.column("duration_ns")
    return _Launch(
        full=_slowest(full, full.column("duration_ns")),
        ready=_slowest(local, ready_ns),
        local=_slowest(local, ready_ns - local.column("input_wait_ns")),
        of_ranks=(ready_ns / local.steps / 1e6).T,
    )


def _slowest(windows: LaunchWindows, of_ranks: Integers) -> float:
    """Milliseconds per step of the rank with the largest value, window by window: sums over sums."""
    return int(of_ranks.max(axis=0).sum()) / int(windows.steps.sum()) / 1e6


def _alone(run: LoadedRun, rows: Sequence[Row], row: Row, bare: bool) -> list[float] | None:
    """Per launch of the bare (or solo) run of this share of the work: ms per step, without the wait for input."""
    names = compare.EQUAL_MODEL if bare else (*compare.EQUAL_MODEL, "backend", "wire", "launcher", "options")
    own = _work(row.trial, names)
    results = {result.trial_id: result for result in run.result.trials}
    for other in rows:
        fits = other.framework == row.framework if bare else True
        if other.mode == ("bare" if bare else "solo") and fits and _work(other.trial, names) == own:
            return _own_times(run, results[other.trial_id]) if other.measured else None
    return None


def _work(trial: Trial, names: Sequence[str]) -> compare.Key:
    """With what changes a step's time though not what it trains: microbatches and the loss scale."""
    scale = compare.key(trial, ("loss_scale.",)) if trial.compute == "float16" else {}
    return compare.key(trial, names) | scale | {"accumulation": trial.workload.accumulation}


def _own_times(run: LoadedRun, result: TrialResult) -> list[float]:
    launches = measure.counted(result, run.windows)
    return [_slowest(one, one.column("duration_ns") - one.column("input_wait_ns")) for one in launches]


def _standalone(result: TrialResult) -> tuple[list[float], str | None]:
    """ms of one step's exchange alone, per launch; or why there is none."""
    found = []
    for repeat in result.repeats:
        ranks = repeat.standalone
        reasons = [times.reason for times in ranks if times.reason] or (["it was not timed"] if not ranks else [])
        reasons += [
            f"rank {rank} received a wrong sum in launch {repeat.repeat}"
            for rank, times in enumerate(ranks)
            if times.exact is False
        ]
        if reasons:
            return [], reasons[0]
        readings = zip(*[times.duration_ns for times in ranks], strict=True)
        found.append(median(max(of_ranks) for of_ranks in readings) / ranks[0].operations / 1e6)
    return (found, None) if min(found, default=0) > 0 else ([], "the clock saw no time pass")


def _notes(result: TrialResult, found: Ladder, ready: Readiness | None) -> Iterator[str]:
    if ready is not None and ready.transient > 0:
        yield (
            "ranks that are late in turn are waited for in every full step, in local ones only at a window's end: "
            "that part of contention is in exposed communication"
        )
    local = result.repeats[0].facts[0].settings.get("local_step") if result.repeats[0].facts else None
    if local:
        yield f"local steps: {local}"
    if found.bare is None:
        yield "wrapper and contention: not known, because there is no bare run of its framework and share of the batch"
    elif found.wrapper is None:
        inside = "contention" if "local" in result.wrapped else "exposed communication"
        why = (
            "its one-replica run is missing or shows no speed"
            if "solo" in result.wrapped
            else "with one rank this backend's wrapper is not at work"
        )
        yield f"wrapper: not known, because {why}; {inside} includes it"


def _bounded(found: Ladder, quick: bool) -> Ladder:
    """Every estimate as `table.bounded` has it."""

    def of_part(part: Any) -> Any:
        return part and replace(part, ms=bounded(part.ms, quick), share=bounded(part.share, quick))

    changed: dict[str, Any] = {name: bounded(getattr(found, name), quick) for name in ("bare", "local", "full")}
    changed |= {name: of_part(getattr(found, name)) for name in ("lost", "wrapper", "contention", "waited", "exposed")}
    return replace(found, **changed)
