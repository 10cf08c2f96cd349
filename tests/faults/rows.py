"""The fault matrix on the null backend: each row does the fault for real and returns how long until it was noticed.

`make test` runs every row once, `make proof` twenty times. A row raises AssertionError when the promise is not kept.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench import journal, stacks
from bench.assemble import read_plan
from bench.records import RankInfo, Repeat, Result, Window
from bench.storage import unseal

# patience 0.1: a launch that stands still for 3 s counts as hung
STUDY = """
name: fault
launcher: local
bare: false
patience: 0.1
timeout_s: 120
workload: {sequence_length: 16, batch_per_replica: 2}
timing: {warmup_windows: 1, windows: 150, steps_per_window: 2}
backend: 'null'
replicas: 2
"""
SLOW_MS = 20
DEAD_RANK_S = 15.0
HUNG_S = 3.0 + 15.0
PREEMPTED_S = 25.0  # Slurm and Kubernetes give 30 s between SIGTERM and SIGKILL


@dataclass(frozen=True, slots=True)
class Fault:
    """`do` makes the fault and returns seconds from fault to the end of the launch."""

    name: str
    promise: str
    do: Callable[[Path], float]


class Running:
    """`paceline run` of two trials: one that meets the fault and one that must be fine, or of one alone."""

    def __init__(self, folder: Path, more: str, study: str = STUDY) -> None:
        self.folder = folder
        path = folder / "study.yaml"
        path.write_text(study + more)
        argv = [sys.executable, "-P", "-m", "bench", "run", "study.yaml", "--runs", str(folder / "runs")]
        self.process = psutil.Popen(argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def measuring(self, rank: int) -> RankInfo:
        """Waits until the rank has measured a window."""
        return self._wait_for(rank, lambda lines: any(isinstance(line, Window) and not line.warmup for line in lines))

    def _wait_for(self, rank: int, condition: Callable[[list[object]], bool]) -> RankInfo:
        began = time.monotonic()
        while time.monotonic() - began < 60:
            for path in self.folder.glob(f"runs/fault-*/*/*/rank-{rank}.jsonl"):
                lines = journal.read(path.parent, rank)
                if lines and condition(list(lines)) and psutil.pid_exists(lines[0].pid):
                    return lines[0]
            time.sleep(0.02)
        raise AssertionError(f"rank {rank} never came: {self.process.poll()}")

    def ranks(self) -> list[psutil.Process]:
        return self.process.children(recursive=True)

    def end(self) -> tuple[int, str, str]:
        """(exit status, standard output, standard error); nothing that was started is left."""
        output, said = self.process.communicate(timeout=120)
        left = [
            each
            for each in psutil.process_iter(["cmdline"])
            if str(self.folder) in " ".join(each.info["cmdline"] or ())
        ]
        alive = [each for each in left if each.status() != psutil.STATUS_ZOMBIE and each.pid != os.getpid()]
        assert alive == [], f"left over: {alive}"
        return self.process.returncode, output, said

    def result(self) -> Result:
        (path,) = self.folder.glob("runs/fault-*/result.json")
        return unseal(path.read_bytes(), Result)

    def repeats(self) -> list[Repeat]:
        """Of the finished launches, each readable."""
        paths = sorted(self.folder.glob("runs/fault-*/*/*/repeat.json"))
        return [unseal(path.read_bytes(), Repeat) for path in paths]


def _row_says(running: Running, pattern: str) -> None:
    """The failed trial has the reason, every other trial of the study is fine."""
    status, _, said = running.end()
    assert status == 1, said
    trials = running.result().trials
    (bad,) = [trial for trial in trials if trial.status != "ok"]
    assert bad.reason is not None and re.search(pattern, bad.reason), bad.reason
    assert all(trial.repeats[0].error is None for trial in trials if trial is not bad)


def _from_outside(number: signal.Signals, pattern: str, within_s: float) -> Callable[[Path], float]:
    """A signal to rank 1 while it measures."""

    def do(folder: Path) -> float:
        running = Running(folder, f"repeats: 1\nmatrix: {{options.step_ms: [{SLOW_MS}, 0.01]}}\n")
        other = psutil.Process(_slow_rank(running, 0).pid)
        victim = _slow_rank(running)
        began = time.monotonic()
        os.kill(victim.pid, number)
        other.wait(timeout=within_s + 10)
        took_s = time.monotonic() - began
        assert took_s < within_s, f"noticed after {took_s:.1f} s"
        _row_says(running, pattern)
        if number == signal.SIGSTOP:
            saved = [path.read_text() for path in folder.glob("runs/fault-*/*/0/rank-*.stack")]
            assert sum(stacks.innermost(text) is not None for text in saved) == 2, saved
        return took_s

    return do


def _slow_rank(running: Running, rank: int = 1) -> RankInfo:
    """Of the trial whose windows take long enough to be met."""
    while True:
        info = running.measuring(rank)
        for path in running.folder.glob(f"runs/fault-*/*/*/rank-{rank}.jsonl"):
            lines = journal.read(path.parent, rank)
            (trial,) = [one for one in read_plan(path.parents[2]).trials if one.id == path.parents[1].name]
            slow = trial.options["step_ms"] == SLOW_MS
            if slow and lines and lines[0].pid == info.pid and not (path.parent / "repeat.json").exists():
                return info
        time.sleep(0.02)


def _from_inside(options: str, pattern: str, within_s: float) -> Callable[[Path], float]:
    """The null backend does it to itself."""

    def do(folder: Path) -> float:
        running = Running(
            folder, f"repeats: 1\nmatrix: {{options.fault_rank: [1, 7]}}\noptions: {{step_ms: 0.1, {options}}}\n"
        )
        _row_says(running, pattern)
        # From the last that the rank wrote to the launch's own record.
        (bad,) = [trial.trial_id for trial in running.result().trials if trial.status != "ok"]
        (launch,) = folder.glob(f"runs/fault-*/{bad}/0")
        written = [path.stat().st_mtime for path in launch.glob("rank-1.*") if path.suffix != ".stack"]
        took_s = (launch / "repeat.json").stat().st_mtime - max(written)
        assert took_s < within_s, f"noticed after {took_s:.1f} s"
        return took_s

    return do


def _parent(number: signal.Signals, times: int, status: int, within_s: float) -> Callable[[Path], float]:
    """A signal to the parent: it and its ranks end; what is finished is kept; --resume completes the study."""

    def do(folder: Path) -> float:
        running = Running(folder, "repeats: 2\noptions: {step_ms: 8}\n")
        # A rank of the second launch is at work.
        running._wait_for(1, lambda lines: len(running.repeats()) == 1 and journal.last_phase(lines) == "windows")
        (kept,) = running.folder.glob("runs/fault-*/*/*/repeat.json")
        before = kept.read_bytes()
        ranks = running.ranks()
        began = time.monotonic()
        for _ in range(times):
            running.process.send_signal(number)
            time.sleep(0.05)
        psutil.wait_procs(ranks, timeout=within_s)
        assert [rank for rank in ranks if rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE] == []
        took_s = time.monotonic() - began
        assert took_s < within_s
        ended, _, said = running.end()
        assert ended == status, (ended, said)
        assert kept.read_bytes() == before
        resume(kept.parents[2], 2)
        assert kept.read_bytes() == before
        return took_s

    return do


def _preempted_in_a_hang(folder: Path) -> float:
    """A rank is stopped, so that it answers no signal; then the scheduler's SIGTERM comes."""
    running = Running(folder, "repeats: 1\noptions: {step_ms: 8}\n", STUDY.replace("patience: 0.1", "patience: 10"))
    os.kill(running.measuring(1).pid, signal.SIGSTOP)
    began = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    status, _, said = running.end()
    took_s = time.monotonic() - began
    assert (status, took_s < PREEMPTED_S) == (75, True), (status, took_s, said)
    return took_s


