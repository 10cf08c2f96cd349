"""`paceline trace` end to end on three real stacks, one for each tool, and what a report says of it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

import reports
from bench import assemble, catalog, run, study
from bench.cli import cli
from bench.errors import UserError
from bench.launch.commands import Cluster
from bench.records import SCHEMA, RankTrace, Traced
from bench.storage import seal, unseal
from tests.reports.build import by_hand

STACKS = ("torch_ddp", "torch_horovod", "tf_mirrored")
STEPS = 2  # of one window
TENSORS = 46  # of BERT-tiny, the tied ones once
STUDY = """
name: traced
bare: false
workload: {sequence_length: 16, batch_per_replica: 2}
timing: {warmup_windows: 1, windows: 1, steps_per_window: 2}
matrix: {backend: [torch_ddp, torch_horovod, tf_mirrored]}
"""

real = [
    pytest.mark.slow,
    *(
        pytest.mark.skipif(reason is not None, reason=f"{name}: {reason}")
        for name in STACKS
        for reason in [catalog.why_not_installed(name) or catalog.why_no_launcher("horovodrun")]
    ),
]


def begun(folder: Path) -> Path:
    """A run folder with its plan, and a result although nothing was launched."""
    (folder / "traced.yaml").write_text(STUDY)
    made = run.begin(study.load(folder / "traced.yaml"), folder / "runs", False, Cluster(), run.Observer())
    assemble.assemble(made)
    return made


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Traced, str]]:
    """By backend: folder, figures, and what the command said of all."""
    folder = begun(tmp_path_factory.mktemp("trace"))
    before = {path: path.read_bytes() for path in folder.glob("*.json")}
    with pytest.MonkeyPatch.context() as patched:
        said: list[str] = []
        patched.setattr("click.echo", lambda text="", **_: said.append(str(text)))
        assert cli.main(["trace", str(folder), "--windows", "1"], standalone_mode=False) == 0, said
    assert {path: path.read_bytes() for path in folder.glob("*.json")} == before  # what the run measured stays
    found = {}
    for trial in assemble.read_plan(folder).trials:
        target = folder / "traces" / trial.id
        found[trial.backend] = (target, unseal((target / "traces.json").read_bytes(), Traced), "\n".join(said))
    return found


@pytest.mark.parametrize("backend", [pytest.param(name, marks=real) for name in STACKS])
def test_communication_is_found_and_lies_within_the_step(traced, backend):
    _, found, said = traced[backend]
    assert found.error is None
    assert found.slow_down is not None and f"takes {found.slow_down:.2f} times an untraced one" in said
    seen = found.ranks[:1] if backend == "torch_horovod" else found.ranks
    for rank in seen:
        assert 0 <= rank.exposed_ns <= rank.communication_ns <= rank.duration_ns
        assert rank.communication_ns > 0
    for rank in found.ranks:
        assert rank.steps == STEPS
        assert 0 < rank.compute_ns <= rank.duration_ns


@pytest.mark.parametrize("backend", [pytest.param(name, marks=real) for name in STACKS])
def test_all_ranks_are_one_trace_whose_spans_lie_where_the_steps_do(traced, backend):
    """Every all-reduce of the two steps: were a tool's clock taken for another, they would not lie in the window."""
    folder, found, said = traced[backend]
    document = json.loads(gzip.decompress((folder / "trace.json.gz").read_bytes()))
    events = document["traceEvents"]
    assert {event["pid"] for event in events} == set(range(len(found.ranks)))
    assert {event["ph"] for event in events} == {"X", "M"}
    (window,) = [event for event in events if event.get("cat") == "window" and event["pid"] == 0]
    of_rank = [event for event in events if event.get("cat") == "communication" and event["pid"] == 0]
    inside = [e for e in of_rank if window["ts"] <= e["ts"] and e["ts"] + e["dur"] <= window["ts"] + window["dur"]]
    assert len(inside) == len(of_rank) >= STEPS
    assert str(folder / "trace.json.gz") in said


@pytest.mark.parametrize("backend", [pytest.param("torch_horovod", marks=real)])
def test_only_rank_0_of_horovod_tells_and_the_other_is_unknown(traced, backend):
    _, found, _ = traced[backend]
    assert [rank.communication_ns is None for rank in found.ranks] == [False, True]
    assert "of rank 0 only" in found.ranks[0].source


