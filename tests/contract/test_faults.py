"""Faults of real ranks under real launchers: the row names the rank, and no process is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bench import catalog, journal
from bench.records import RankInfo, Result, Window
from bench.storage import unseal

pytestmark = pytest.mark.slow

STUDY = """
name: fault
backend: {backend}
launcher: {launcher}
bare: false
repeats: 1
timeout_s: 200
workload: {{sequence_length: 32, batch_per_replica: 2}}
timing: {{warmup_windows: 1, windows: 4000, steps_per_window: 2}}
"""


def measuring(runs: Path, rank: int) -> RankInfo | None:
    """The rank's process, once it has measured a window."""
    for path in runs.glob(f"fault-*/*/0/rank-{rank}.jsonl"):
        lines = journal.read(path.parent, rank)
        if any(isinstance(line, Window) and not line.warmup for line in lines):
            assert isinstance(lines[0], RankInfo)
            return lines[0]
    return None


@pytest.mark.parametrize(
    ("backend", "launcher"),
    [
        ("torch_ddp", "horovodrun"),
        ("torch_ddp", "torchrun"),
        ("torch_horovod", "horovodrun"),
        ("tf_horovod", "horovodrun"),
        ("tf_horovod", "mpirun"),
    ],
)
def test_a_killed_rank_is_named_within_15_seconds_and_nothing_is_left(tmp_path, backend, launcher):
    reason = catalog.why_not_installed(backend) or catalog.why_no_launcher(launcher)
    if reason:
        pytest.skip(f"{backend} under {launcher}: {reason}")
    (tmp_path / "study.yaml").write_text(STUDY.format(backend=backend, launcher=launcher))
    argv = [sys.executable, "-P", "-m", "bench", "run", "study.yaml", "--runs", str(tmp_path)]
    process = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    began = time.monotonic()
    while not (measuring(tmp_path, 0) and (victim := measuring(tmp_path, 1))):
        assert time.monotonic() - began < 150 and process.poll() is None, process.communicate()
        time.sleep(0.1)
    other = measuring(tmp_path, 0)
    assert other is not None
    family = psutil.Process(process.pid).children(recursive=True)
    assert {other.pid, victim.pid} <= {member.pid for member in family}
    os.kill(victim.pid, signal.SIGKILL)
    killed = time.monotonic()
    output, _ = process.communicate(timeout=60)
    # assembling and rendering what is there belongs to the run, and takes seconds of its own
    assert time.monotonic() - killed < 15 + 15
    assert process.returncode == 1
    folder = (tmp_path / output.strip().splitlines()[-1]).parent
    (trial,) = unseal((folder / "result.json").read_bytes(), Result).trials
    assert trial.status == "failed"
    assert "rank 1 died in windows without a word" in trial.reason
    # an orphan that has ended stays a zombie until init takes note: it runs no more
    assert [member for member in family if member.is_running() and member.status() != psutil.STATUS_ZOMBIE] == []


def test_a_rendezvous_port_already_taken_is_the_row_of_that_trial(tmp_path):
    reason = catalog.why_not_installed("torch_ddp") or catalog.why_no_launcher("horovodrun")
    if reason:
        pytest.skip(f"torch_ddp under horovodrun: {reason}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = STUDY.format(backend="torch_ddp", launcher="horovodrun") + f"rendezvous_port: {port}\n"
        (tmp_path / "study.yaml").write_text(text)
        argv = [sys.executable, "-P", "-m", "bench", "run", "study.yaml", "--runs", str(tmp_path)]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 1, done.stderr
    assert f"rendezvous port {port} on" in " ".join(done.stdout.split())
    assert "choose another `rendezvous_port`" in " ".join(done.stdout.split())
