"""Faults of a link in the middle of an exchange, over emulated hosts: one launch meets three of them.

A link that fails for a moment, or becomes slow, costs time and nothing else: TCP repeats what was lost. One that stays
cut is a hang of all ranks: the launch is ended within the deadline, and the row says that a link may be cut.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
from rows import Fault

from bench import journal
from bench.records import RankInfo, Result, Window
from bench.storage import unseal
from tests.hosts.leftovers import left_of, set_of

PATIENCE = 0.4
DEADLINE_S = 30.0 * PATIENCE  # bench.launch.deadlines, for windows of under 1.5 s
STUDY = f"""
name: links
launcher: horovodrun
bare: false
repeats: 1
patience: {PATIENCE}
workload: {{sequence_length: 16, batch_per_replica: 2}}
optimizer: {{name: sgd}}
timing: {{warmup_windows: 1, windows: 1000, steps_per_window: 1}}
backend: torch_ddp
replicas: 2
"""

# A rank that had its share of the last exchange before the cut waits in the next barrier.
SAID = r"hung: nothing was written for \d+ s; (all ranks respond and wait, as when a link between host0, host1 is cut: rank 0 in windows at |rank (\d) did not arrive: in windows at .*; the others wait for it, or a link of host\2 is cut)"


def windows(folder: Path) -> list[Window]:
    found = [line for path in folder.glob("runs/links-*/*/0/rank-1.jsonl") for line in journal.read(path.parent, 1)]
    return [line for line in found if isinstance(line, Window)]


def wait_for_windows(process: psutil.Popen, folder: Path, count: int, deadline_s: float) -> list[Window]:
    began = time.monotonic()
    while len(windows(folder)) < count:
        assert process.poll() is None and time.monotonic() - began < deadline_s, windows(folder)[-3:]
        time.sleep(0.05)
    return windows(folder)


def link(host: str, *words: str) -> None:
    subprocess.run(("ip", "-n", host, "link", "set", "eth0", *words), check=True)


def _fails_slows_and_is_cut(folder: Path) -> float:
    """Seconds from the cut that stays to the end of the run."""
    (folder / "study.yaml").write_text(STUDY)
    argv = [sys.executable, "-P", "-m", "bench", "run", "study.yaml", "-H", "emulated:2@400mbit"]
    running = psutil.Popen(argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        return _meets_the_faults(running, folder)
    finally:
        if running.poll() is None:
            running.terminate()
            running.wait(timeout=60)


def _meets_the_faults(running: psutil.Popen, folder: Path) -> float:
    wait_for_windows(running, folder, 4, 120.0)
    (path,) = folder.glob("runs/links-*/*/0/rank-1.jsonl")
    rank = journal.read(path.parent, 1)[0]
    assert isinstance(rank, RankInfo)
    identifier = set_of(rank.pid)
    host = f"paceline-{identifier}-host1"

    link(host, "down")
    known = len(windows(folder))
    time.sleep(2.0)  # the fault itself: so long the link is cut, and only what was exchanged before can end
    assert len(windows(folder)) <= known + 1
    link(host, "up")
    wait_for_windows(running, folder, known + 3, 60.0)

    slow = ("tbf", "rate", "100mbit", "burst", "131072", "latency", "50ms")
    subprocess.run(("tc", "-n", host, "qdisc", "change", "dev", "eth0", "root", *slow), check=True)
    slowed = wait_for_windows(running, folder, len(windows(folder)) + 3, 60.0)
    # 17.7 MB at 100 Mbit/s: 1.4 s
    assert slowed[-1].duration_ns > 1.3e9, [window.duration_ns for window in slowed]

    link(host, "down")
    began = time.monotonic()
    output, _ = running.communicate(timeout=120)
    took_s = time.monotonic() - began
    assert running.returncode == 1, output
    (run,) = folder.glob("runs/links-*")
    (trial,) = unseal((run / "result.json").read_bytes(), Result).trials
    assert trial.reason is not None and re.search(SAID, trial.reason), trial.reason
    # 20 of the longest windows, with the slow link in them, when that is more than the floor
    longest_s = max(window.duration_ns for window in slowed) / 1e9
    assert took_s < max(DEADLINE_S, 20 * longest_s * PATIENCE) + 15.0
    assert left_of(identifier) == []
    assert not psutil.pid_exists(rank.pid) or psutil.Process(rank.pid).status() == psutil.STATUS_ZOMBIE
    return took_s


LINK_FAULTS = (
    Fault("link fails, slows, is cut", "a moment's failure and a slow link cost time only; one that stays cut is a hang: "
          "all ranks are ended, and the row says that a link may be cut", _fails_slows_and_is_cut),
)  # fmt: skip
