"""`paceline collectives`: every collective, backend and algorithm timed alone, in launches of their own.

A trial here is a stack with one algorithm: some choose it when they are launched. Launches of all trials are
interleaved in seeded random order, and collectives.json is written anew after each.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import journal, replication, run, sweep_rows
from bench.errors import TrialError, UserError
from bench.hosts.spec import parse
from bench.launch.commands import Cluster
from bench.launching import Launched, assign, launch, lines
from bench.records import (
    SCHEMA,
    Assignment,
    CollectiveLaunch,
    CollectiveRequest,
    CollectiveTimes,
    Line,
    Plan,
    Sweep,
)
from bench.run import Observer, alone, fresh_folder, new_folder, planned_cluster, prepare, refuse_commands
from bench.storage import Damaged, seal, unseal, write_atomically
from bench.study import Study
from bench.sweep_plan import Planned as Planned
from bench.sweep_plan import Wanted as Wanted
from bench.sweep_plan import plan as plan
from bench.sweep_plan import requests as requests

FILE, PLAN = "collectives.json", "sweep-plan.json"


def sweep(study: Study, wanted: Wanted, runs: Path, cluster: Cluster, observer: Observer) -> tuple[Path, Sweep]:
    """Makes all launches and keeps what they found. Raises UserError before any launch."""
    folder = begin(study, wanted, runs, cluster, observer)
    return folder, proceed(folder, observer, cluster)


def begin(study: Study, wanted: Wanted, runs: Path, cluster: Cluster, observer: Observer) -> Path:
    """Prepares all data and weights, then makes the folder with all that `proceed` needs. Raises UserError."""
    planned = plan(study, wanted, cluster)
    for trial in planned.trials:  # one step of each shows the model's buckets
        prepare(trial, runs, observer)
    refuse_commands(planned.trials, runs, cluster)
    now = datetime.now(UTC)
    folder = new_folder(runs, f"{study.header.name}-collectives-{now:%Y%m%dT%H%M%SZ}").resolve()
    ids = [trial.id for trial in planned.trials]
    order = replication.rounds(ids, wanted.launches or study.header.repeats, study.header.seed, None)
    launches = msgspec.structs.replace(
        run.plan(study, False, cluster, now),
        trials=planned.trials,
        rejected=planned.rejected,
        order=order,
        sentinel=None,
    )
    write_atomically(folder / "study.yaml", study.yaml.encode())
    write_atomically(folder / PLAN, seal(launches))
    write_atomically(folder / FILE, seal(_nothing_yet(launches, planned.requests)))
    observer.preparing(f"what is found is kept in {folder}")
    return folder


def _nothing_yet(planned: Plan, asked: dict[str, list[CollectiveRequest]]) -> Sweep:
    return Sweep(
        study=planned.study,
        study_yaml=planned.study_yaml,
        created_utc=planned.created_utc,
        environment=planned.environment,
        trials=planned.trials,
        rejected=planned.rejected,
        order=planned.order,
        requests=asked,
        launches=[],
        rows=[],
        lines=[],
        crossovers=[],
        schema=SCHEMA,
    )


def proceed(folder: Path, observer: Observer, cluster: Cluster | None = None) -> Sweep:
    """Makes every launch that is not whole yet; of one that failed, only what its ranks had not finished. `cluster` as
    for run.proceed. Raises UserError when the folder holds no sweep, or another paceline is at work in it."""
    read(folder)
    with alone(folder):
        planned, made = read(folder)
        lacking = [(number, key) for number, key in enumerate(made.order, 1) if lacks(made, *key)]
        with nullcontext(cluster) if cluster or not lacking else planned_cluster(planned) as where:
            for number, key in lacking:
                assert where is not None
                assignment = _assign(made, key, planned, where, folder.parent, observer)
                observer.preparing(f"launch {number} of {len(made.order)}: {key[0]}, {assignment.trial.allreduce}")
                target = fresh_folder(folder / key[0] / str(key[1]))
                found = _launch(assignment, target, planned, where, observer)
                made = derived(_with(made, found), made.requests)
                write_atomically(folder / FILE, seal(made))
        return made


def read(folder: Path) -> tuple[Plan, Sweep]:
    """How a sweep is launched, and what it has found so far. Raises UserError."""
    try:
        return unseal((folder / PLAN).read_bytes(), Plan), unseal((folder / FILE).read_bytes(), Sweep)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}: {error.filename}; no sweep can be resumed there") from None
    except Damaged as damage:
        raise UserError(f"{folder}: {FILE} or {PLAN} cannot be used: {damage}") from None


def lacks(made: Sweep, trial_id: str, repeat: int) -> list[CollectiveRequest]:
    """What that launch has still to time."""
    known = _known(made, trial_id, repeat)
    finished = len(known.times[0]) if known and known.times else 0
    return made.requests[trial_id][finished:]


def _known(made: Sweep, trial_id: str, repeat: int) -> CollectiveLaunch | None:
    return next((one for one in made.launches if (one.trial_id, one.repeat) == (trial_id, repeat)), None)


def _with(made: Sweep, found: CollectiveLaunch) -> Sweep:
    """The same with that launch, or with what it adds to one that had failed."""
    known = _known(made, found.trial_id, found.repeat)
    others = [one for one in made.launches if one is not known]
    if known is not None and known.times:
        further = found.times or [[] for _ in known.times]
        times = [before + after for before, after in zip(known.times, further, strict=True)]
        found = msgspec.structs.replace(found, wall_ns=known.wall_ns + found.wall_ns, times=times)
    return msgspec.structs.replace(made, launches=[*others, found])


# ---- launching --------------------------------------------------------------------------------------------------


def _assign(
    made: Sweep, key: tuple[str, int], planned: Plan, cluster: Cluster, runs: Path, observer: Observer
) -> Assignment:
    """What the ranks are told to time: what the launch of that trial and repeat lacks."""
    trial = next(trial for trial in made.trials if trial.id == key[0])
    assignment = assign(trial, prepare(trial, runs, observer), cluster, planned, key[1])
    return msgspec.structs.replace(assignment, collectives=lacks(made, *key))


def _launch(
    assignment: Assignment, folder: Path, planned: Plan, cluster: Cluster, observer: Observer
) -> CollectiveLaunch:
    """One fresh launch of all ranks, to its end, whatever that is."""
    made = launch(assignment, folder, cluster, planned, observer.tick)
    error = None
    try:
        times = gathered(assignment, folder, made)
    except TrialError as problem:
        error, times = str(problem), finished(assignment, folder)
        observer.preparing(f"{assignment.trial_id}: {error}")
    return CollectiveLaunch(
        trial_id=assignment.trial_id,
        repeat=assignment.repeat,
        started_utc=made.started_utc,
        wall_ns=made.ended.wall_ns if made.ended else 0,
        command=made.command,
        error=error,
        times=times,
    )


def finished(assignment: Assignment, folder: Path) -> list[list[CollectiveTimes]]:
    """Of a launch that failed, axes (rank, request): the first requests, as many as every rank timed, and alike."""
    with suppress(TrialError):
        times = [_times(journal.read(folder, rank)) for rank in range(assignment.ranks)]
        common = 0
        for request, *each in zip(assignment.collectives, *times, strict=False):
            if any(one.request != request or _shape(one) != _shape(each[0]) for one in each):
                break
            common += 1
        return [of_rank[:common] for of_rank in times] if common else []
    return []


def gathered(assignment: Assignment, folder: Path, launched: Launched) -> list[list[CollectiveTimes]]:
    """Axes (rank, request). Raises TrialError when a rank failed, or timed something else than asked or than rank 0."""
    times = [_times(of_rank) for of_rank in lines(launched, assignment, folder)]
    for rank, of_rank in enumerate(times):
        if [each.request for each in of_rank] != assignment.collectives:
            raise TrialError(f"rank {rank} timed {len(of_rank)} of {len(assignment.collectives)} requests")
        for each, first in zip(of_rank, times[0], strict=True):
            if _shape(each) != _shape(first):
                raise TrialError(f"rank {rank} timed another {each.request.collective} than rank 0: {_shape(each)}")
    return times


def _times(lines: list[Line]) -> list[CollectiveTimes]:
    return [line for line in lines if isinstance(line, CollectiveTimes)]


def _shape(times: CollectiveTimes) -> tuple[list[int], int, int, bool]:
    """What must be the same on all ranks."""
    return times.elements, times.operations, len(times.duration_ns), times.reason is None


def derived(made: Sweep, asked: Mapping[str, list[CollectiveRequest]]) -> Sweep:
    """The same with its rows, lines and crossovers, from the launches so far. `asked`: by trial id."""
    found = sweep_rows.swept(made.trials, asked, made.launches)
    link = _link_bits_per_s(made.environment.emulated_hosts)
    rows = [sweep_rows.row(each, link) for each in found]
    lines = sweep_rows.lines(rows)
    crossovers = sweep_rows.crossovers(made.trials, found, lines)
    return msgspec.structs.replace(made, rows=rows, lines=lines, crossovers=crossovers)


def _link_bits_per_s(emulated: str | None) -> float | None:
    """Of each rank's own link; None where that is not known, or ranks share it."""
    spec = parse(emulated) if emulated is not None else None
    return float(spec.rate_bits) if spec is not None and spec.slots == 1 else None
