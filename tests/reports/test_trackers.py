"""What trackers of experiments read of a run. They are optional: these tests run where they are installed."""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.errors import UserError
from reports import exports, render
from reports.exports import tracked
from reports.load import load
from tests.reports.build import launch_at, precisions, trial_result, write_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return precisions(tmp_path_factory.mktemp("runs") / "run-1")


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag to (step, value) of an event file: records of length, its check, content and its check."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.glob("events.*")
    content, found = path.read_bytes(), {}
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        event = Event.FromString(content[12 : 12 + length])
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
        content = content[16 + length :]
    return found


def accumulated(folder: Path, tag: str) -> list[tuple[int, float]]:
    """The same as TensorBoard itself reads it, without TensorFlow."""
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("notf"))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return [(event.step, event.value) for event in EventAccumulator(str(folder)).Reload().Scalars(tag)]


@pytest.mark.filterwarnings("ignore")  # of the trackers' own making
def test_tensorboard_files_hold_rates_losses_and_evaluations_at_their_steps(run, tmp_path):
    pytest.importorskip("tensorboardX")
    exports.write(run, "tensorboard", tmp_path)
    with pytest.raises(UserError, match="run-1 is there already"):
        exports.write(run, "tensorboard", tmp_path)
    place = tmp_path / "run-1" / json.loads(render(run, "json"))["rows"][0]["trial_id"]
    assert {path.name for path in place.iterdir() if path.is_dir()} == {"launch-0", "launch-1", "launch-2"}
    launch, whole = events(place / "launch-0"), events(place)
    rates = [(10, 99.0), (15, 99.0)]  # 5 steps of warm-up, and then the two windows that count
    assert launch["samples_per_second"] == rates
    assert launch["loss"] == [(1, 10.0), (2, 9.0), (3, 8.0)]
    assert [step for step, _ in launch["mlm_accuracy"]] == [5, 10, 15]
    assert whole["samples_per_second"] == [(0, pytest.approx(99.99667, rel=1e-6))]
    assert whole["samples_per_second_of_launch"] == [(0, 99.0), (1, 100.0), (2, 101.0)]
    if find_spec("tensorboard"):
        assert accumulated(place / "launch-0", "samples_per_second") == rates


@pytest.mark.filterwarnings("ignore")
def test_mlflow_reads_back_a_run_with_a_child_for_each_trial(run, tmp_path):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    assert tried_alone(EXPORT, run, "mlflow", tmp_path / "store") == 0
    with pytest.raises(UserError, match="has run-1 already"):
        exports.write(run, "mlflow", tmp_path / "store")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'store' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("by-hand")
    runs = {one.info.run_name: one for one in client.search_runs([experiment.experiment_id])}
    name = "torch_ddp (compute float32, wire float32) \u00d72"
    assert len(runs) == 5 and runs["run-1"].data.tags["equal_work"].startswith("3 gates of 20 failed")
    own = runs[name]
    assert own.data.tags["mlflow.parentRunId"] == runs["run-1"].info.run_id
    assert own.data.params["workload.model"] == "tiny"
    assert own.data.metrics["samples_per_second"] == pytest.approx(99.99667, rel=1e-6)
    per_launch = client.get_metric_history(own.info.run_id, "samples_per_second_of_launch")
    assert [(one.step, one.value) for one in per_launch] == [
        (0, pytest.approx(99)),
        (1, pytest.approx(100)),
        (2, pytest.approx(101)),
    ]
    withheld = next(one for one in runs.values() if one.data.tags.get("status") == "withheld")
    assert "samples_per_second" not in withheld.data.metrics and withheld.info.status == "FAILED"
    assert (tmp_path / "store" / "artifacts" / runs["run-1"].info.run_id / "artifacts" / "report.json").is_file()


HOST = "planted-host"
PRIVATE = {
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567", "SOME_TOKEN": "planted-secret", "USER": "planted-user",
}  # fmt: skip
# Everything that the process and its children tried to send to anywhere but this machine.
EXPORT = "from reports import exports; exports.write(pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3]))"
ALONE = """
import pathlib, socket, sys
{code}
lines = [line.split() for line in pathlib.Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Ip:")]
print("tried:", dict(zip(*lines))["OutNoRoutes"])
"""


