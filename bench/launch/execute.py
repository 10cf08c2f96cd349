"""Starts the processes of one launch, watches them, and leaves none behind."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import psutil

from bench import lease
from bench.errors import TrialError
from bench.launch.commands import Command
from bench.launch.watch import Watch

POLL_S = 0.1
INSPECT_S = 1.0
GRACE_S = 8.0  # between a rank's failure and ending the others by force: the launcher may still do it better
TERMINATE_S = 3.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a launch ended: `returncode` of the process that failed first, else 0; `overdue` when its time ran out."""

    returncode: int
    overdue: str | None
    wall_ns: int


def execute(
    commands: Sequence[Command],
    watch: Watch,
    timeout_s: float,
    lease_file: Path,
    tick: Callable[[], None] = lambda: None,
) -> Ended:
    """Runs `commands` to their end in the folder that is watched; their own output goes to launcher.txt there.
    Calls `tick` each second.

    Sleeps between looks, so that the parent takes no core from the ranks. Whatever happens (also KeyboardInterrupt),
    no process is left on this host; ranks on others end with their launcher or their lease. Raises TrialError when
    a command cannot be started.
    """
    started = time.perf_counter_ns()
    folder = watch.folder
    processes: list[subprocess.Popen[bytes]] = []
    with (folder / "launcher.txt").open("wb") as log:
        try:
            for command in commands:
                processes.append(_start(command, folder, log))
            overdue = _wait(processes, watch, timeout_s, lease_file, tick)
            failed = _failures(processes)
        finally:
            _end(processes, folder)
    failed += _failures(processes)
    return Ended(failed[0] if failed else 0, overdue, time.perf_counter_ns() - started)


def _failures(processes: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Exit statuses of those that have ended, but not well."""
    return [status for process in processes if (status := process.poll())]


def _start(command: Command, folder: Path, log: BinaryIO) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command.argv,
            cwd=folder,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise TrialError(f"could not start {command.argv[0]}: {error.strerror}") from None


def _wait(
    processes: Sequence[subprocess.Popen[bytes]],
    watch: Watch,
    timeout_s: float,
    lease_file: Path,
    tick: Callable[[], None],
) -> str | None:
    """Returns when all have ended, or when they must be ended: a sentence when the time is up or all stand still,
    None when a rank or one of several launchers has failed."""
    began = inspected = renewed = time.monotonic()
    since: float | None = None
    lease.renew(lease_file)
    while any(process.poll() is None for process in processes):
        time.sleep(POLL_S)
        now = time.monotonic()
        if now - renewed >= lease.RENEW_S:
            lease.renew(lease_file)
            renewed = now
        if now - began > timeout_s:
            return f"not finished within {timeout_s:g} s"
        if now - inspected < INSPECT_S:
            continue
        inspected = now
        tick()
        since = (since or now) if watch.has_failed() or _failures(processes) else None
        if since is not None and now - since > GRACE_S:
            return None
        hung = watch.hung() if since is None else None
        if hung is not None:
            return hung
    return None


def _end(processes: Sequence[subprocess.Popen[bytes]], folder: Path) -> None:
    """Ends the launchers, all their descendants, and every rank of this host that outlived its launcher."""
    family: dict[int, psutil.Process] = {}
    for process in processes:
        with suppress(psutil.Error):
            parent = psutil.Process(process.pid)
            family |= {member.pid: member for member in (parent, *parent.children(recursive=True))}
    for rank in psutil.process_iter(["cmdline"]):
        if str(folder) in (rank.info["cmdline"] or ()):
            family[rank.pid] = rank
    for number in (signal.SIGTERM, signal.SIGKILL):
        for member in family.values():
            with suppress(psutil.Error):
                member.send_signal(number)
        _, alive = psutil.wait_procs(family.values(), timeout=TERMINATE_S)
        family = {member.pid: member for member in alive}
        if not family:
            break
    for process in processes:
        process.wait()
