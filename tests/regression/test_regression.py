"""The gate's rule, with numbers that can be checked by hand; its error rates are in tests/proof."""

import math

import numpy as np
import pytest

from bench import regression
from bench.regression import Rule, Spread, judge, resolve


def around(centre: float, count: int, spread: float = 0.01) -> list[float]:
    """Launch rates whose logs have mean log(centre) and standard deviation `spread`, half above, half below."""
    half = spread * math.sqrt((count - 1) / count)
    return [centre * math.exp(half if place % 2 else -half) for place in range(count)]


def test_levels_add_up_to_what_the_gate_may_err():
    assert sum(stage.regress for stage in regression.STAGES) == pytest.approx(0.04)
    assert sum(stage.passing for stage in regression.STAGES) == pytest.approx(0.07)


def test_ten_launches_a_side_with_one_percent_spread_show_five_percent():
    found = judge("a", around(100 / 1.05, 10), around(100, 10))
    assert found.verdict == "regress"
    assert found.slowdown.point == pytest.approx(1.05)
    # standard error 0.01 sqrt(2/10) = 0.4472 %, t(0.97, 18) = 2.0067: bound 4.879 - 0.897 %, threshold the minimum
    assert math.log(found.slowdown.low) == pytest.approx(math.log(1.05) - 2.0067 * 0.01 * math.sqrt(0.2), abs=1e-5)
    assert found.threshold == 0.02
    assert found.sentence == "5.0% slower, and this check calls 2.0% a regression"


def test_the_same_speed_passes_and_says_what_is_ruled_out():
    found = judge("a", around(100, 10), around(100, 10))
    assert (found.verdict, found.sentence) == ("pass", "0.0% slower; a slowdown of 5% is ruled out")


def test_tied_launches_decide_by_the_point_alone():
    assert judge("a", [100.0] * 3, [103.0] * 3).verdict == "regress"
    assert judge("a", [100.0] * 3, [101.0] * 3).verdict == "pass"


def test_a_sure_slowdown_below_the_minimum_effect_passes():
    assert judge("a", around(100 / 1.015, 10, 0.001), around(100, 10, 0.001)).verdict == "pass"


def test_a_faster_run_passes():
    assert judge("a", around(120, 10), around(100, 10)).sentence == "16.7% faster; a slowdown of 5% is ruled out"


@pytest.mark.parametrize(
    ("own", "baseline", "words"), [(1, 10, "the run has 1 launch"), (10, 2, "the baseline has 2 launches")]
)
def test_below_three_launches_there_is_no_verdict_and_no_number(own, baseline, words):
    found = judge("a", around(50, own), around(100, baseline))
    assert (found.verdict, found.slowdown) == ("inconclusive", None)
    assert found.sentence == f"{words} and at least 3 are needed"


def test_a_noisy_run_is_inconclusive_and_says_from_where_it_would_regress():
    found = judge("a", around(97, 3, 0.05), around(100, 3, 0.05))
    assert found.verdict == "inconclusive"
    assert found.threshold > 0.2


def test_several_trials_share_the_false_alarms_of_the_check():
    # error 0.02 sqrt(2/10) = 0.894 %: alone t(0.97, 18) = 2.007 asks for 1.8 %, of eight t(0.99625, 18) = 3.0 for 2.7 %
    run, baseline = around(100 / 1.023, 10, 0.02), around(100, 10, 0.02)
    alone, of_eight = judge("a", run, baseline), judge("a", run, baseline, comparisons=8)
    assert (alone.verdict, of_eight.verdict) == ("regress", "pass")
    assert of_eight.slowdown.low < 1 < alone.slowdown.low
    assert of_eight.slowdown.high == alone.slowdown.high


def test_the_recorded_spread_between_runs_widens_the_interval_and_the_threshold():
    rates, base = around(97, 10, 0.001), around(100, 10, 0.001)
    assert judge("a", rates, base).verdict == "regress"
    unsure = judge("a", rates, base, Spread(0.02**2, 9.0))
    assert unsure.verdict == "inconclusive"
    # standard error sqrt(2) 2 %, t(0.97, 9) = 2.1504: 6.1 %
    assert unsure.threshold == pytest.approx(math.expm1(2.1504 * math.sqrt(2) * 0.02), rel=2e-3)


