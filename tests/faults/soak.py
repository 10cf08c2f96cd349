"""Many short trials in one go: the parent's memory and open files must not grow, and nothing may be left over."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.records import Result
from bench.storage import unseal

STUDY = """
name: soak
launcher: local
repeats: 1
workload: {{sequence_length: 16, batch_per_replica: 2}}
timing: {{warmup_windows: 1, windows: 2, steps_per_window: 1}}
backend: 'null'
replicas: 2
matrix: {{options.step_ms: {steps}}}
"""
SETTLED = 10  # trials after which everything is imported and every cache is filled


@dataclass(frozen=True)
class Soaked:
    """Of the parent: resident memory and open files after SETTLED trials and at the end, the largest seen since."""

    trials: int
    early_bytes: int
    most_bytes: int
    early_files: int
    most_files: int


def soak(folder: Path, trials: int) -> Soaked:
    """Raises AssertionError where a trial fails, or a process or a listening port is left."""
    path = folder / "soak.yaml"
    path.write_text(STUDY.format(steps=[round(0.01 * place, 2) for place in range(1, trials + 1)]))
    argv = [sys.executable, "-P", "-m", "bench", "run", path.name, "--runs", str(folder / "runs")]
    samples: list[tuple[int, int, int]] = []
    with subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        parent = psutil.Process(process.pid)
        while process.poll() is None:
            done = sum(1 for _ in folder.glob("runs/soak-*/*/0/repeat.json"))
            try:
                samples.append((done, parent.memory_info().rss, parent.num_fds()))
            except psutil.NoSuchProcess:
                break
            time.sleep(0.25)
        _, said = process.communicate()
    assert process.returncode == 0, said
    (result,) = folder.glob("runs/soak-*/result.json")
    assert [trial.status for trial in unseal(result.read_bytes(), Result).trials] == ["ok"] * trials
    left = [
        each.pid for each in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(each.info["cmdline"] or ())
    ]
    assert left == [], f"left over: {left}"
    early = [sample for sample in samples if sample[0] <= SETTLED]
    # The last trial is followed by the table and the report, whose libraries are not the run's own.
    later = [sample for sample in samples if SETTLED < sample[0] < trials]
    return Soaked(
        trials, max(s[1] for s in early), max(s[1] for s in later), max(s[2] for s in early), max(s[2] for s in later)
    )
