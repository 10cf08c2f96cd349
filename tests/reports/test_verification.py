from __future__ import annotations

import json

import msgspec

from bench.records import GateOutcome
from reports import render
from reports.load import load
from reports.table import rows
from reports.text import DASH
from reports.verification import NOT_VERIFIED, proofs, unverified
from tests.reports.build import by_hand, facts, launch_at, precisions, trial_result, verified, write_run

REFUTED = GateOutcome(
    gate="same updates", holds=False, sentence="torch_horovod: cls.predictions.bias is 2, expected 1 as torch_ddp"
)


def lines(folder):
    run = load(folder)
    found = rows(run)
    labels = {row.trial_id: row.label for row in found}
    return {row.row.trial_id: row for row in proofs(run.result, found, labels)}, found


def test_each_trial_says_how_far_it_was_from_its_reference_and_what_is_not_shown(tmp_path):
    found, table = lines(precisions(tmp_path))
    whole, horovod, half, unproven = (found[row.trial_id] for row in table)
    assert whole.summary == "the others are compared with this trial (10 steps, 2026-01-02T02:00:00Z)"
    assert horovod.summary.startswith("against torch_ddp (compute float32, wire float32) (10 steps")
    assert horovod.losses == "3.0e-07, allowed 1.0e-05: the loss of step 7"
    assert horovod.gradients == "4.0e-06, allowed 5.0e-05: bert.embeddings.word_embeddings.weight"
    assert horovod.updates == "6.0e-05, allowed 2.0e-03: cls.predictions.bias"
    assert (horovod.planted.holds, horovod.launches) == (True, "3 of 3 hold")
    assert half.summary.startswith("equality not shown, no other stack to compare with")
    assert (half.losses, half.updates) == (DASH, DASH)
    assert (unproven.summary, unproven.planted, unproven.launches) == (NOT_VERIFIED, None, "3 of 6 hold, 3 failed")


def test_a_trial_that_a_verification_refuted_shows_no_speed(tmp_path):
    trials = [trial_result(name, 2, [launch_at(100)] * 3) for name in ("torch_ddp", "torch_horovod")]
    ids = [result.trial_id for result, _ in trials]
    write_run(tmp_path, trials, verification=[verified(ids[0], ids[1]), verified(ids[1], ids[0], gates=[REFUTED])])
    found, table = lines(tmp_path)
    assert [(row.status, row.measured is None) for row in table] == [("ok", False), ("withheld", True)]
    assert table[1].reason == f"gate same updates failed in the verification: {REFUTED.sentence}"
    assert [gate.sentence for gate in found[ids[1]].failed] == [REFUTED.sentence]
    assert f"same updates: {REFUTED.sentence}" in render(tmp_path, "html")
    assert json.loads(render(tmp_path, "json"))["equal_work"].startswith("1 gate of ")


def test_a_verification_that_failed_to_run_proves_and_refutes_nothing(tmp_path):
    trial = trial_result("torch_ddp", 2, [launch_at(100)] * 3)
    nothing = {"losses": None, "gradients": None, "updates": None, "gates": []}
    died = verified(trial[0].trial_id, None, error="rank 1 was killed by signal 9", **nothing)
    write_run(tmp_path, [trial], verification=[died])
    found, table = lines(tmp_path)
    assert table[0].status == "ok"
    assert found[trial[0].trial_id].summary == "not verified, the launch failed: rank 1 was killed by signal 9"


def test_a_difference_that_is_no_number_is_not_comparable(tmp_path):
    trial = trial_result("torch_ddp", 2, [launch_at(100)])
    known = verified(trial[0].trial_id, "other")
    broken = msgspec.structs.replace(known.losses, given=None, difference=None)
    write_run(tmp_path, [trial], verification=[msgspec.structs.replace(known, losses=broken)])
    found, _ = lines(tmp_path)
    assert found[trial[0].trial_id].losses == "not comparable, allowed 1.0e-05: the loss of step 7"
    assert json.loads(render(tmp_path, "json"))["rows"][0]["verified_loss_difference"] is None


def test_the_numbers_of_a_verification_are_exported(tmp_path):
    row = json.loads(render(precisions(tmp_path), "json"))["rows"][1]
    assert (row["verified_steps"], row["verified_loss_difference"], row["verified_loss_allowed"]) == (10, 3e-7, 1e-5)
    assert (row["verified_update_where"], row["verified_update_difference"]) == ("cls.predictions.bias", 6e-5)
    assert row["verified_gates_failed"] == 0


def test_without_a_verification_every_document_says_how_to_make_one(tmp_path):
    by_hand(tmp_path)
    assert unverified(rows(load(tmp_path))) == NOT_VERIFIED
    assert NOT_VERIFIED in render(tmp_path, "text")
    assert "not verified: <code>paceline verify STUDY</code> does it" in render(tmp_path, "html")
    assert NOT_VERIFIED.replace("`", "\\`") in render(tmp_path, "md")


def test_a_known_trial_beside_an_unknown_one_is_told_apart(tmp_path):
    trials = [
        trial_result("torch_ddp", 2, [launch_at(100)]),
        trial_result("torch_horovod", 2, [launch_at(100, facts=[facts()])]),
    ]
    write_run(tmp_path, trials, verification=[verified(trials[0][0].trial_id, None)])
    assert unverified(rows(load(tmp_path))) == f"torch_horovod: {NOT_VERIFIED}"
