"""A point of a study: as a person writes it, and the trials that it becomes on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bench import catalog
from bench.records import Count, Fraction, LauncherName, NotNegative, Positive, Record, Timing, Trial, Workload
from bench.workload.models import SIZES

MOST_REPLICAS = 16_384


class Header(Record, frozen=True, kw_only=True):
    """The keys that belong to the study and not to a trial.

    repeats            fresh launches of every trial; with a target, the fewest
    target_half_width  relative, of the 95 % interval of a trial's speed: launches are added until it is met; 0: none
    most_repeats       the most launches of a trial that has a target
    budget_s           no launch is added after so many seconds of launches; 0: no limit
    sentinel           the first trial is launched once more before each round and at the end, to see the machine drift
    seed               of the order of launches
    bare               one run per framework on one device, without a wrapper, beside the others
    ladder             where the lost time goes: local windows in every launch of several replicas, and beside it one
                       replica without and, where that differs, with the wrapper
    timeout_s          of one launch, start to end
    patience           factor on how long a launch may stand still before it counts as hung (bench.launch.deadlines)
    rendezvous_port    where ranks meet that need a port; 0: any free one
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    repeats: Count = 3
    target_half_width: Fraction = 0.0
    most_repeats: Count = 10
    budget_s: NotNegative = 0.0
    sentinel: bool = False
    seed: int = 1
    bare: bool = True
    ladder: bool = False
    timeout_s: Positive = 1_800.0
    patience: Positive = 1.0
    rendezvous_port: Annotated[int, Meta(ge=0, lt=65_536)] = 0


class StudyWorkload(Workload, frozen=True, kw_only=True):
    """`global_batch` keeps the whole job's batch fixed (strong scaling) in place of `batch_per_replica` (weak)."""

    global_batch: Count | None = None


class StudyTrial(Trial, frozen=True, kw_only=True):
    """A trial as a person writes it: two values may be left to the machine."""

    launcher: LauncherName | Literal["auto"] = "auto"  # type: ignore[assignment]
    threads_per_replica: Count | Literal["auto"] = "auto"  # type: ignore[assignment]
    workload: StudyWorkload = StudyWorkload()


def resolved(
    points: list[StudyTrial], header: Header, base: Path, threads: int, slots: int | None, num_hosts: int
) -> Iterator[tuple[Trial, str | None]]:
    """Each point as a trial with the reason why it cannot run; after a runnable one, those it is set against."""
    for point in points:
        trial = _trial(point, base, threads)
        if header.ladder and trial.replicas > 1:
            timing = msgspec.structs.replace(trial.timing, local_windows=True)
            trial = msgspec.structs.replace(trial, timing=timing)
        reason = _why_not(point, trial, slots, num_hosts)
        yield trial, reason
        for alone in _alone(point, trial, header) if reason is None else ():
            yield alone, catalog.why_not_selectable(alone, num_hosts=1)


def _alone(point: StudyTrial, trial: Trial, header: Header) -> Iterator[Trial]:
    """The runs of one replica beside a trial. Under strong scaling the bare one does the whole batch; the ladder's does
    one replica's share, so that a step is the same work on every rung. Programmed times need a bare run for the ladder
    alone.
    """
    row = catalog.entry(trial.backend)
    timing = msgspec.structs.replace(trial.timing, local_windows=False)
    if row.bare is not None and header.bare and row.framework != "none":
        yield _bare(trial, row.bare, timing, point.workload.global_batch or trial.workload.batch_per_replica)
    if row.bare is not None and header.ladder and trial.replicas > 1:
        yield _bare(trial, row.bare, timing, trial.workload.batch_per_replica)
        if "solo" in row.wrapped:
            yield msgspec.structs.replace(trial, replicas=1, timing=timing, allreduce="auto")


def _why_not(point: StudyTrial, trial: Trial, slots: int | None, num_hosts: int) -> str | None:
    indivisible = why_indivisible(point)
    if indivisible is not None:
        return indivisible
    if slots is not None and point.replicas > slots:
        return f"-np {slots} leaves no room for {point.replicas} replicas"
    return catalog.why_not_selectable(trial, num_hosts)


def why_indivisible(point: StudyTrial) -> str | None:
    """Why its batch does not split evenly, as one clause; None where it does."""
    whole, batch, parts = point.workload.global_batch, point.workload.batch_per_replica, point.workload.accumulation
    if whole is not None:
        if whole % point.replicas:
            return f"the global batch of {whole} does not divide among {point.replicas} replicas"
        batch = whole // point.replicas
    if batch % parts:
        return f"a batch of {batch} per replica does not divide into workload.accumulation {parts} microbatches"
    return None


def _trial(point: StudyTrial, base: Path, threads: int) -> Trial:
    """Fills in what was left to the machine, and the batch per replica; paths are relative to the study's folder."""
    workload = {name: getattr(point.workload, name) for name in Workload.__struct_fields__}
    # a model that is no folder stays a word, so that a misspelt size is answered with the sizes
    words_of = {
        "data": ("builtin",),
        "validation": ("held_out",),
        "vocabulary": ("trained",),
        "model": tuple(SIZES),
    }
    for name, words in words_of.items():
        is_path = workload[name] not in words and (name != "model" or os.sep in workload[name])
        workload[name] = str((base / workload[name]).resolve()) if is_path else workload[name]
    if point.workload.global_batch is not None:
        workload["batch_per_replica"] = max(1, point.workload.global_batch // point.replicas)
    fields = {name: getattr(point, name) for name in Trial.__struct_fields__}
    fields["workload"] = Workload(**workload)
    if fields["launcher"] == "auto":
        row = catalog.entry(point.backend)
        preferred = [name for name in ("horovodrun", "local") if name in row.launchers]
        found = [name for name in preferred if catalog.why_no_launcher(name) is None]
        fields["launcher"] = found[0] if found else row.launchers[0]
    if fields["threads_per_replica"] == "auto":
        fields["threads_per_replica"] = threads
    return Trial(**fields)


def _bare(trial: Trial, bare: str, timing: Timing, batch: int) -> Trial:
    """The same work on one device without a wrapper."""
    allowed = catalog.entry(bare).options
    return msgspec.structs.replace(
        trial,
        backend=bare,
        replicas=1,
        workload=msgspec.structs.replace(trial.workload, batch_per_replica=batch),
        wire="float32",
        allreduce="auto",
        timing=timing,
        options={name: value for name, value in trial.options.items() if name in allowed},
    )


def cores() -> int:
    """Cores this process may use, which a container or taskset may have made fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
