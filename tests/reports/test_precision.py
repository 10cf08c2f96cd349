from __future__ import annotations

import csv
import io
import json
import re

import pytest

from bench.records import GateOutcome
from reports import render
from reports.load import load
from reports.precision import Axis
from reports.table import rows
from reports.text import DASH
from reports.verdict import verdicts
from tests.reports.build import ACROSS, alone, by_hand, equal, facts, launch_at, precisions, trial_result, write_run

HALF = {"compute": "float16", "wire": "float16"}


def judged(folder) -> dict[str, tuple[str, str]]:
    run = load(folder)
    return {one.work: (one.outcome, one.sentence) for one in verdicts(run.result, rows(run))}


def test_each_axis_is_what_was_asked_and_what_all_ranks_said(tmp_path):
    half = facts(compute_dtype="float16", wire_dtype="float16")
    trials = [
        trial_result("torch_bare", 1, [launch_at(50, ranks=1, facts=[alone()])]),
        trial_result("torch_horovod", 1, [launch_at(50, ranks=1, facts=[alone()])]),
        trial_result("torch_ddp", 2, [launch_at(100, facts=[half, facts()]), launch_at(100, facts=[half])], trial=HALF),
        trial_result("tf_horovod", 2, [launch_at(100, facts=[facts(wire_dtype="float16"), alone()])]),
        trial_result("tf_mirrored", 2, status="not_selectable", reason="no tensorflow", trial=HALF),
        trial_result("null", 2, [launch_at(100, facts=[alone()])]),
    ]
    write_run(tmp_path, trials)
    found = {row.trial.backend: (row.compute, row.wire) for row in rows(load(tmp_path))}
    exact = Axis("float32", "float32")
    assert found["torch_bare"] == found["torch_horovod"] == (exact, Axis(None, None))
    assert found["torch_ddp"] == (Axis("float16", "float16 | float32"), Axis("float16", "float16 | float32"))
    assert found["tf_horovod"] == (exact, Axis("float32", f"float16 | {DASH}"))
    assert found["tf_mirrored"] == (Axis("float16", None), Axis("float16", None))
    assert found["null"] == (exact, Axis("float32", None))
    differing = {backend for backend, axes in found.items() if any(axis.differs for axis in axes)}
    assert differing == {"torch_ddp", "tf_horovod"}


def test_every_document_says_both_axes_and_marks_a_difference(tmp_path):
    precisions(tmp_path)
    asked = "compute asked float16, ran float32; wire asked float16, ran float32"
    text = render(tmp_path, "text").splitlines()
    assert f"! {asked}" in text
    assert text.count("  compute float32; wire float32") == 1
    assert max(len(line) for line in text) <= 80
    markdown = render(tmp_path, "md")
    assert "| asked float16, ran float32 (differs) | asked float16, ran float32 (differs) |" in markdown
    html = render(tmp_path, "html")
    marked = re.findall(r'<span class="axis">(.*?)</span>\s*(?=<span class="axis">|</td>)', html)
    assert [cell.count("differs") for cell in marked] == [0] * 6 + [1, 1]
    lines = list(csv.DictReader(io.StringIO(render(tmp_path, "csv"), newline="")))
    told = [(line["compute"], line["compute_effective"], line["wire"], line["wire_effective"]) for line in lines]
    assert told[2:] == [("float16",) * 4, ("float16", "float32", "float16", "float32")]
    assert [line["precision_mismatch"] for line in lines] == ["", "", "", asked]
    exported = json.loads(render(tmp_path, "json"))["rows"]
    assert [row["precision_mismatch"] for row in exported] == [None, None, None, asked]


def test_the_longest_precision_line_fits_80_columns(tmp_path):
    said = [facts(compute_dtype="float32", wire_dtype="float32")]
    asked = {"compute": "bfloat16", "wire": "bfloat16"}
    write_run(tmp_path, [trial_result("torch_ddp", 2, [launch_at(100, facts=said)], trial=asked)])
    text = render(tmp_path, "text").splitlines()
    assert "! compute asked bfloat16, ran float32; wire asked bfloat16, ran float32" in text
    assert "asked of all trials: compute bfloat16, wire bfloat16" in text


def test_one_precision_for_all_is_said_once_and_not_beside_every_trial(tmp_path):
    text = render(by_hand(tmp_path), "text")
    assert text.count("float32") == 2
    assert "all trials: compute float32, wire float32" in text.splitlines()


def test_another_precision_is_another_contest_and_both_are_named_across(tmp_path):
    assert judged(precisions(tmp_path)) == {
        "pre-training of BERT-tiny, 2 replicas, computed and exchanged in float32": (
            "shown",
            "torch_ddp (compute float32, wire float32) is fastest: 1.25 times (95 % interval 1.22 to 1.28, 3 launches "
            "each) the samples per second of torch_horovod.",
        ),
        "pre-training of BERT-tiny, 2 replicas, computed and exchanged in float16": (
            "no verdict",
            "Nothing to compare: only torch_ddp (compute float16, wire float16) has a speed.",
        ),
        "pre-training of BERT-tiny, 2 replicas, across precisions: computed and exchanged in float32; "
        "computed and exchanged in float16": (
            "shown",
            "torch_ddp (compute float16, wire float16) is fastest: 1.50 times (95 % interval 1.46 to 1.54, 3 launches "
            "each) the samples per second of torch_ddp (compute float32, wire float32). "
            "Not the same arithmetic: the losses are within the bound of the lower precision. "
            "torch_ddp (compute float16, wire float16) within 2e-03.",
        ),
    }


