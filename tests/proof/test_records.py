"""The records in docs/proof stand for the code as it is, and hold what is claimed of them; a small part is computed anew."""

import json

import numpy as np
import pytest

from bench import stats
from tests.proof import coverage, experiments, gate, real, record, simulate, tables
from tests.proof.record import Experiment

# What no method of the experiment covers, and docs/statistics.md says so: two modes far apart look like one in three
# or four launches, and of a rare large disturbance most small studies see nothing.
KNOWN_MISSES = {"bimodal, half 20 % slower": {"3", "4"}, "10 % disturbed, 50 % slower": {*"3456789", "10"}}


def read(name: str) -> dict:
    found = record.read(experiments.all_of()[name](1))
    assert found is not None
    return found["parts"]


@pytest.mark.parametrize("name", experiments.all_of())
def test_a_record_proves_the_code_as_it_is(name):
    """Those that take long need not be there yet; one that is there must stand for this code."""
    experiment = experiments.all_of()[name](1)
    if name in experiments.SIMULATED or record.read(experiment) is not None:
        assert record.why_stale(experiment) is None


def test_the_tables_in_the_document_are_those_of_the_records():
    documents = [path.read_text() for path in tables.DOCUMENTS]
    assert all(f"<!-- {mark} -->" in "".join(documents) for mark in tables.TABLES)
    assert [tables.written(document, experiments.whole) for document in documents] == documents


def test_intervals_cover_the_truth_in_93_to_97_percent_but_for_the_known_misses():
    for name in simulate.CASES:
        found = read("coverage")[f"interval, {name}"][coverage.CHOSEN]
        misses = {count for count, one in found.items() if not 0.93 <= one["coverage"] <= 0.97}
        assert misses == KNOWN_MISSES.get(name, set()), name


def test_no_other_method_covers_more_cases_than_the_chosen_one():
    def covered(method: str) -> int:
        parts = [read("coverage")[f"interval, {name}"][method] for name in simulate.CASES]
        return sum(0.93 <= one["coverage"] <= 0.97 for part in parts for one in part.values())

    best = {method: covered(method) for method in ("t", "percentile", "studentised", "BCa")}
    assert max(best, key=lambda method: best[method]) == "t"


def test_the_gate_keeps_its_promises_at_its_own_budget():
    def of(slower: str) -> dict:
        return read("gate")[f"{gate.THE_CASE}; baseline of 10; 10 windows; {slower} slower"]

    assert of("0%")["high"] <= 0.05
    assert of("5%")["low"] >= 0.90
    assert of("10%")["low"] >= 0.99


@pytest.mark.parametrize(
    "case", ["normal, 1.5 %", "lognormal, 10 %", "bimodal, half 5 % slower", "10 % contaminated, 3 x wider"]
)
@pytest.mark.parametrize("count", [3, 5, 10])
def test_two_thousand_studies_computed_now_cover_as_recorded(case, count):
    rng = np.random.default_rng([20, count])
    found = coverage.interval(rng, simulate.CASES[case], coverage.CHOSEN, count, studies=2000)
    assert found["low"] <= 0.97 and found["high"] >= 0.93
    assert 0.925 <= found["coverage"] <= 0.975


def test_a_percentile_bootstrap_would_not_pass():
    found = coverage.interval(np.random.default_rng(1), simulate.CASES["normal, 1.5 %"], "percentile", 5, studies=500)
    assert found["high"] < 0.93


@pytest.mark.parametrize(("slower", "least", "most"), [(0.0, 0.0, 0.05), (0.05, 0.9, 1.0), (0.1, 0.99, 1.0)])
def test_a_thousand_checks_computed_now_err_as_recorded(slower, least, most):
    case = simulate.CASES[gate.THE_CASE]
    found = gate.outcomes(np.random.default_rng(5), case, slower, 1000, gate.Setting())
    assert least <= found["regress"] <= most