@pytest.mark.parametrize("backend", [pytest.param("torch_horovod", marks=real)])
def test_every_tensor_of_every_step_is_in_one_of_horovods_operations(traced, backend):
    folder, _, _ = traced[backend]
    document = json.loads(gzip.decompress((folder / "rank-0.trace.json.gz").read_bytes()))
    names = [event["name"] for event in document["traceEvents"] if event.get("cat") == "communication"]
    assert {name.partition(",")[0] for name in names} == {"GLOO_ALLREDUCE"}
    assert sum(int(name.split()[1]) if "tensors" in name else 1 for name in names) == STEPS * TENSORS


# ---- the report -------------------------------------------------------------------------------------------------


def keep(run_folder: Path, trial_id: str, **changed) -> None:
    rank = RankTrace(
        rank=0, host="<b>box</b>", source="by hand & <i>eye</i>", steps=10, duration_ns=400_000_000,
        communication_ns=120_000_000, exposed_ns=30_000_000, compute_ns=350_000_000,
    )  # fmt: skip
    said = {"error": None, "untraced_ns": [100], "traced_ns": [125], "ranks": [rank], **changed}
    folder = run_folder / "traces" / trial_id
    folder.mkdir(parents=True)
    made = Traced(trial_id=trial_id, created_utc="", command=[], steps_per_window=5, schema=SCHEMA, **said)
    (folder / "traces.json").write_bytes(seal(made))


def test_a_run_without_traces_does_not_mention_them(tmp_path):
    folder = by_hand(tmp_path)
    assert "From traces" not in reports.render(folder, "html")
    assert "traces" not in json.loads(reports.render(folder, "json"))


def test_traced_figures_have_columns_of_their_own_with_what_tracing_costs_in_the_same_row(tmp_path):
    """10 steps: 40 ms each, 12 of communication, 3 of it exposed, so 75 % hidden; 125 against 100."""
    folder = by_hand(tmp_path)
    ids = {row["backend"]: row["trial_id"] for row in json.loads(reports.render(folder, "json"))["rows"]}
    keep(folder, ids["torch_ddp"])
    keep(folder, ids["torch_horovod"], error="rank 1 died in warmup without a word", ranks=[])
    (line,) = json.loads(reports.render(folder, "json"))["traces"]
    assert (line["traced_communication_ms"], line["traced_exposed_ms"], line["traced_overlap"]) == (12.0, 3.0, 0.75)
    assert (line["traced_step_ms"], line["traced_compute_ms"], line["slow_down"]) == (40.0, 35.0, 1.25)
    page = reports.render(folder, "html")
    section = page[page.index('id="traces"') : page.index("</section>", page.index('id="traces"'))]
    (row,) = [part for part in section.split("<tr")[2:] if "box" in part]
    for cell in ("40.0", "12.0", "3.00", "75 %", "35.0", "1.25 times"):
        assert f">{cell}<" in row, cell
    assert "not traced: rank 1 died in warmup without a word" in section
    assert "<b>box" not in page and "<i>eye" not in page


def test_a_damaged_file_of_figures_is_said_and_the_report_is_made(tmp_path):
    folder = by_hand(tmp_path)
    ids = {row["backend"]: row["trial_id"] for row in json.loads(reports.render(folder, "json"))["rows"]}
    keep(folder, ids["torch_ddp"])
    path = folder / "traces" / ids["torch_ddp"] / "traces.json"
    path.write_bytes(path.read_bytes().replace(b"120000000", b"120000001"))
    assert "it was damaged or edited" in reports.render(folder, "html")


# ---- bad input --------------------------------------------------------------------------------------------------


def test_what_cannot_be_traced_is_refused_in_one_sentence(tmp_path):
    folder = begun(tmp_path)
    backend = assemble.read_plan(folder).trials[0].id
    with pytest.raises(
        UserError, match=rf"--trial: '{backend[:-1]}' is no trial of this run; did you mean '{backend}'"
    ):
        cli.main(["trace", str(folder), "--trial", backend[:-1]], standalone_mode=False)
    (folder / "result.json").unlink()
    with pytest.raises(UserError, match="has no result yet; finish the run first: paceline run --resume"):
        cli.main(["trace", str(folder)], standalone_mode=False)
    with pytest.raises(UserError):
        cli.main(["trace", str(tmp_path)], standalone_mode=False)
