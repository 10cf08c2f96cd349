"""`paceline collectives`: every collective, backend and algorithm timed alone, in launches of their own.

A trial here is a stack with one algorithm: some choose it when they are launched. Launches of all trials are
interleaved in seeded random order, and collectives.json is written anew after each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import msgspec

from bench import catalog, collectives, environment, replication, storage, sweep_rows
from bench.errors import TrialError, UserError
from bench.hosts.spec import parse
from bench.launch.commands import Cluster
from bench.launching import Launched, assign, launch, lines
from bench.records import (
    ITEM_BYTES,
    SCHEMA,
    Algorithm,
    Assignment,
    Collective,
    CollectiveLaunch,
    CollectiveRequest,
    CollectiveTimes,
    Quality,
    Sweep,
    Timing,
    Trial,
)
from bench.run import Observer, new_folder, prepare
from bench.study import Study

FILE = "collectives.json"
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
COLLECTIVES: tuple[Collective, ...] = get_args(Collective)
BUFFERS = 3  # of the operation's size, that a rank holds at once: input, output, and what the framework copies


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to time.

    sizes_bytes           of operations, as nccl-tests counts them
    backends, algorithms  only these; empty: all
    launches              None: as many as the study's repeats
    as_launched           under no other launcher than the study's, though that has further algorithms
    """

    sizes_bytes: Sequence[int]
    collectives: Sequence[Collective] = COLLECTIVES
    backends: Sequence[str] = ()
    algorithms: Sequence[Algorithm] = ()
    launches: int | None = None
    as_launched: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """Trials in the order of the study with their requests by trial id; `rejected` with the reason."""

    trials: list[Trial]
    requests: dict[str, list[CollectiveRequest]]
    rejected: list[tuple[Trial, str]]


def sweep(study: Study, wanted: Wanted, runs: Path, cluster: Cluster, observer: Observer) -> tuple[Path, Sweep]:
    """Makes all launches and keeps what they found. Raises UserError before any launch."""
    planned = plan(study, wanted, cluster)
    assignments = {trial.id: _assign(trial, planned, study, runs, cluster, observer) for trial in planned.trials}
    now = datetime.now(UTC)
    folder = new_folder(runs, f"{study.header.name}-collectives-{now:%Y%m%dT%H%M%SZ}").resolve()
    storage.write_atomically(folder / "study.yaml", study.yaml.encode())
    observer.preparing(f"what is found is kept in {folder}")
    order = replication.rounds(list(assignments), wanted.launches or study.header.repeats, study.header.seed, None)
    made = Sweep(
        study=study.header.name,
        study_yaml=study.yaml,
        created_utc=now.isoformat(timespec="seconds"),
        environment=msgspec.structs.replace(environment.capture(os.environ), emulated_hosts=cluster.emulated),
        trials=planned.trials,
        rejected=planned.rejected,
        order=order,
        launches=[],
        rows=[],
        lines=[],
        crossovers=[],
        schema=SCHEMA,
    )
    for number, (trial_id, repeat) in enumerate(order, start=1):
        observer.preparing(f"launch {number} of {len(order)}: {trial_id}, {assignments[trial_id].trial.allreduce}")
        assignment = msgspec.structs.replace(assignments[trial_id], repeat=repeat)
        found = _launch(assignment, folder / trial_id / str(repeat), study, cluster, observer)
        made = derived(msgspec.structs.replace(made, launches=[*made.launches, found]), planned.requests)
        storage.write_atomically(folder / FILE, storage.seal(made))
    return folder, made


# ---- what will be timed -----------------------------------------------------------------------------------------