@pytest.mark.skipif(
    record.read(real.experiment()) is None, reason="no real launches are recorded yet: ARGS=real make proof"
)
def test_real_runs_of_the_same_work_raise_few_alarms_and_slower_ones_are_found():
    """Where launches differ by 10 % themselves, work that is 10 % slower is not called the same."""
    null, trained = (real.verdicts(read("real"), name) for name in real.STUDIES)
    same = [*null["the same"], *trained["the same"]]
    assert len(same) >= 40
    assert real.share(same, "regress")[0] <= 0.05
    assert real.share(null["10% slower"], "regress")[0] >= 0.9
    assert real.share(trained["10% slower"], "pass")[0] <= 0.1
    assert real.share(trained["50% slower"], "regress")[0] >= 0.9


# ---- the experiments themselves ------------------------------------------------------------------------------


def test_the_truth_of_every_case_is_the_mean_log_of_its_launches():
    for name, case in simulate.CASES.items():
        times = simulate.launches(np.random.default_rng(2), case, (1, 40_000)).mean(axis=-1)
        error = float(np.log(times).std() / 200)
        assert abs(float(np.log(times).mean()) - simulate.truth(case)) < 4 * error, name


def test_windows_have_the_stated_spread_and_correlation():
    noise = simulate.window_noise(np.random.default_rng(3), (1, 4000), 20)[0]
    assert noise.std() == pytest.approx(0.05, rel=0.02)
    assert np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1] == pytest.approx(0.5, abs=0.01)


def test_wilsons_interval_is_that_of_the_textbook():
    # 8 of 10: centre (0.8 + 0.19207) / 1.38415, half width 1.38415^-1 x 1.96 sqrt(0.016 + 0.0096)
    assert simulate.wilson(8, 10) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))


def counting(parts: dict, proves=("tests/proof/simulate.py",), seed: int = 1) -> Experiment:
    return Experiment(name="counting", about="", proves=proves, settings={"seed": seed}, parts=parts)


def test_a_proof_that_was_cut_off_continues_where_it_was(tmp_path):
    done = []

    def part(name):
        return lambda rng: done.append(name) or int(rng.integers(1000))

    def cut(rng):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record.prove(counting({"a": part("a"), "b": cut}), tmp_path)
    whole = counting({"a": part("a"), "b": part("b")})
    assert record.why_stale(whole, tmp_path) == "the record of counting lacks b; make proof"
    record.prove(whole, tmp_path)
    assert done == ["a", "b"]
    assert record.why_stale(whole, tmp_path) is None


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_promise_that_was_broken_stays_in_the_record(tmp_path, jobs):
    def breaks(rng):
        raise AssertionError("left over: 7\nand more")

    record.prove(counting({"a": breaks, "b": lambda rng: 2}), tmp_path, jobs=jobs)
    whole = counting({"a": lambda rng: 1, "b": breaks})
    assert record.why_stale(whole, tmp_path) == "the record of counting lacks a; make proof"
    record.prove(whole, tmp_path)
    assert record.why_stale(whole, tmp_path) is None
    assert record.broken(whole, tmp_path) == {"a": ["left over: 7"]}
    assert json.loads((tmp_path / "counting.json").read_text())["parts"] == {"a": 1, "b": 2}


def test_a_record_of_other_code_or_another_seed_is_stale_and_begins_anew(tmp_path):
    record.prove(counting({"a": lambda rng: 1}), tmp_path)
    other_code = counting({"a": lambda rng: 2}, proves=("tests/proof/record.py",))
    assert (
        record.why_stale(other_code, tmp_path)
        == "the record of counting proves other code than tests/proof/record.py; make proof"
    )
    assert record.why_stale(counting({"a": lambda rng: 1}, seed=2), tmp_path) is not None
    record.prove(other_code, tmp_path)
    assert json.loads((tmp_path / "counting.json").read_text())["parts"] == {"a": 2}


def test_the_stamp_covers_the_code_and_not_what_is_said_about_it():
    code = 'def f():\n    """Says."""\n    # why\n    return 1\n'
    assert record.code_of(code) == "def f():\n    return 1"
    assert record.code_of(code.replace("return 1", "return 2")) != record.code_of(code)


def test_the_records_stand_for_the_files_that_hold_the_formulas():
    assert stats.over_launches.__module__ == stats.contrast.__module__ == "bench.stats.estimates"
    assert "bench/stats/estimates.py" in coverage.experiment().proves
    assert {"bench/regression.py", "bench/stats/estimates.py"} <= set(gate.experiment().proves)