def _resumed_at_once(folder: Path) -> float:
    """The ranks of a killed parent still run, one of them stopped, when the next parent starts in their folder."""
    running = Running(folder, "repeats: 1\noptions: {step_ms: 8}\n")
    stopped = running.measuring(1)
    ranks = running.ranks()
    os.kill(stopped.pid, signal.SIGSTOP)
    running.process.kill()
    running.process.wait()
    began = time.monotonic()
    (run,) = folder.glob("runs/fault-*")
    resume(run, 1)
    took_s = time.monotonic() - began
    running.end()
    assert [rank for rank in ranks if rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE] == []
    return took_s


def resume(run_folder: Path, launches: int) -> None:
    """Completes the run; every launch is then there and whole."""
    argv = [sys.executable, "-P", "-m", "bench", "run", "--resume", str(run_folder)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    result = unseal((run_folder / "result.json").read_bytes(), Result)
    assert sum(len(trial.repeats) for trial in result.trials) == launches
    assert [repeat.error for trial in result.trials for repeat in trial.repeats] == [None] * launches


NAMED = "the row names the rank, the others are ended and the next trial runs"
NULL_FAULTS = (
    Fault("rank killed (SIGKILL)", NAMED, _from_outside(signal.SIGKILL, "rank 1 died in windows without a word", DEAD_RANK_S)),
    Fault("rank killed (SIGTERM)", NAMED, _from_outside(signal.SIGTERM, "rank 1 .*(ended by SIGTERM|died)", DEAD_RANK_S)),
    Fault("rank stopped (SIGSTOP)", "the row names the rank that does not respond; every rank's stack is saved, its own too",
          _from_outside(signal.SIGSTOP, r"hung: .*rank 1 does not respond \(process stopped\) in windows at ", HUNG_S)),
    Fault("rank crashes (SIGSEGV)", NAMED, _from_inside("fault: segv, fault_at: 5", "rank 1 died in (warmup|windows)", DEAD_RANK_S)),
    Fault("rank hangs in a step", "the row names the rank and where it stands",
          _from_inside("fault: hang, fault_at: 5", r"hung: .*rank 1 did not arrive: in windows at _fault \(_programmed.py:\d+\)", HUNG_S + 3)),
    Fault("rank out of memory", NAMED, _from_inside("fault: memory, fault_at: 5", "rank 1 failed in windows: .*MemoryError", DEAD_RANK_S)),
    Fault("rank raises in build", NAMED, _from_inside("fault: raise, fault_at: build", "rank 1 failed in build: RuntimeError", DEAD_RANK_S)),
    Fault("rank raises in warm-up", NAMED, _from_inside("fault: raise, fault_at: 1", "rank 1 failed in warmup: RuntimeError", DEAD_RANK_S)),
    Fault("rank raises in a window", NAMED, _from_inside("fault: raise, fault_at: 9", "rank 1 failed in windows: RuntimeError", DEAD_RANK_S)),
    Fault("rank raises in stop", NAMED, _from_inside("fault: raise, fault_at: stop", "rank 1 failed in stop: RuntimeError", DEAD_RANK_S)),
    Fault("rank exits 0 too early", NAMED, _from_inside("fault: exit, fault_at: 9", "rank 1 died in windows without a word", DEAD_RANK_S)),
    Fault("loss becomes NaN", "a gate names rank and step, and the speed is withheld",
          _from_inside("fault: nan, fault_at: 9", "the loss of rank 1 is not finite at step 9", DEAD_RANK_S)),
    Fault("parent killed (SIGKILL)", "the ranks end by their lease within 40 s; --resume completes the study",
          _parent(signal.SIGKILL, 1, -9, 40.0)),
    Fault("parent told to end (SIGTERM)", "ranks end, finished launches are kept, exit status 75; --resume completes",
          _parent(signal.SIGTERM, 1, 75, 15.0)),
    Fault("ctrl-C once", "ranks end, finished launches are kept, exit status 130; --resume completes",
          _parent(signal.SIGINT, 1, 130, 15.0)),
    Fault("ctrl-C twice", "as once", _parent(signal.SIGINT, 2, 130, 15.0)),
    Fault("told to end while a rank hangs", "over within 25 s, though the rank answers no signal; exit status 75",
          _preempted_in_a_hang),
    Fault("parent killed, resumed at once", "ranks that it left are ended before the launch is made anew",
          _resumed_at_once),
)  # fmt: skip
