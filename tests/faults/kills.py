"""SIGKILL at random moments to the parent or a rank of a study that goes on: what was finished stays, `--resume` ends it.

`make test` kills 20 times, `make proof ARGS=kills` 500 times.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.records import Repeat, Result
from bench.storage import unseal

STUDY = """
name: kills
launcher: local
repeats: 3
patience: 0.2
workload: {sequence_length: 16, batch_per_replica: 2}
timing: {warmup_windows: 1, windows: 10, steps_per_window: 2}
backend: 'null'
replicas: 2
matrix: {options.step_ms: [5, 10]}
"""
LAUNCHES = 6
PACELINE = [sys.executable, "-P", "-m", "bench"]
GONE_S = 45.0  # a rank whose parent is gone ends itself by its lease after 30 s


@dataclass
class Kills:
    """What was killed so far, and the finished launches as they were first seen."""

    folder: Path
    seed: int
    parents: int = 0
    ranks: int = 0
    studies: int = 0
    finished: dict[Path, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        (self.folder / "kills.yaml").write_text(STUDY)

    def go_on(self, kills: int) -> None:
        """Kills so often, then lets the last study come to its end."""
        until = self.parents + self.ranks + kills
        while self.parents + self.ranks < until:
            self._study(until)

    def _study(self, until: int) -> None:
        """One study from its start to its end, resumed as often as that takes."""
        self.studies += 1
        before = set(self._runs())
        argv = ["run", "kills.yaml", "--runs", str(self.folder / "runs")]
        for _ in range(10 * LAUNCHES):
            killed = self.parents + self.ranks
            status = self._run(argv, until)
            self._check()
            assert status == 0 or self.parents + self.ranks > killed, f"nobody was killed, and it ended with {status}"
            made = [path for path in self._runs() if path not in before]
            if status == 0:
                break
            argv = ["run", "--resume", str(made[0])] if made and (made[0] / "plan.json").exists() else argv
        (run_folder,) = [path for path in made if (path / "result.json").exists()]
        result = unseal((run_folder / "result.json").read_bytes(), Result)
        repeats = [repeat for trial in result.trials for repeat in trial.repeats]
        assert len(repeats) == LAUNCHES and all(repeat.error is None for repeat in repeats)

    def _run(self, argv: list[str], until: int) -> int:
        with subprocess.Popen(
            [*PACELINE, *argv], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            while process.poll() is None and self.parents + self.ranks < until:
                self._kill(process, of_a_rank=self._draw.random() < 0.6)
            _, said = process.communicate(timeout=240)
        assert "Traceback" not in said, said
        self._wait_until_all_have_gone()
        return process.returncode

    def _kill(self, process: subprocess.Popen[str], of_a_rank: bool) -> None:
        """At a random moment, of a rank's life if it is to be one. Nothing, where it has ended before."""
        ranks: list[psutil.Process] = []
        try:
            while of_a_rank and not ranks and process.poll() is None:
                ranks = psutil.Process(process.pid).children(recursive=True)
                time.sleep(0.02)
            time.sleep(self._draw.uniform(0.0, 1.0))
            victim = self._draw.choice(ranks) if of_a_rank and ranks else psutil.Process(process.pid)
            victim.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            return
        if victim.pid == process.pid:
            self.parents += 1
            process.wait(timeout=10)
        else:
            self.ranks += 1

    def _wait_until_all_have_gone(self) -> None:
        until = time.monotonic() + GONE_S
        while left := [
            each.pid
            for each in psutil.process_iter(["cmdline", "status"])
            if str(self.folder / "runs") in " ".join(each.info["cmdline"] or ())
            and each.info["status"] != psutil.STATUS_ZOMBIE
        ]:
            assert time.monotonic() < until, f"left over: {left}"
            time.sleep(0.1)

    def _check(self) -> None:
        """Every launch that was reported finished can be read, is whole, and is bit for bit what it was."""
        for path in self.folder.glob("runs/kills-*/*/*/repeat.json"):
            content = path.read_bytes()
            if unseal(content, Repeat).error is None:
                assert self.finished.setdefault(path, content) == content
        for path, content in self.finished.items():
            assert path.read_bytes() == content

    def _runs(self) -> list[Path]:
        return sorted(self.folder.glob("runs/kills-*"))
