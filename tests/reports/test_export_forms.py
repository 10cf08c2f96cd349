"""`paceline export`: what other tools read of a run."""

from __future__ import annotations

import gzip
import json
from functools import partial
from pathlib import Path

import pandas
import pytest
from pyarrow import parquet

from bench.errors import UserError
from reports import exports, frames, render, schema
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
