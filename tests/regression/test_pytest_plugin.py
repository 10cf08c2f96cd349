"""The fixture under real pytest processes, real launches of the null backend, and pytest-benchmark's own gate."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUDY = """
name: ci
launcher: local
repeats: 3
bare: false
workload: {sequence_length: 16, batch_per_replica: 4}
timing: {warmup_windows: 1, windows: 4, steps_per_window: 1}
backend: null_backend
replicas: 1
options: {step_ms: STEP}
""".replace("null_backend", '"null"')
TEST = """
def test_step(paceline_benchmark):
    rate = paceline_benchmark("study.yaml", backend="null")
    assert rate.launches == LAUNCHES
"""


@pytest.fixture(scope="module")
def team(tmp_path_factory) -> Path:
    """A folder with one benchmark, and a saved baseline of 160 ms a step: other tests make a sleep some ms longer."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_speed.py").write_text(TEST.replace("LAUNCHES", "3"))
    done = run_pytest(folder, "--benchmark-save=base", "--benchmark-save-data", step_ms=160)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def run_pytest(folder: Path, *arguments: str, step_ms: float) -> subprocess.CompletedProcess[str]:
    (folder / "study.yaml").write_text(STUDY.replace("STEP", str(step_ms)))
    argv = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "pytest_benchmark.plugin", "-p", "bench.pytest_plugin"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run([*argv, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def saved(folder: Path) -> dict:
    (path,) = folder.glob(".benchmarks/*/*_base.json")
    (benchmark,) = json.loads(path.read_text())["benchmarks"]
    return benchmark


def test_the_raw_data_are_the_seconds_per_sample_that_the_ranks_measured(team):
    data = saved(team)["stats"]["data"]
    # 3 launches of 4 windows, of which up to 2 may be found to be warm-up; 160 ms a step for 4 samples is 40 ms a
    # sample, and a sleep only ever takes longer
    assert 6 <= len(data) <= 12
    assert min(data) >= 0.04
    assert sorted(data)[3] < 0.04 * 1.2


def test_the_saved_benchmark_carries_interval_and_fingerprint(team):
    extra = saved(team)["extra_info"]["paceline"]
    low, high = extra["interval"]
    assert low <= extra["samples_per_second"] <= high
    assert extra["samples_per_second"] <= 25
    assert extra["launches"] == 3
    assert extra["fingerprint"]["trial.options.step_ms"] == 160
    assert extra["fingerprint"]["schema"] is not None


def test_pytest_benchmarks_own_compare_passes_the_same_again_and_finds_a_slowdown_of_a_fifth(team):
    compare = ("--benchmark-compare=0001", "--benchmark-compare-fail=median:12%")
    again = run_pytest(team, *compare, step_ms=160)
    assert again.returncode == 0, again.stdout
    slower = run_pytest(team, *compare, step_ms=192)
    assert slower.returncode == 1
    assert "Performance has regressed" in slower.stdout + slower.stderr


def test_a_study_without_that_trial_fails_the_test_with_one_sentence(team):
    (team / "other.py").write_text(TEST.replace('"null"', '"torch_ddp"'))
    done = run_pytest(team, "other.py", step_ms=160)
    assert done.returncode == 1
    assert "one trial of torch_ddp is needed, and there are none" in done.stdout


def test_disabled_benchmarks_still_launch_once(team):
    (team / "disabled.py").write_text(TEST.replace("LAUNCHES", "1"))
    done = run_pytest(team, "disabled.py", "--benchmark-disable", step_ms=160)
    assert done.returncode == 0, done.stdout


def test_the_package_offers_the_plugin_to_pytest():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"paceline": "bench.pytest_plugin"}