def test_the_recorded_spread_is_half_the_mean_squared_successive_difference():
    # mean logs 0, 2 %, 0, 2 %: every squared difference is 4e-4, half of it 2e-4; no spread within
    history = [[1.0, 1.0], [math.exp(0.02)] * 2, [1.0, 1.0], [math.exp(0.02)] * 2]
    assert regression.recorded_spread(history) == Spread(pytest.approx(2e-4), pytest.approx(2 * 9 / 8))


def test_what_launches_explain_is_not_spread_between_runs():
    rng = np.random.default_rng(1)
    honest = [np.exp(0.03 * rng.standard_normal(5)).tolist() for _ in range(200)]
    assert regression.recorded_spread(honest).variance < 0.01**2
    apart = [(np.exp(0.03 * rng.standard_normal(5) + 0.03 * rng.standard_normal())).tolist() for _ in range(200)]
    assert regression.recorded_spread(apart).variance == pytest.approx(0.03**2, rel=0.3)


def test_two_runs_tell_nothing_about_the_spread_between_runs():
    assert regression.recorded_spread([[1.0, 1.1], [1.0, 1.1]]) is None


class Launching:
    """A run that gains launches; `looks` counts what was seen."""

    def __init__(self, rates: list[float], baseline: list[float], first: int = 3) -> None:
        self.rates, self.baseline, self.launches, self.looks = rates, baseline, first, []

    def look(self) -> list[regression.Finding]:
        self.looks.append(self.launches)
        return [judge("a", self.rates[: self.launches], self.baseline)]

    def more(self, count: int) -> None:
        self.launches += count


def test_resolving_looks_at_three_six_and_ten_launches_only():
    run = Launching(around(97, 10, 0.04), around(100, 10, 0.04))
    found = resolve(run.look, run.more)
    assert run.looks == [3, 6, 10]
    assert [finding.verdict for finding in found] == ["inconclusive"]


def test_resolving_stops_at_the_first_decision():
    run = Launching(around(50, 10), around(100, 10))
    assert resolve(run.look, run.more)[0].verdict == "regress"
    assert run.looks == [3]


def test_resolving_from_four_launches_continues_at_six():
    run = Launching(around(97, 10, 0.04), around(100, 10, 0.04), first=4)
    resolve(run.look, run.more)
    assert run.looks == [4, 6, 10]


def test_more_launches_cannot_help_a_baseline_of_two():
    run = Launching(around(97, 10), around(100, 2))
    resolve(run.look, run.more)
    assert run.looks == [3]


def test_launches_that_give_no_number_end_the_resolving():
    run = Launching(around(97, 10, 0.04), around(100, 10, 0.04))
    found = resolve(run.look, lambda count: None)
    assert found[0].sentence.endswith("; further launches gave no number")


def test_a_decided_trial_stays_decided_while_others_are_resolved():
    baseline = around(100, 10, 0.02)
    passes_first = [*around(101, 3, 0.001), *around(60, 7)]
    noisy = around(97, 10, 0.04)
    launches = [3]

    def look():
        return [
            judge("quiet", passes_first[: launches[0]], around(100, 10, 0.001)),
            judge("noisy", noisy[: launches[0]], baseline),
        ]

    found = resolve(look, lambda count: launches.__setitem__(0, launches[0] + count))
    assert launches == [10]
    assert found[0].verdict == "pass"


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        (["pass", "pass"], "pass"),
        (["pass", "inconclusive"], "inconclusive"),
        (["regress", "inconclusive"], "regress"),
        ([], "inconclusive"),
    ],
)
def test_one_regression_is_one_too_many_and_the_undecided_has_not_passed(verdicts, whole):
    findings = [regression.Finding("a", one, None, None, (3, 3), "") for one in verdicts]
    assert regression.verdict(findings) == whole


def test_a_rule_can_be_stricter():
    rates, base = around(100 / 1.03, 10, 0.002), around(100, 10, 0.002)
    assert judge("a", rates, base, rule=Rule(0.05, 0.1)).verdict == "pass"
    assert judge("a", rates, base, rule=Rule(0.01, 0.02)).verdict == "regress"
