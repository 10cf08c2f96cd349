"""The program on one screen: study -> trials -> launch -> collect -> result."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import assemble, collect, environment, hosts, proofs, replication, storage
from bench.errors import UserError
from bench.launch import commands
from bench.launch.commands import Cluster
from bench.launching import Prepared, assign, launch
from bench.records import Plan, Repeat, Result, Timing, Trial
from bench.storage import seal
from bench.study import Study

QUICK_TIMING = Timing(warmup_windows=1, windows=3, steps_per_window=3)


class Observer:
    """Told what happens, in order; does nothing. The command line shows progress by overriding."""

    def preparing(self, sentence: str) -> None: ...

    def launching(self, number: int, total: int, trial: Trial, repeat: int, folder: Path) -> None: ...

    def tick(self) -> None: ...

    def launched(self, trial: Trial, repeat: Repeat) -> None: ...


def plan(study: Study, quick: bool, cluster: Cluster, now: datetime) -> Plan:
    """Decides what will be launched and in which order: in every round each trial once, in seeded random order."""
    trials = study.trials
    if quick:
        quickened = [msgspec.structs.replace(trial, timing=_quick(trial.timing)) for trial in trials]
        trials = list({trial.id: trial for trial in quickened}.values())
    header = study.header
    repeats = 1 if quick else header.repeats
    sentinel = trials[0].id if trials and header.sentinel and not quick else None
    return Plan(
        study=header.name,
        study_yaml=study.yaml,
        quick=quick,
        created_utc=now.isoformat(timespec="seconds"),
        environment=msgspec.structs.replace(environment.capture(os.environ), emulated_hosts=cluster.emulated),
        trials=trials,
        rejected=[(rejected.trial, rejected.reason) for rejected in study.rejected],
        order=replication.rounds([trial.id for trial in trials], repeats, header.seed, sentinel),
        seed=header.seed,
        repeats=repeats,
        most_repeats=max(repeats, header.most_repeats),
        target_half_width=0.0 if quick else header.target_half_width,
        budget_s=header.budget_s,
        sentinel=sentinel,
        timeout_s=header.timeout_s,
        patience=header.patience,
        rendezvous_port=header.rendezvous_port,
        notes=study.notes,
        hosts=list(cluster.hosts),
        network_interface=cluster.network_interface,
        mpi=cluster.mpi,
        ssh_port=cluster.ssh_port,
        ssh_identity_file=cluster.ssh_identity_file,
    )


def _quick(timing: Timing) -> Timing:
    return msgspec.structs.replace(QUICK_TIMING, local_windows=timing.local_windows)


def refuse_empty(study: Study) -> None:
    """Raises UserError, with every reason, when nothing of the study can run here."""
    if not study.trials:
        reasons = "; ".join(dict.fromkeys(f"{each.trial.backend}: {each.reason}" for each in study.rejected))
        raise UserError(f"no trial of the study {study.header.name!r} can run here: {reasons}")


def begin(study: Study, runs: Path, quick: bool, cluster: Cluster, observer: Observer) -> Path:
    """Prepares all data and weights, then makes the run folder with its plan. Raises UserError before any launch."""
    refuse_empty(study)
    for trial in study.trials:
        prepare(trial, runs, observer)
    now = datetime.now(UTC)
    planned = plan(study, quick, cluster, now)
    refuse_commands(planned.trials, runs, cluster)
    folder = new_folder(runs, f"{study.header.name}-{now:%Y%m%dT%H%M%SZ}")
    storage.write_atomically(folder / "study.yaml", study.yaml.encode())
    proofs.carry(planned, runs, folder)
    storage.write_atomically(folder / "plan.json", seal(planned))
    return folder


def proceed(folder: Path, observer: Observer, extra_rounds: int = 0, cluster: Cluster | None = None) -> Result:
    """Makes every launch of the plan that is not whole yet, where the plan says, then assembles the result.

    `extra_rounds` of all trials are added to the plan first. `cluster`: what was planned for, where its emulated hosts
    are there already; without it they are made and removed again. Raises UserError when the folder holds no run, or
    another paceline is at work in it.
    """
    assemble.read_plan(folder)
    with alone(folder):
        planned = assemble.read_plan(folder)  # only now nobody else may extend it
        if extra_rounds:
            planned = _extend(folder, planned, replication.further(planned, extra_rounds))
        _make_launches(folder, planned, observer, cluster)
        while more := replication.next_round(planned, *assemble.so_far(folder, planned)):
            planned = _extend(folder, planned, more)
            _make_launches(folder, planned, observer, cluster)
        return assemble.assemble(folder)


def _extend(folder: Path, planned: Plan, more: replication.Order) -> Plan:
    """The same plan with further launches at its end, on disk before the first of them."""
    extended = msgspec.structs.replace(planned, order=[*planned.order, *more])
    storage.write_atomically(folder / "plan.json", seal(extended))
    return extended


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; the system lets go of it however this process ends."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
    with os.fdopen(os.open(folder / ".lock", flags, 0o600), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another paceline is running this study; wait for it, or end it first") from None
        yield


def _make_launches(folder: Path, planned: Plan, observer: Observer, cluster: Cluster | None) -> None:
    trials = {trial.id: trial for trial in planned.trials}
    lacking = [each for each in enumerate(planned.order, start=1) if not assemble.is_whole(folder, *each[1])]
    if not lacking:
        return
    with nullcontext(cluster) if cluster else planned_cluster(planned) as where:
        for number, (trial_id, repeat) in lacking:
            trial = trials[trial_id]
            target = fresh_folder(folder / trial_id / str(repeat))
            observer.launching(number, len(planned.order), trial, repeat, target)
            made = _launch(trial, repeat, target, planned, where, observer)
            storage.write_atomically(target / "repeat.json", seal(made))
            observer.launched(trial, made)


@contextmanager
def planned_cluster(planned: Plan) -> Iterator[Cluster]:
    """What was planned for. Raises UserError where its emulated hosts cannot be made."""
    emulated = planned.environment.emulated_hosts
    if emulated is not None:
        with hosts.emulated(emulated) as made:
            yield dataclasses.replace(made.cluster, mpi=planned.mpi)
        return
    yield Cluster(
        hosts=tuple(planned.hosts),
        network_interface=planned.network_interface,
        mpi=planned.mpi,
        ssh_port=planned.ssh_port,
        ssh_identity_file=planned.ssh_identity_file,
    )


def refuse_commands(trials: Sequence[Trial], runs: Path, cluster: Cluster) -> None:
    """Raises UserError for what a launcher cannot be given, before anything starts."""
    for trial in trials:
        commands.commands(trial, runs.resolve() / "RUN" / trial.id / "0", sys.executable, cluster, os.environ)


def prepare(trial: Trial, runs: Path, observer: Observer) -> Prepared:
    """Tokenised corpora and initial checkpoint below `runs`/.cache, made once. Raises UserError for unusable input."""
    from bench.workload import checkpoint, corpus

    cache = runs / ".cache"
    prepared = corpus.prepare(trial.workload, cache, observer.preparing)
    weights = checkpoint.prepare(trial.workload, prepared.labels, cache)
    evaluates = trial.quality.samples > 0
    held_out = corpus.prepare_validation(trial.workload, cache, observer.preparing).folder if evaluates else None
    return Prepared(prepared.folder, weights, held_out)


def _launch(trial: Trial, repeat: int, folder: Path, planned: Plan, cluster: Cluster, observer: Observer) -> Repeat:
    """One fresh launch of all ranks of `trial`, to its end, whatever that is."""
    assignment = assign(trial, prepare(trial, folder.parents[2], observer), cluster, planned, repeat)
    made = launch(assignment, folder, cluster, planned, observer.tick)
    if made.ended is None:
        return collect.failed(assignment, made.command, made.started_utc, made.error or "it could not be started")
    return collect.collect(folder, assignment, made.command, made.started_utc, made.ended)


def new_folder(runs: Path, name: str) -> Path:
    """A folder of that name, or with -2, -3, ... when two runs begin in the same second. Private to its owner."""
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        folder = runs / f"{name}{suffix}"
        try:
            folder.mkdir(parents=True, mode=0o700)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"cannot make the run folder {folder}: {error.strerror}") from None
        return folder
    raise UserError(f"{runs}: too many runs called {name}")


def fresh_folder(folder: Path) -> Path:
    """An empty folder for a launch; what a cut-off or failed attempt left is kept aside, never read as a result."""
    if folder.exists():
        attempt = next(n for n in range(1, 10_000) if not folder.with_name(f"{folder.name}.attempt-{n}").exists())
        folder.rename(folder.with_name(f"{folder.name}.attempt-{attempt}"))
    folder.mkdir(parents=True, mode=0o700)
    return folder
