"""One launch, whatever for: what its ranks are told, all of them started and watched to their end, what they wrote."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from bench import failure, journal, storage
from bench.errors import TrialError
from bench.launch import commands
from bench.launch.commands import Cluster
from bench.launch.execute import Ended, execute
from bench.launch.watch import Watch
from bench.records import Assignment, Line, Trial


class Limits(Protocol):
    """Of a study, and of the plan made of it."""

    @property
    def timeout_s(self) -> float: ...

    @property
    def patience(self) -> float: ...

    @property
    def rendezvous_port(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the ranks load: tokenised data, initial weights, and the data to evaluate on where the trial does."""

    data: Path
    checkpoint: Path
    validation: Path | None


@dataclass(frozen=True, slots=True)
class Launched:
    """`ended` None: a process could not be started, `error` says why."""

    command: list[str]
    started_utc: str
    ended: Ended | None
    error: str | None


def assign(trial: Trial, prepared: Prepared, cluster: Cluster, limits: Limits, repeat: int = 0) -> Assignment:
    """What the ranks of one launch are told."""
    ranks, local_replicas = commands.ranks(trial)
    return Assignment(
        trial=trial,
        trial_id=trial.id,
        repeat=repeat,
        ranks=ranks,
        local_replicas=local_replicas,
        data=str(prepared.data.resolve()),
        checkpoint=str(prepared.checkpoint.resolve()),
        validation=str(prepared.validation.resolve()) if prepared.validation else None,
        network_interface=cluster.network_interface,
        rendezvous_port=limits.rendezvous_port,
    )


def launch(
    assignment: Assignment, folder: Path, cluster: Cluster, limits: Limits, tick: Callable[[], None]
) -> Launched:
    """All ranks to their end, whatever that is, in the empty folder `folder`, which all hosts see."""
    lease_file = folder / "lease"
    told = msgspec.structs.replace(assignment, lease=str(lease_file))
    storage.write_atomically(folder / "trial.json", msgspec.json.encode(told))
    to_start = commands.commands(assignment.trial, folder, sys.executable, cluster, os.environ)
    command, started = list(to_start[0].argv), datetime.now(UTC).isoformat(timespec="seconds")
    watch = Watch(folder, assignment.ranks, assignment.trial, limits.patience, cluster.on_this_machine)
    try:
        ended = execute(to_start, watch, limits.timeout_s, lease_file, tick)
    except TrialError as error:
        return Launched(command, started, None, str(error))
    return Launched(command, started, ended, None)


def lines(launched: Launched, assignment: Assignment, folder: Path) -> list[list[Line]]:
    """What each rank wrote. Raises TrialError, with the sentence of the row, for a launch that is not whole."""
    if launched.ended is None:
        raise TrialError(launched.error or "it could not be started")
    found = [journal.read(folder, rank) for rank in range(assignment.ranks)]
    reason = failure.why(folder, found, launched.ended)
    if reason is not None:
        raise TrialError(reason)
    return found
