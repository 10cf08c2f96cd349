"""Speeds through time: where a level changed, what else changed there, and what is no change."""

from __future__ import annotations

import json
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bench import stats
from bench.errors import UserError
from tests.reports import build

SPREAD = (0.994, 1.003, 0.998, 1.005)
WOBBLE = (1.004, 0.993, 1.006, 0.997, 1.002, 0.995, 1.001, 0.998, 1.007, 0.996, 1.003, 0.999)


def nightly(folder: Path, speeds, environments=None, **changed) -> Path:
    """A run a day with these speeds."""
    for day, speed in enumerate(speeds, 1):
        trial = build.trial_result("torch_ddp", 2, [build.launch_at(speed * factor) for factor in SPREAD])
        said = msgspec.structs.replace(build.ENVIRONMENT, **(environments(day) if environments else {}))
        build.write_run(
            folder / f"run-{day:02}", [trial], study="nightly", environment=said,
            created_utc=f"2026-01-{day:02}T03:00:00Z", **changed,
        )  # fmt: skip
    return folder


def paceline(*arguments: object) -> tuple[int, str]:
    from click.testing import CliRunner

    from bench.cli import cli

    done = CliRunner().invoke(cli, ["report", *map(str, arguments)], standalone_mode=False)
    if isinstance(done.exception, UserError):
        return 2, str(done.exception)
    assert done.exception is None, done.exception
    return done.return_value or 0, done.output


def told(folder: Path) -> dict:
    status, said = paceline("--history", folder, "--format", "json")
    assert status == 0
    return json.loads(said)


def speeds(count: int = 12, step: int = 99, by: float = 1.0) -> list[float]:
    return [100 * WOBBLE[place % 12] * (by if place >= step else 1) for place in range(count)]


# ---- the rule -------------------------------------------------------------------------------------------------------


def test_a_level_that_changes_for_good_or_for_a_while_is_found_where_it_does():
    assert stats.changes([100.0, 101, 99, 100, 101, 99, 95, 96, 94, 95, 96, 94]) == [6]
    assert stats.changes([100.0, 101, 99, 100, 90, 91, 89, 90, 100, 101, 99, 100]) == [4, 8]
    assert stats.changes([100.0, 101, 99, 110, 111, 109, 121, 122, 120, 121]) == [3, 6]


def test_one_slow_run_a_small_step_and_a_short_history_are_no_change():
    assert stats.changes([100.0, 101, 99, 100, 101, 60, 100, 101, 99, 100]) == []
    assert stats.changes([100.0, 100.1, 99.9, 100, 100.1, 101, 101.1, 100.9, 101, 101.1]) == []
    assert stats.changes([100.0, 101, 99, 50, 51]) == []
    assert stats.changes([100.0] * 12) == []
    assert stats.changes([]) == []


@pytest.mark.parametrize("kind", ["normal", "one run in ten 10 % slower", "heavy tails"])
def test_of_histories_where_nothing_changes_at_most_5_percent_show_a_change(kind):
    rng = np.random.default_rng(20260102)
    logs = rng.normal(0, 0.02, (1000, 12))
    if kind == "one run in ten 10 % slower":
        logs -= 0.1 * (rng.random(logs.shape) < 0.1)
    if kind == "heavy tails":
        logs *= np.where(rng.random(logs.shape) < 0.1, 5, 1)
    alarms = sum(bool(stats.changes(history)) for history in np.exp(logs).tolist())
    assert alarms <= 50
    pages = sum(
        any(stats.changes(history, 5) for history in page) for page in np.exp(logs).reshape(200, 5, 12).tolist()
    )
    assert pages <= 10


@pytest.mark.parametrize(("spread", "least"), [(0.005, 0.99), (0.01, 0.95)])
def test_a_planted_step_of_5_percent_is_found_in_12_runs(spread, least):
    rng = np.random.default_rng(20260103)
    logs = rng.normal(0, spread, (200, 12))
    logs[:, 6:] -= math.log(1.05)
    found = [stats.changes(history) for history in np.exp(logs).tolist()]
    assert np.mean([any(abs(place - 6) <= 1 for place in places) for places in found]) >= least


# ---- the history ----------------------------------------------------------------------------------------------------