def stacks(folder, gates, **other):
    """torch_ddp and torch_horovod at float32, and tf_horovod with `other`; `gates` of (name, place of the trial)."""
    trials = [
        trial_result(name, 2, [launch_at(rate)] * 3, trial=changed)
        for name, rate, changed in (("torch_ddp", 100, {}), ("torch_horovod", 80, {}), ("tf_horovod", 60, other))
    ]
    found = [GateOutcome(gate=name, holds=True, sentence="", trial_id=trials[at][0].trial_id) for name, at in gates]
    return write_run(folder, trials, gates=found)


@pytest.mark.parametrize("changed", [{"compute": "bfloat16"}, {"wire": "bfloat16"}])
def test_speeds_of_two_precisions_are_not_compared_until_a_gate_bounds_their_losses(tmp_path, changed):
    unbounded = [("same losses", 1), ("same losses", 2)]
    run = load(stacks(tmp_path, unbounded, **changed))
    within = verdicts(run.result, rows(run))[0]
    assert (within.outcome, [pair.other for pair in within.pairs]) == ("shown", ["torch_horovod"])
    outcome, sentence = list(judged(stacks(tmp_path, unbounded, **changed)).values())[-1]
    assert (outcome, sentence[:58]) == ("no verdict", "No verdict: equality not shown; no gate bounds the losses ")
    outcome, sentence = list(judged(stacks(tmp_path, [("same losses", 1), (ACROSS, 2)], **changed)).values())[-1]
    assert outcome == "shown"
    assert "torch_ddp computed and exchanged in float32 is fastest: 1.25 times" in sentence
    assert sentence.endswith("the losses are within the bound of the lower precision.")
    # Bounded across, but the two float32 stacks were not shown to do the same.
    outcome, sentence = list(judged(stacks(tmp_path, [(ACROSS, 2)], **changed)).values())[-1]
    assert outcome == "no verdict"
    assert sentence.startswith("No verdict: no gate shows that the contenders computed and exchanged in float32")


@pytest.mark.parametrize(
    ("changed", "contests"),
    [
        ({"optimizer": {"name": "lamb"}}, 1),
        ({"workload": {"batch_per_replica": 16}}, 1),
        ({"workload": {"dropout": 0.1}}, 1),
        ({"threads_per_replica": 2}, 1),
        ({"compute": "bfloat16", "loss_scale": {"initial": 2.0}}, 2),
    ],
)
def test_other_work_is_never_compared_and_said_to_be_left_out(tmp_path, changed, contests):
    found = judged(stacks(tmp_path, [("same losses", 1), ("same losses", 2)], **changed))
    assert len(found) == contests
    assert not any("tf_horovod" in sentence for _, sentence in found.values())
    said = "Not compared, because no other trial did the same work: tf_horovod."
    assert [said in render(tmp_path, "md")] == [contests == 1]


@pytest.mark.parametrize("changed", [{"compile": True}, {"workload": {"accumulation": 4}}, {"allreduce": "ring"}])
def test_another_way_to_the_same_step_is_compared_once_the_losses_are_the_same(tmp_path, changed):
    ((outcome, _),) = judged(stacks(tmp_path, [("same losses", 1), ("same losses", 2)], **changed)).values()
    assert outcome == "shown"
    ((outcome, _),) = judged(stacks(tmp_path, [("same losses", 1)], **changed)).values()
    assert outcome == "no verdict"


def test_float16_trials_of_another_loss_scale_are_other_work(tmp_path):
    said = [facts(compute_dtype="float16")]
    asked = [{"compute": "float16", "loss_scale": {"initial": initial}} for initial in (1024.0, 1024.0, 2.0)]
    names = ("torch_ddp", "torch_horovod", "tf_horovod")
    trials = [
        trial_result(name, 2, [launch_at(90, facts=said)] * 3, trial=one)
        for name, one in zip(names, asked, strict=True)
    ]
    write_run(tmp_path, trials, gates=[equal(trials[1][0].trial_id)])
    ((outcome, sentence),) = judged(tmp_path).values()
    assert (outcome, "tf_horovod" in sentence) == ("not shown", False)


def test_losses_of_another_precision_are_held_against_float32(tmp_path):
    half = trial_result("torch_ddp", 2, [launch_at(100, losses=[10.0, 8.4])], trial=HALF)
    whole = trial_result("torch_ddp", 2, [launch_at(80, losses=[10.0, 8.0])])
    write_run(tmp_path, [half, whole])
    found = rows(load(tmp_path))
    assert found[0].loss_difference == pytest.approx(0.05)
    assert found[0].loss_reference == whole[0].trial_id
