"""What `paceline collectives` will time: every stack of a study that exchanges, with every algorithm that it has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import msgspec

from bench import catalog, collectives, environment
from bench.errors import UserError
from bench.launch.commands import Cluster
from bench.records import ITEM_BYTES, Algorithm, Collective, CollectiveRequest, Quality, Timing, Trial
from bench.study import Study

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
    if not wanted.as_launched and by and stack.launcher not in by and not catalog.has_gpu():
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