def test_a_step_is_dated_sized_and_set_beside_what_changed_with_it(tmp_path):
    def environment(day: int) -> dict:
        return {"revision": "old" if day < 8 else "new", "packages": {"torch": "2.13.0" if day < 11 else "2.14.0"}}

    folder = nightly(tmp_path, speeds(step=7, by=0.94), environment)
    found = told(folder)
    (study,) = found["studies"]
    (step,) = study["steps"]
    assert (step["run"], step["changed"]) == ("run-08", "revision (old and new)")
    assert step["ratio"] == pytest.approx(0.94, rel=0.01)
    assert step["ratio_low"] < 0.94 < step["ratio_high"] < 1
    assert [point["level"] for point in study["points"]] == [0] * 7 + [1] * 5
    assert study["points"][10]["changed"] == "packages.torch (2.13.0 and 2.14.0)"
    text = " ".join(paceline("--history", folder, "--format", "text")[1].split())
    assert "the level changed in 1 of 1 trial with runs enough" in text
    assert "From run-08 on: 0.94" in text and "Changed with it: revision (old and new)." in text


def test_a_history_without_a_change_says_so_and_a_short_one_that_it_cannot_tell(tmp_path):
    found = told(nightly(tmp_path / "long", speeds()))
    assert found["studies"][0]["series"][0]["sentences"][0] == "No change of level shown over 12 runs."
    short = told(nightly(tmp_path / "short", speeds(4)))
    assert short["studies"][0]["series"][0]["sentences"][0].endswith("at least 6 are needed.")
    assert "told from 6 runs" in short["studies"][0]["summary"]


def test_a_steady_decline_is_a_trend_and_a_level_wobble_is_none(tmp_path):
    falling = told(nightly(tmp_path / "falling", [100 * 0.985**day * WOBBLE[day] ** 0.2 for day in range(5)]))
    assert falling["studies"][0]["series"][0]["sentences"][1].startswith("Falling over 5 runs in 4.0 days: 0.94")
    level = told(nightly(tmp_path / "level", speeds(5)))
    assert level["studies"][0]["series"][0]["sentences"][1].startswith("No trend shown over 5 runs")


def test_another_machine_is_another_line_and_both_name_what_they_differ_in(tmp_path):
    found = told(nightly(tmp_path, speeds(4), lambda day: {"cpu": "fast" if day % 2 else "slow"}))
    assert [series["name"] for series in found["studies"][0]["series"]] == [
        "torch_ddp \u00d72, cpu fast",
        "torch_ddp \u00d72, cpu slow",
    ]
    assert {point["trial"] for point in found["studies"][0]["points"]} == {
        "torch_ddp \u00d72, cpu fast",
        "torch_ddp \u00d72, cpu slow",
    }


def test_quick_failed_and_damaged_runs_have_their_reason_and_stop_nothing(tmp_path):
    folder = nightly(tmp_path, speeds(3))
    failed = build.trial_result("torch_ddp", 2, [], status="failed", reason="rank 1 was killed")
    build.write_run(folder / "failed", [failed], study="nightly", created_utc="2026-01-04T03:00:00Z")
    quick = build.trial_result("torch_ddp", 2, [build.launch_at(300)])
    build.write_run(folder / "quick", [quick], study="nightly", quick=True, created_utc="2026-01-05T03:00:00Z")
    (folder / "deep" / "torn").mkdir(parents=True)
    (folder / "deep" / "torn" / "result.json").write_bytes(b'{"schema":')
    found = told(folder)
    (study,) = found["studies"]
    assert len(study["series"]) == 1
    assert study["points"][3]["reason"] == "failed: rank 1 was killed"
    assert study["points"][3]["changed"] is None
    assert study["left_out"] == [{"run": "quick", "reason": "a quick run: a look, not a measurement"}]
    assert [one["run"] for one in found["unread"]] == ["deep/torn"]
    assert "cut off" in found["unread"][0]["reason"]


def test_the_page_tells_the_numbers_of_the_json_with_a_text_alternative_for_the_chart(tmp_path):
    folder = nightly(tmp_path, speeds(step=7, by=0.94))
    status, said = paceline("--history", folder)
    assert (status, said) == (0, f"{folder / 'history.html'}\n")
    html = (folder / "history.html").read_text(encoding="utf-8")
    study = told(folder)["studies"][0]
    for point in study["points"]:
        assert f'value="{point["samples_per_second"]}"' in html
    assert f'value="{study["steps"][0]["ratio"]}"' in html
    assert html.count('role="img"') == 2
    assert 'aria-label="Samples per second of torch_ddp \u00d72 in each run. From run-08 on: ' in html


def test_a_wrong_request_is_one_sentence(tmp_path):
    assert paceline("--history", tmp_path)[1] == f"below {tmp_path} there is no run that can be read"
    assert paceline("--history", tmp_path / "none")[1].endswith("there is no such folder")
    assert paceline()[1] == "give a run folder, or --history with a folder of runs"
    nightly(tmp_path, speeds(1))
    assert (
        paceline("--history", tmp_path, "--format", "csv")[1] == "a history is rendered as html, text, json, not as csv"
    )
    assert "not both" in paceline(tmp_path / "run-01", "--history", tmp_path)[1]
