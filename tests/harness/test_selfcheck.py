"""Programmed truth: what is programmed comes back from the whole pipeline, and a pipeline that lies is found out."""

import contextlib
import json
import os
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

import reports
from backends._programmed import Programmed
from bench import selfcheck, stats, worker
from bench.cli import cli
from bench.records import Window


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def publish(folder):
    return json.loads(reports.render(folder, "json"))


SCENARIO = selfcheck.Scenario(
    step_ms=(10.0, 13.0), wrapper_ms=2.0, contention_ms=4.0, input_ms=3.0, exchange_ms=8.0, overlap_ms=5.0
)


def test_the_programmed_numbers_are_those_that_a_reader_computes_by_hand():
    """Bare 10; the slow rank 13 + 2 + 4 without an exchange, 3 of 8 of it exposed, 3 waiting for input: 25."""
    assert SCENARIO.numbers == {
        "samples_per_second": pytest.approx(2 * 4 / 0.025),
        "bare_ms": 10.0,
        "full_ms": 25.0,
        "lost_ms": 15.0,
        "wrapper_ms": 2.0,
        "contention_ms": 7.0,
        "input_wait_ms": 3.0,
        "exposed_communication_ms": 3.0,
        "standalone_ms": 8.0,
        "hidden_share": 0.625,
        "skew_ms": 3.0,
    }


def test_twenty_seeded_scenarios_with_injected_clocks_come_back_exactly(runs):
    drawn = [selfcheck.scenario(seed) for seed in range(20)]
    assert {len(each.step_ms) for each in drawn} == {2, 3, 4}
    for given in [SCENARIO, *drawn]:
        found = selfcheck.simulate(given, runs, publish)
        assert len(found) == 11
        assert selfcheck.worst(found).error <= selfcheck.EXACT, selfcheck.worst(found)


def off(given, runs):
    """Names of the numbers that do not come back."""
    return {each.name for each in selfcheck.simulate(given, runs, publish) if each.error > selfcheck.EXACT}


def test_a_clock_read_before_the_device_has_finished_is_found_out(runs, monkeypatch):
    """Without the last fence only the host's own time is left of a device that works ahead."""
    monkeypatch.setattr(Programmed, "fence", lambda self: None)
    assert {"samples_per_second", "full_ms", "bare_ms"} <= off(SCENARIO, runs)


def test_a_local_window_that_still_exchanges_is_found_out(runs, monkeypatch):
    plain = Programmed.step
    monkeypatch.setattr(Programmed, "step", lambda self, batch, exchange: plain(self, batch, True))
    assert off(SCENARIO, runs) == {"contention_ms", "exposed_communication_ms", "hidden_share", "skew_ms"}


def test_input_that_is_not_waited_for_by_the_clock_is_found_out(runs, monkeypatch):
    monkeypatch.setattr(worker, "Window", lambda **given: Window(**{**given, "input_wait_ns": 0}))
    assert "input_wait_ms" in off(SCENARIO, runs)


def test_a_formula_that_forgets_the_wrapper_is_found_out(runs, monkeypatch):
    honest = stats.Rungs
    monkeypatch.setattr("reports.ladder.Rungs", lambda **given: honest(**{**given, "solo": given["bare"]}))
    assert off(SCENARIO, runs) == {"wrapper_ms", "contention_ms"}


@pytest.mark.quiet
def test_the_command_checks_both_kinds_of_clock_within_half_a_minute(tmp_path):
    begun = time.monotonic()
    done = command(tmp_path, "5")
    if done.returncode == 3:
        pytest.skip(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "every number came back"
    assert "scenarios with injected clocks" in done.stdout and "real processes" in done.stdout
    assert time.monotonic() - begun < 30
    assert list(tmp_path.iterdir()) == []


def command(folder, simulated):
    argv = [sys.executable, "-P", "-m", "bench", "selfcheck", "--simulated", simulated, "--real", "1"]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.quiet
def test_a_machine_that_wakes_ranks_late_is_not_taken_for_a_pipeline_that_lies(tmp_path):
    """Three programs on each core, more eager than the ranks: they are what makes the steps longer."""
    hog = [sys.executable, "-c", "while True: pass"]
    with contextlib.ExitStack() as stack:
        for _ in range(3 * len(os.sched_getaffinity(0))):
            stack.callback(stack.enter_context(subprocess.Popen(hog)).kill)
        done = command(tmp_path, "1")
    assert done.returncode in (0, 3), done.stdout + done.stderr  # an attempt may come through all the same
    assert "ms a step overslept" in done.stdout


@pytest.mark.parametrize(
    ("overslept_ms", "status", "said"),
    [
        ((0.8, 0.8, 0.8), 3, "this machine is too busy"),
        ((0.8, 0.01, 0.8), 1, "a number did not come back"),
        ((0.01, 0.01, 0.01), 1, "a number did not come back"),
    ],
)
def test_only_a_calm_machine_shows_that_the_pipeline_lies(monkeypatch, overslept_ms, status, said):
    attempts = iter(overslept_ms)
    wrong = selfcheck.Finding("full_ms", 100.0, 103.0)
    monkeypatch.setattr(selfcheck, "launch", lambda *_: selfcheck.Attempt([wrong], next(attempts)))
    done = CliRunner().invoke(cli, ["selfcheck", "--simulated", "1", "--real", "1"], standalone_mode=False)
    assert (done.return_value, list(attempts)) == (status, [])
    assert done.output.splitlines()[-1].startswith(said)
