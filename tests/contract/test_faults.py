"""Faults of real ranks under real launchers: the row names the rank, and no process is left."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import pytest

from bench import catalog, run, study
from bench.launch.commands import Cluster

pytestmark = pytest.mark.slow

FAULTS = str(Path(__file__).parents[1] / "faults")
sys.path[:0] = [FAULTS] * (FAULTS not in sys.path)

import real_rows  # noqa: E402


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
def test_a_killed_rank_is_named_within_15_seconds_and_nothing_is_left(
    tmp_path: Path, backend: str, launcher: str
) -> None:
    real_rows.from_outside(backend, launcher, signal.SIGKILL, real_rows.GONE, real_rows.DEAD_RANK_S)(tmp_path)


STUDY = """
name: taken
backend: torch_ddp
launcher: horovodrun
bare: false
repeats: 1
workload: {sequence_length: 16, batch_per_replica: 2}
"""


def test_a_rendezvous_port_already_taken_is_the_row_of_that_trial(tmp_path: Path) -> None:
    reason = catalog.why_not_installed("torch_ddp") or catalog.why_no_launcher("horovodrun")
    if reason:
        pytest.skip(f"torch_ddp under horovodrun: {reason}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "study.yaml").write_text(f"{STUDY}rendezvous_port: {port}\n")
        folder = run.begin(study.load(tmp_path / "study.yaml"), tmp_path, False, Cluster(), run.Observer())
        (trial,) = run.proceed(folder, run.Observer()).trials
    assert trial.status == "failed"
    assert (
        f"rendezvous port {port} on {socket.gethostname()} is already in use; "
        "choose another `rendezvous_port` or 0 for any free one"
    ) in trial.reason