def tried_alone(code: str, *arguments: Path | str) -> int:
    """How often `code` tried to reach another machine, in a network of its own that has nothing but a loopback,
    on a host of another name."""
    if subprocess.run(["unshare", "-rnu", "true"], capture_output=True).returncode:
        pytest.skip("no network namespace may be made here")
    alone = ["unshare", "-rnu", "sh", "-c", f'ip link set lo up; hostname {HOST}; exec "$@"', "sh"]
    command = [*alone, sys.executable, "-P", "-c", ALONE.format(code=code)]
    environment = {**os.environ, **PRIVATE, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.removeprefix("tried: "))


def test_whoever_tries_the_network_is_seen():
    assert tried_alone('socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect_ex(("192.0.2.1", 53))') == 1


def test_wandb_writes_offline_runs_asks_no_network_and_tells_nothing_of_this_machine(tmp_path):
    pytest.importorskip("wandb")
    error = "rank 1 on secrethost died (log: /home/somebody/log-1.txt)"
    asked, other = ({"workload": {"data": f"/home/somebody/{name}.parquet"}} for name in ("corpus", "other"))
    trials = [
        trial_result("torch_ddp", 2, [launch_at(100)] * 3, trial=asked),
        trial_result("torch_ddp", 2, [launch_at(100)] * 3, trial=other),  # both are now named after their data
        trial_result("torch_horovod", 2, [launch_at(100, error=error)], status="failed", reason=error, trial=asked),
    ]
    run, target = write_run(tmp_path / "run-1", trials), tmp_path / "store"
    assert tried_alone(EXPORT, run, "wandb", target) == 0
    found = sorted(target.glob("wandb/offline-run-*/run-*.wandb"))
    sent = [records(path) for path in found]
    assert len(sent) == 3 and all(b".parquet" in one and b"unknown" in one for one in sent)
    assert sum(b"samples_per_second" in one for one in sent) == 2
    assert sum(b"torch_ddp (data other.parquet)" in one for one in sent) == 1
    private = [HOST, "secrethost", "somebody", str(ROOT), sys.prefix, *PRIVATE.values()]
    for path in (path for path in target.rglob("*") if path.is_file()):
        content = records(path) if path in found else path.read_bytes()
        assert [text for text in private if text.encode() in content] == [], path
    assert not any(str(tmp_path).encode() in one for one in sent)  # a log beside them has the store's own place
    with pytest.raises(UserError, match="store has run-1 already: remove it there, or give another place with -o"):
        exports.write(run, "wandb", target)
    assert sorted(target.glob("wandb/offline-run-*/run-*.wandb")) == found


def records(path: Path) -> bytes:
    """What `wandb sync` would send: the file without its head and without the frames (check, length, kind) of its parts,
    which lie in blocks of 32 KiB."""
    content, found, at = path.read_bytes(), b"", 7
    while at + 7 <= len(content):
        left = -at % 32768
        if 0 < left < 7:  # a block's end is too small for another part
            at += left
            continue
        length = int.from_bytes(content[at + 4 : at + 6], "little")
        found += content[at + 7 : at + 7 + length]
        at += 7 + length
    return found


def test_no_number_of_a_tracked_trial_is_infinite_or_unknown(tmp_path):
    trials = [trial_result("torch_ddp", 2, [launch_at(100, losses=[1e-308, math.inf])] * 3)]
    (found,) = tracked.tracked(load(write_run(tmp_path, trials)))
    values = [value for launch in found.launches for point in launch.points for value in point.values.values()]
    assert all(map(math.isfinite, [*values, *found.numbers.values()]))
    assert [point.steps for point in found.launches[0].points] == [1, 10, 15]


def test_windows_end_after_the_set_up_of_their_launch(run):
    """Start and build take 0.5 + 1.5 s."""
    launch = next(tracked.tracked(load(run))).launches[0]
    timed = [point.at_s for point in launch.points if point.at_s is not None]
    assert launch.started_s is not None and min(timed) > launch.started_s + 2.0
    assert timed == sorted(timed)
