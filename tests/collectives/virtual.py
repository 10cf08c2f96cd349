"""Launches of a sweep of `null` in this process, each rank with a clock of its own that moves only when it sleeps."""

from __future__ import annotations

from pathlib import Path

from msgspec import structs

from bench import launching, sweep
from bench.launch.commands import Cluster
from bench.launch.execute import Ended
from bench.launching import Launched
from bench.points import Header
from bench.records import (
    SCHEMA,
    Assignment,
    CollectiveLaunch,
    CollectiveRequest,
    Environment,
    Sweep,
    Trial,
    Workload,
)
from bench.run import Observer, prepare
from bench.selfcheck import run_assignment

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
    made = launching.assign(asked, prepare(asked, runs, Observer()), Cluster(), Header(name="sweep"))
    return structs.replace(made, collectives=requests)


def launch(assignment: Assignment, folder: Path, repeat: int = 0) -> CollectiveLaunch:
    run_assignment(assignment, folder)
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