def plan(study: Study, wanted: Wanted, cluster: Cluster) -> Planned:
    """Every stack of the study that exchanges, with every algorithm, whatever the study's own `allreduce` says.

    Raises UserError when nothing is left to time, or the sizes do not fit into memory.
    """
    num_hosts = max(1, len(cluster.hosts))
    trials: dict[str, Trial] = {}
    rejected: dict[str, tuple[Trial, str]] = {}
    for trial, reason in _points(study, wanted):
        reason = reason or catalog.why_not_selectable(trial, num_hosts)
        if reason is not None:
            rejected.setdefault(trial.id, (trial, reason))
        elif requests(trial, wanted):
            trials.setdefault(trial.id, trial)
    if not trials:
        reasons = "; ".join(dict.fromkeys(f"{trial.backend}: {reason}" for trial, reason in rejected.values()))
        raise UserError(
            f"nothing of the study {study.header.name!r} can be timed here: {reasons or 'it has no such backend'}"
        )
    replicas = max(trial.replicas for trial in trials.values())
    _refuse_too_large(max(wanted.sizes_bytes), replicas if cluster.emulated else -(-replicas // num_hosts))
    return Planned(
        list(trials.values()), {trial.id: requests(trial, wanted) for trial in trials.values()}, list(rejected.values())
    )


def requests(trial: Trial, wanted: Wanted) -> list[CollectiveRequest]:
    """The model's own buckets, then each collective from the least size on. An algorithm is one of the all-reduce: the
    other collectives are timed once, beside `auto`."""
    kinds = [kind for kind in wanted.collectives if kind == "all_reduce" or trial.allreduce == "auto"]
    tensors: list[tuple[Collective, list[int]]] = [("all_reduce", [])] if "all_reduce" in kinds else []
    tensors += [(kind, [_elements(kind, trial, size)]) for kind in kinds for size in wanted.sizes_bytes]
    return [
        CollectiveRequest(collective=kind, elements=elements, dtype=trial.wire, algorithm=trial.allreduce)
        for kind, elements in tensors
    ]


def _elements(kind: Collective, trial: Trial, size_bytes: int) -> int:
    """Of a tensor so large that the operation has this size, or the next smaller one that divides among the ranks."""
    unit = collectives.operation_bytes(kind, trial.replicas, ITEM_BYTES[trial.wire])
    return max(1, size_bytes // unit)


def _points(study: Study, wanted: Wanted) -> Iterator[tuple[Trial, str | None]]:
    """Each stack once with each algorithm that is wanted, or with the reason why the study cannot have it."""
    for trial, reason in _stacks(study):
        if catalog.entry(trial.backend).max_replicas == 1 or trial.backend not in (wanted.backends or [trial.backend]):
            continue
        if reason is None and trial.replicas == 1:
            reason = "one replica exchanges with nobody"
        for stack, algorithms in _by_launcher(trial, wanted) if reason is None else [(trial, ("auto",))]:
            for algorithm in algorithms:
                yield msgspec.structs.replace(stack, allreduce=algorithm), reason


def _by_launcher(stack: Trial, wanted: Wanted) -> list[tuple[Trial, Sequence[Algorithm]]]:
    """A stack with its algorithms; where only another launcher's library lets one choose, under that one too."""
    algorithms = wanted.algorithms or ALGORITHMS
    by = catalog.entry(stack.backend).allreduce_by
    if not wanted.as_launched and by and stack.launcher not in by:
        other = msgspec.structs.replace(stack, launcher=by[0])
        chosen = [msgspec.structs.replace(other, allreduce=name) for name in algorithms if name != "auto"]
        if any(catalog.why_not_selectable(trial) is None for trial in chosen):
            return [(stack, [name for name in algorithms if name == "auto"]), (other, algorithms)]
    return [(stack, algorithms)]


def _stacks(study: Study) -> Iterator[tuple[Trial, str | None]]:
    """Trials that a sweep cannot tell apart are one. What the study cannot run for another reason than its
    all-reduce stays so."""
    for trial, reason in [(trial, None) for trial in study.trials] + [
        (rejected.trial, rejected.reason) for rejected in study.rejected
    ]:
        stack = msgspec.structs.replace(trial, allreduce="auto", timing=Timing(), quality=Quality())
        of_algorithm = reason == catalog.why_not_selectable(trial) and catalog.why_not_selectable(stack) is None
        yield stack, None if of_algorithm else reason


def _refuse_too_large(size_bytes: int, replicas: int) -> None:
    """`replicas` that share this host's memory, or one like it."""
    memory = environment.capture(os.environ).memory_bytes
    needed = BUFFERS * size_bytes * replicas
    if memory is not None and needed > memory:
        raise UserError(
            f"{size_bytes} bytes: {replicas} ranks on a host need {needed / 1e9:.1f} GB for it, and this one has "
            f"{memory / 1e9:.1f} GB; give a smaller --to"
        )


# ---- launching --------------------------------------------------------------------------------------------------


def _assign(
    trial: Trial, planned: Planned, study: Study, runs: Path, cluster: Cluster, observer: Observer
) -> Assignment:
    """What the ranks of a trial are told; its data and weights are made, for one step shows the model's buckets."""
    assignment = assign(trial, prepare(trial, runs, observer), cluster, study.header)
    return msgspec.structs.replace(assignment, collectives=planned.requests[trial.id])


def _launch(
    assignment: Assignment, folder: Path, study: Study, cluster: Cluster, observer: Observer
) -> CollectiveLaunch:
    """One fresh launch of all ranks, to its end, whatever that is."""
    folder.mkdir(parents=True, mode=0o700)
    made = launch(assignment, folder, cluster, study.header, observer.tick)
    error, times = None, []
    try:
        times = gathered(assignment, folder, made)
    except TrialError as problem:
        error = str(problem)
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


def gathered(assignment: Assignment, folder: Path, launched: Launched) -> list[list[CollectiveTimes]]:
    """Axes (rank, request). Raises TrialError when a rank failed, or timed something else than asked or than rank 0."""
    times = [
        [line for line in of_rank if isinstance(line, CollectiveTimes)]
        for of_rank in lines(launched, assignment, folder)
    ]
    for rank, of_rank in enumerate(times):
        if [each.request for each in of_rank] != assignment.collectives:
            raise TrialError(f"rank {rank} timed {len(of_rank)} of {len(assignment.collectives)} requests")
        for each, first in zip(of_rank, times[0], strict=True):
            if _shape(each) != _shape(first):
                raise TrialError(f"rank {rank} timed another {each.request.collective} than rank 0: {_shape(each)}")
    return times


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
