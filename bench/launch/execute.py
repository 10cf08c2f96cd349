"""Starts the processes of one launch, watches them, and leaves none behind."""

from __future__ import annotations

import os
import shutil
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
from bench.redaction import redact_files
from bench.termination import undisturbed

POLL_S = 0.1
INSPECT_S = 1.0
GRACE_S = 8.0  # between a rank's failure and ending the others by force: the launcher may still do it better
TERMINATE_S = 3.0
KEPT = ("trial.json",)  # what is written before the launch


@dataclass(frozen=True, slots=True)
class Ended:
    """How a launch ended: `returncode` of the process that failed first, else 0; `overdue` says so when its time ran
    out, or its launcher was killed; `gone`: as bench.launch.watch.Watch has it, before anything was ended."""

    returncode: int
    overdue: str | None
    wall_ns: int
    gone: tuple[int, ...] = ()


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
    no process is left on this host; ranks on others end with their launcher or their lease. What ranks of a killed
    parent's attempt in this folder still run is ended first. Raises TrialError when a command cannot be started.
    """
    started = time.perf_counter_ns()
    folder = watch.folder
    processes: list[subprocess.Popen[bytes]] = []
    _end_leftovers(folder)
    lease.begin(lease_file)
    with (folder / "launcher.txt").open("wb") as log:
        try:
            for command in commands:
                with undisturbed():  # one that is started and not noted would be left
                    processes.append(_start(command, folder, log))
            overdue = _wait(processes, watch, timeout_s, lease_file, tick)
            overdue = overdue or (None if watch.has_ended() else _killed_launcher(commands, processes))
            failed = _failures(processes)
        finally:
            with undisturbed():
                _end(processes, folder)
                _leave_clean(folder, lease_file)
    failed += _failures(processes)
    return Ended(failed[0] if failed else 0, overdue, time.perf_counter_ns() - started, watch.gone)


def _leave_clean(folder: Path, lease_file: Path) -> None:
    """Ranks on other hosts are told that it is over, and logs keep no secret of this process's environment. A disk that
    is full must not hide why the launch failed."""
    with suppress(OSError):
        lease.end(lease_file)
    with suppress(OSError):
        redact_files((path for path in folder.iterdir() if path.suffix in (".txt", ".error")), os.environ)


def _failures(processes: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Exit statuses of those that have ended, but not well."""
    return [status for process in processes if (status := process.poll())]


def _killed_launcher(commands: Sequence[Command], processes: Sequence[subprocess.Popen[bytes]]) -> str | None:
    """Its ranks are then gone as well, and not to blame. A command with a rank's place is a rank itself."""
    for command, process in zip(commands, processes, strict=True):
        if (process.poll() or 0) < 0 and "PACELINE_RANK" not in command.environment:
            number = -process.returncode
            return f"the launcher was killed by signal {number} ({signal.strsignal(number)})"
    return None


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
    while any(process.poll() is None for process in processes):
        time.sleep(POLL_S)
        now = time.monotonic()
        if now - renewed >= lease.RENEW_S:
            lease.renew(lease_file)
            renewed = now
        if now - began > timeout_s:
            watch.save_stacks()
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


def _end_leftovers(folder: Path) -> None:
    """Of an attempt whose parent was killed, in a folder of this name: at once, for a last word would go to the new
    launch. What they have left there since goes as well."""
    left = _ranks(folder)
    for rank in left:
        with suppress(psutil.Error):
            rank.kill()
    psutil.wait_procs(left, timeout=TERMINATE_S)
    for path in folder.iterdir() if left else ():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in KEPT:
            path.unlink()


def _ranks(folder: Path) -> list[psutil.Process]:
    """And launchers: all of this host that were started for the folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(folder) in (process.info["cmdline"] or ()) and process.pid != os.getpid()
    ]


def _end(processes: Sequence[subprocess.Popen[bytes]], folder: Path) -> None:
    """Ends the launchers, all their descendants, and every rank of this host that outlived its launcher."""
    family: dict[int, psutil.Process] = {}
    for process in processes:
        with suppress(psutil.Error):
            parent = psutil.Process(process.pid)
            family |= {member.pid: member for member in (parent, *parent.children(recursive=True))}
    family |= {rank.pid: rank for rank in _ranks(folder)}
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
