"""The fault matrix, continued: what the system does to a run. Rows as in rows.py; some need root, and say so."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from rows import DEAD_RANK_S, STUDY, Fault, Running, _row_says, resume

from bench.records import Result
from bench.storage import unseal

PACELINE = [sys.executable, "-P", "-m", "bench"]


@contextmanager
def _mounted(folder: Path, megabytes: int) -> Iterator[None]:
    """A file system of its own in `folder`, gone afterwards."""
    if os.geteuid() != 0:
        pytest.skip("a file system that is full or read-only is made with mount, which needs root")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "paceline", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _disk_full(folder: Path) -> float:
    """The disk fills up while the second study runs; the first one's result is untouched, the second is resumed."""
    runs = folder / "runs"
    with _mounted(runs, 64):
        with _paceline(folder, "whole", "repeats: 1\noptions: {step_ms: 0.1}\n") as whole:
            whole.communicate(timeout=60)
            assert whole.returncode == 0
        (finished,) = runs.glob("whole-*/result.json")
        before = finished.read_bytes()
        with _paceline(folder, "full", "repeats: 2\noptions: {step_ms: 8}\n") as running:
            _wait_until(lambda: any("windows" in path.read_text() for path in runs.glob("full-*/*/0/rank-1.jsonl")))
            with (runs / "filler").open("wb", buffering=0) as filler:
                began = time.monotonic()
                try:
                    while True:
                        filler.write(bytes(4096))
                except OSError:
                    pass
            _, said = running.communicate(timeout=60)
            took_s = time.monotonic() - began
            assert running.returncode in (1, 2), (running.returncode, said)
            assert "No space left on device" in said and "Traceback" not in said, said
        assert took_s < DEAD_RANK_S
        assert finished.read_bytes() == before and unseal(before, Result).trials[0].status == "ok"
        (runs / "filler").unlink()
        (left,) = runs.glob("full-*")
        resume(left, 2)
        return took_s


def _read_only(folder: Path) -> float:
    runs = folder / "runs"
    with _mounted(runs, 1):
        subprocess.run(["mount", "-o", "remount,ro", runs], check=True)
        began = time.monotonic()
        with _paceline(folder, "study", "repeats: 1\noptions: {step_ms: 0.1}\n") as running:
            _, said = running.communicate(timeout=60)
        assert running.returncode == 2
        assert "Read-only file system" in said and len(said.strip().splitlines()) <= 2, said
        return time.monotonic() - began


def _launcher_killed(folder: Path) -> float:
    """Its ranks end too, and the row says that it was the launcher."""
    running = Running(
        folder, "repeats: 1\noptions: {step_ms: 8}\n", STUDY.replace("launcher: local", "launcher: mpirun")
    )
    running.measuring(1)
    (launcher,) = [child for child in running.process.children() if "mpirun" in child.name()]
    ranks = launcher.children(recursive=True)
    began = time.monotonic()
    launcher.send_signal(signal.SIGKILL)
    psutil.wait_procs(ranks, timeout=DEAD_RANK_S)
    took_s = time.monotonic() - began
    assert took_s < DEAD_RANK_S
    _row_says(
        running, r"^repeat 0: the launcher was killed by signal 9 \(Killed\): rank 0 in windows, rank 1 in windows"
    )
    return took_s


def _unreachable(host: str, reason: str) -> Callable[[Path], float]:
    """At a port that is taken, and at which nobody listens: whatever ssh server the machine has, none is there."""

    def do(folder: Path) -> float:
        began = time.monotonic()
        study = STUDY.replace("launcher: local", "launcher: horovodrun")
        with socket.socket() as taken:
            taken.bind(("127.1.2.3", 0))
            flags = ("-H", f"{host}:1,localhost:1", "-p", str(taken.getsockname()[1]))
            with _paceline(folder, "study", "repeats: 1\n", study, *flags) as running:
                output, said = running.communicate(timeout=120)
        assert running.returncode == 1, said
        shown = " ".join(output.split())
        assert host in shown and reason in shown, shown
        return time.monotonic() - began

    return do


@contextmanager
def _paceline(folder: Path, name: str, more: str, study: str = STUDY, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """`paceline run`, ended with all its ranks whatever the row does."""
    path = folder / f"{name}.yaml"
    path.write_text(study.replace("name: fault", f"name: {name}") + more)
    argv = [*PACELINE, "run", path.name, "--runs", str(folder / "runs"), *flags]
    with subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def _wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


SYSTEM_FAULTS = (
    Fault("disk full", "one sentence, finished results untouched; --resume completes once there is room", _disk_full),
    Fault("read-only disk", "one sentence before anything starts, exit status 2", _read_only),
    Fault("launcher killed", "its ranks end, the row says so, the study goes on", _launcher_killed),
    Fault("host does not resolve", "the row names the host and why", _unreachable("no-such-host.invalid", "resolve")),
    Fault("host refuses", "the row names the host and why", _unreachable("127.1.2.3", "refused")),
)
