"""`paceline export`: what other tools read of a run. Trackers are optional: their tests run where they are installed."""

from __future__ import annotations

import gzip
import json
import math
import struct
import sys
import types
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pandas
import pytest
from pyarrow import parquet

from bench.errors import UserError
from reports import exports, frames, render, schema
from reports.exports import tracked
from reports.load import load
from tests.reports import test_ladder, test_scaling
from tests.reports.build import by_hand, launch_at, precisions, trial_result, write_run

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "docs" / "schema"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return precisions(tmp_path_factory.mktemp("runs") / "run-1")


def published(name: str) -> dict:
    return json.loads((SCHEMAS / name).read_text())


# ---- the published schemas --------------------------------------------------------------------------------------


def test_the_published_schemas_are_what_the_code_makes():
    made = {name: schema.text(one) for name, one in schema.published().items()}
    found = {path.name: path.read_text() for path in SCHEMAS.glob("*.json") if path.name in made}
    assert found == made, "run `python -m reports.schema docs/schema`"


def scaled(folder: Path) -> Path:
    return test_scaling.weak(folder, {"torch_ddp": {1: 48, 2: 90, 4: 170}})


@pytest.mark.parametrize("make", [by_hand, precisions, test_ladder.run, scaled, partial(by_hand, quick=True)])
def test_documents_and_results_are_valid_by_the_published_schemas(tmp_path, make):
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    document = json.loads(render(make(tmp_path), "json"))
    whole = validator(published(f"report-{schema.SCHEMA}.json"))
    whole.validate(document)
    validator(published(f"result-{schema.RESULT_SCHEMA}.json")).validate(
        json.loads((tmp_path / "result.json").read_text())
    )
    document["rows"][0]["samples_per_second"] = "fast"
    document["rows"][1]["new_column"] = 1
    del document["drift"]["shown"]
    assert sorted(error.json_path for error in whole.iter_errors(document)) == [
        "$.drift", "$.rows[0].samples_per_second", "$.rows[1]",
    ]  # fmt: skip


# ---- files ------------------------------------------------------------------------------------------------------


def test_parquet_holds_every_list_of_the_json_with_its_types(run, tmp_path):
    exports.write(run, "parquet", tmp_path / "tables")
    document = json.loads(render(run, "json"))
    lists = {
        name for name, part in document.items() if isinstance(part, list) and (not part or isinstance(part[0], dict))
    }
    for name in sorted(lists - {"not_compared", "cautions"}):
        assert parquet.read_table(tmp_path / "tables" / f"{name}.parquet").to_pylist() == document[name], name
    found = parquet.read_schema(tmp_path / "tables" / "rows.parquet")
    assert str(found.field("samples_per_second").type) == "double"
    assert str(found.field("verified_error").type) == "string"  # unknown of every row
    assert found.metadata[b"study"] == b"by-hand"


def test_frames_hold_the_same_and_the_raw_windows(run):
    document, found = json.loads(render(run, "json")), frames(run)
    assert [None if pandas.isna(rate) else rate for rate in found["rows"]["samples_per_second"]] == [
        row["samples_per_second"] for row in document["rows"]
    ]
    raw = parquet.read_table(run / "windows.parquet")
    assert found["windows"]["duration_ns"].sum() == sum(raw["duration_ns"].to_pylist())
    assert str(found["windows"]["rss_bytes"].dtype).startswith("int64")


def test_traces_of_two_trials_lie_below_each_other_in_one_file(run, tmp_path):
    with pytest.raises(UserError, match="has no trace: `paceline trace"):
        exports.write(run, "trace", tmp_path / "trace.json.gz")
    ids = [row["trial_id"] for row in json.loads(render(run, "json"))["rows"]][:2]
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("result.json", "windows.parquet"):
        (copy / name).write_bytes((run / name).read_bytes())
    for trial_id in ids:
        folder = copy / "traces" / trial_id
        folder.mkdir(parents=True)
        events = [
            {"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": "rank 1 on box"}},
            {"ph": "X", "name": "add", "pid": 1, "tid": 0, "ts": 1.5, "dur": 2.0},
        ]
        (folder / "trace.json.gz").write_bytes(gzip.compress(json.dumps({"traceEvents": events}).encode()))
    exports.write(copy, "trace", tmp_path / "trace.json.gz")
    whole = json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))["traceEvents"]
    assert len({event["pid"] for event in whole}) == 2
    assert {event["args"]["name"] for event in whole if event["ph"] == "M"} == {
        "torch_ddp (compute float32, wire float32) \u00d72: rank 1 on box", "torch_horovod \u00d72: rank 1 on box",
    }  # fmt: skip
    assert [event["ts"] for event in whole if event["ph"] == "X"] == [1.5, 1.5]


def test_a_form_whose_package_is_missing_says_how_to_get_it(run, tmp_path, monkeypatch):
    monkeypatch.setitem(exports.FORMS, "wandb", exports.FORMS["wandb"]._replace(needs=("not_there",)))
    with pytest.raises(UserError, match=r"needs not_there, which is not installed: pip install 'paceline\[wandb\]'"):
        exports.write(run, "wandb", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_hostile_name_names_no_file(tmp_path):
    hostile = trial_result("../../evil\x00", 2, [launch_at(100)] * 3, trial={"options": {"../x y": 1.0}})
    folder = write_run(tmp_path / "run", [hostile], study="../../evil")
    exports.write(folder, "parquet", tmp_path / "out" / "tables")
    exports.write(folder, "charts", tmp_path / "out" / "charts")
    assert {path.name for path in tmp_path.iterdir()} == {"run", "out"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"tables", "charts"}


# ---- trackers ---------------------------------------------------------------------------------------------------


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
    exports.write(run, "mlflow", tmp_path / "store")
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


@pytest.mark.filterwarnings("ignore")
def test_wandb_writes_offline_runs_without_a_network(run, tmp_path):
    pytest.importorskip("wandb")
    exports.write(run, "wandb", tmp_path)
    found = sorted(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(found) == 4
    assert any(b"samples_per_second" in path.read_bytes() for path in found)
    assert all(b"unknown" in path.read_bytes() for path in found)  # in the place of this host


def test_no_number_of_a_tracked_trial_is_infinite_or_unknown(tmp_path):
    from reports.exports.tracked import tracked
    from reports.load import load

    trials = [trial_result("torch_ddp", 2, [launch_at(100, losses=[1e-308, math.inf])] * 3)]
    (found,) = tracked(load(write_run(tmp_path, trials)))
    values = [value for launch in found.launches for point in launch.points for value in point.values.values()]
    assert all(map(math.isfinite, [*values, *found.numbers.values()]))
    assert [point.steps for point in found.launches[0].points] == [1, 10, 15]


def test_windows_end_after_the_set_up_of_their_launch(run):
    """Start and build take 0.5 + 1.5 s."""
    launch = next(tracked.tracked(load(run))).launches[0]
    timed = [point.at_s for point in launch.points if point.at_s is not None]
    assert launch.started_s is not None and min(timed) > launch.started_s + 2.0
    assert timed == sorted(timed)
