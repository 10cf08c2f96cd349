"""Launches of a sweep of `null` in this process, each rank with a clock of its own that moves only when it sleeps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from backends import null
from bench import journal, sweep, worker
from bench.clock import VirtualClock
from bench.launch.execute import Ended
from bench.launch.world import FileRendezvous
from bench.launching import Launched
from bench.protocols import World
from bench.records import (
    SCHEMA,
    Assignment,
    CollectiveLaunch,
    CollectiveRequest,
    Environment,
    Phase,
    Sweep,
    Trial,
    Workload,
)
from bench.run import Observer, prepare

MS = 1_000_000
OPTIONS = {"step_ms": 1.0, "latency_ms": [0.5, 1.0], "ms_per_mib": 2.0, "exchange_ms": 4.0}


def trial(**changes: object) -> Trial:
    given = {
        "backend": "null",
        "launcher": "local",
        "workload": Workload(sequence_length=16, batch_per_replica=4),
        "options": OPTIONS,
    }
    return Trial(**(given | changes))  # type: ignore[arg-type]


def assign(asked: Trial, requests: list[CollectiveRequest], runs: Path) -> Assignment:
    prepared = prepare(asked, runs, Observer())
    return Assignment(
        trial=asked, trial_id=asked.id, repeat=0, ranks=asked.replicas, local_replicas=1,
        data=str(prepared.data), checkpoint=str(prepared.checkpoint), collectives=requests,
    )  # fmt: skip


def run_ranks(assignment: Assignment, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(assignment.ranks) as pool:
        for done in [pool.submit(_run_rank, assignment, rank, folder) for rank in range(assignment.ranks)]:
            done.result()


def _run_rank(assignment: Assignment, rank: int, folder: Path) -> None:
    clock = VirtualClock()
    backend = null.Backend(clock)
    world = World(
        rank=rank, size=assignment.ranks, local_rank=rank, local_size=assignment.ranks, local_replicas=1,
        launcher="local", address="127.0.0.1", network_interface=None, rendezvous_port=0,
        rendezvous=FileRendezvous(folder / "rendezvous"),
    )  # fmt: skip
    with journal.Journal(folder, rank) as lines:
        lines.write(worker.rank_info(world))
        lines.write(Phase(name="start", at_ns=clock()))
        worker.run_rank(backend, assignment, world, lines, clock(), clock)


def launch(assignment: Assignment, folder: Path, repeat: int = 0) -> CollectiveLaunch:
    run_ranks(assignment, folder)
    return CollectiveLaunch(
        trial_id=assignment.trial_id, repeat=repeat, started_utc="", wall_ns=1, command=["null"], error=None,
        times=sweep.gathered(assignment, folder, Launched([], "", Ended(0, None, 1), None)),
    )  # fmt: skip


def swept(trials: list[Trial], launches: list[CollectiveLaunch], requests: list[CollectiveRequest]) -> Sweep:
    """What a sweep of these launches would have left."""
    environment = Environment(
        hostname="h", platform="p", python="3", cpu=None, cores=2, memory_bytes=None, load_average=None, governor=None,
        paceline="0", revision=None, packages={}, variables={},
    )  # fmt: skip
    bare = Sweep(
        study="s", study_yaml="backend: 'null'\n", created_utc="2026-01-01T00:00:00+00:00", environment=environment,
        trials=trials, rejected=[], order=[(one.trial_id, one.repeat) for one in launches], launches=launches,
        rows=[], lines=[], crossovers=[], schema=SCHEMA,
    )  # fmt: skip
    return sweep.derived(bare, {each.id: requests for each in trials})
