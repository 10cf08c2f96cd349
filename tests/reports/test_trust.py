from __future__ import annotations

import re

from bench.records import GateOutcome
from reports import render, trust
from reports.launches import drift, launches
from reports.load import load
from reports.orders import flips
from reports.question import question
from reports.table import rows
from reports.verdict import equality, headline, verdicts
from tests.reports.build import launch_at, trial_result, write_run

INHERENT = [
    GateOutcome(gate="loss scale", holds=None, sentence="float32 has none"),
    GateOutcome(gate="weights", holds=None, sentence="one replica: nothing to compare"),
]
SILENT = GateOutcome(gate="threads", holds=None, sentence="rank 0 cannot tell its threads")


def judged(folder, trials):
    run = load(write_run(folder, trials))
    found = rows(run)
    checks = trust.checks(run.result, found, drift(run.result, launches(run.result, found)))
    return {check.question: (check.state, check.answer) for check in checks}, trust.summary(checks), run, found


def test_compared_launches_without_a_steady_state_forbid_a_ranking_and_everything_says_so(tmp_path):
    cold = [launch_at(100.0, settled=False), launch_at(100.1), launch_at(100.0, settled=False)]
    trials = [trial_result("torch_ddp", 2, cold), trial_result("torch_horovod", 2, [launch_at(50)] * 3)]
    checks, summary, run, found = judged(tmp_path, trials)
    told = "2 of 3 launches of torch_ddp (2 replicas)"
    assert summary == ("bad", f"Not for ranking yet: {told} may still be warming up.")
    answer = f"No steady state was seen in {told}: the warm-up reached its limit."
    assert checks["Was it warmed up?"] == ("bad", answer)
    (verdict,) = verdicts(run.result, found)
    warning = "Not for ranking yet: 2 of 3 launches of torch_ddp may still have been warming up."
    assert verdict.sentence.endswith(warning)
    assert (verdict.outcome, headline(verdict).large) == ("shown", "Not yet")
    assert checks["Was it repeated?"] == ("good", "3 launches of each trial: the least that gives an interval.")
    assert checks["Precise enough?"][0] == "good"


def test_precision_is_open_where_nothing_could_be_ranked_and_names_the_widest_interval(tmp_path):
    noisy = [launch_at(rate) for rate in (64, 80, 100)]
    checks, summary, _, _ = judged(
        tmp_path, [trial_result("torch_ddp", 2, [launch_at(100)] * 3), trial_result("torch_horovod", 2, noisy)]
    )
    widest = (
        "The widest interval of a compared speed is that of torch_horovod (2 replicas): \u221243 % to +74 %, n = 3."
    )
    # 2 x 10 launches of 10 s; s(ln 64, ln 80, ln 100) = 0.2231, t(0.975, 9) = 2.262: 2.262 x 0.2231 / sqrt(10) = 0.1596
    narrower = (
        "`repeats: 10` (about 3 min in all) would narrow torch_ddp against torch_horovod to about \u221215 % to +17 %, if "
        "launches vary as these did."
    )
    assert checks["Precise enough?"] == ("plain", f"1 of 1 comparison undecided. {widest} {narrower}")
    assert summary[0] == "plain"
    checks, _, _, _ = judged(tmp_path, [trial_result("torch_ddp", 2, [launch_at(100)])])
    assert checks["Precise enough?"] == ("plain", "Nothing could be ranked.")


def test_a_note_names_the_launch_that_makes_median_and_mean_disagree(tmp_path):
    """Of three launches two have the longer steps; the third is so fast that the mean is higher."""
    trials = [
        trial_result("tf_mirrored", 2, [launch_at(rate) for rate in (90, 150, 90)]),
        trial_result("torch_ddp", 2, [launch_at(100)] * 3),
    ]
    run = load(write_run(tmp_path, trials))
    assert flips(run.result, rows(run)) == [
        "torch_ddp has the shorter median step (200.0 against 222.2 ms) but fewer samples/s than tf_mirrored (100.0 "
        "against 106.7): launch 1 of tf_mirrored (150.0 samples/s) makes the difference."
    ]


def test_the_head_asks_the_question_and_says_what_the_run_is_silent_about(tmp_path):
    trials = [trial_result(name, 2, [launch_at(100)] * 3) for name in ("torch_ddp", "tf_horovod")]
    found = question(load(write_run(tmp_path, trials)).result)
    assert found.asked == "Which of 2 stacks trains BERT-tiny fastest here?"
    assert found.means == (
        "2 CPU cores, no GPU used, 1 host, batch 8 per replica, sequence length 128. 2 trials, 3 launches each, 10 "
        "windows a launch; a window is 5 steps timed together."
    )
    assert found.silent == "Says nothing about GPUs or several hosts."


def test_gates_that_concern_nothing_here_are_told_apart_from_those_that_could_not_look(tmp_path):
    alone = [launch_at(100, ranks=1, gates=[*INHERENT, SILENT]) for _ in range(3)]
    checks, _, run, _ = judged(tmp_path, [trial_result("torch_bare", 1, alone), trial_result("tf_bare", 1, alone)])
    said = "1 gate holds; 12 do not concern float32 or one replica, 6 could not be applied."
    assert equality(run.result).sentence == said
    assert checks["Was the work equal?"][1] == (
        f"{said} Compared between trials: losses. Losses equal to the last digit over 3 steps. Gradients and updates "
        "were not compared: `paceline verify` does it."
    )


def test_replicas_of_one_process_are_said_to_be_so_and_the_table_is_in_order_of_speed(tmp_path):
    trials = [
        trial_result("torch_ddp", 2, [launch_at(100)] * 3),
        trial_result("tf_mirrored", 2, [launch_at(120, ranks=1, gates=[])] * 3),
    ]
    page = render(write_run(tmp_path, trials), "html")
    assert "2 replicas in 1 process, started by horovodrun" in page
    assert '<data value="10000000.0" data-column="sent_bytes_per_step">in one process</data>' in page.replace("\n", "")
    assert "<strong>tf_mirrored \u00d72</strong> one process, no ranks to compare" in page
    assert re.findall(r'<tr data-trial="(\w+)-2-\w+" data-at="(\d)"', page)[:2] == [
        ("tf_mirrored", "1"),
        ("torch_ddp", "0"),
    ]
    assert "in one process" in render(tmp_path, "md")
