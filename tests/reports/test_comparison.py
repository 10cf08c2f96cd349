"""`paceline compare`: like is compared with like, and what is unlike is named."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench.errors import UserError
from tests.reports import build

STEADY = (100.0, 100.2, 99.8, 100.1, 99.9, 100.0)
NAMES = ("torch_ddp", "torch_horovod")


def write(folder: Path, *rates: float, names=NAMES, trial=None, more=(), environment=None, **changed) -> Path:
    """A run whose trials all have these launch rates, torch_horovod 0.8 of them."""
    trials = [
        build.trial_result(
            name, 2, [build.launch_at(rate * (0.8 if name == "torch_horovod" else 1)) for rate in rates], trial=trial
        )
        for name in names
    ]
    said = msgspec.structs.replace(build.ENVIRONMENT, **(environment or {}))
    return build.write_run(folder, [*trials, *more], environment=said, **changed)


def paceline(*arguments: object) -> tuple[int, str]:
    """Exit status and what was said."""
    from click.testing import CliRunner

    from bench.cli import cli

    done = CliRunner().invoke(cli, ["compare", *map(str, arguments)], standalone_mode=False)
    if isinstance(done.exception, UserError):
        return 2, str(done.exception)
    assert done.exception is None, done.exception
    return done.return_value, done.output


def compared(*arguments: object) -> dict:
    status, said = paceline(*arguments, "--format", "json")
    assert status in (0, 3)
    return json.loads(said)


def times(*rates: float, by: float) -> list[float]:
    return [rate * by for rate in rates]


def test_a_faster_run_is_faster_by_the_ratio_of_its_geometric_means_with_an_interval(tmp_path):
    one, other = write(tmp_path / "one", *STEADY), write(tmp_path / "other", *times(*STEADY, by=1.1))
    found = compared(one, other)
    assert [pair["outcome"] for pair in found["pairs"]] == ["faster", "faster"]
    pair = found["pairs"][0]
    assert pair["ratio"] == pytest.approx(1.1, rel=1e-6)
    assert pair["ratio_low"] < 1.1 < pair["ratio_high"]
    status, said = paceline(one, other)
    assert status == 0
    assert (
        "B is faster than A: 1.10 times (95 % interval 1.10 to 1.10) its samples per second. Losses within"
        in " ".join(said.split())
    )
    assert max(map(len, said.splitlines())) <= 80
    assert compared(other, one)["pairs"][0]["outcome"] == "slower"


def test_a_difference_below_two_percent_is_not_shown_however_sure_it_is(tmp_path):
    one, other = write(tmp_path / "one", *STEADY), write(tmp_path / "other", *times(*STEADY, by=1.01))
    assert {pair["outcome"] for pair in compared(one, other)["pairs"]} == {"not shown"}


def test_all_pairs_of_the_table_are_judged_together(tmp_path):
    base, near = (95.0, 100.0, 105.0, 100.0, 100.0), (103.0, 111.0, 113.0, 108.0, 109.0)
    one, other = write(tmp_path / "one", *base, names=NAMES[:1]), write(tmp_path / "other", *near, names=NAMES[:1])
    (alone,) = compared(one, other)["pairs"]
    assert alone["p_value"] == alone["adjusted"] < 0.05
    assert alone["outcome"] == "faster"
    folders = [write(tmp_path / f"run-{place}", *(base if place else near), names=NAMES[:1]) for place in range(4)]
    table = compared(*folders)
    assert table["claims"] == 6
    worst = table["pairs"][0]
    assert worst["p_value"] == pytest.approx(alone["p_value"])
    assert worst["adjusted"] == pytest.approx(6 * alone["p_value"])
    assert worst["outcome"] == "not shown"


@pytest.mark.parametrize(
    ("environment", "trial", "key"),
    [
        ({"packages": {"torch": "2.14.0", "numpy": "2.4.0"}}, None, "packages.torch (2.13.0 and 2.14.0)"),
        ({"cpu": "another CPU"}, None, "cpu (a CPU of two cores and another CPU)"),
        ({}, {"workload": {"batch_per_replica": 4}}, "trial.workload.batch_per_replica (8 and 4)"),
    ],
)
def test_unlike_is_not_judged_but_named_until_the_key_is_allowed_to_differ(tmp_path, environment, trial, key):
    one = write(tmp_path / "one", *STEADY)
    other = write(tmp_path / "other", *times(*STEADY, by=1.1), environment=environment, trial=trial)
    status, said = paceline(one, other)
    assert status == 3
    assert f"A and B are not comparable: {key}." in " ".join(said.split())
    assert "100.0 (" in said and "110.0 (" in said
    name = key.partition(" (")[0]
    assert f"--across {name}" in " ".join(said.split())
    found = compared(one, other, "--across", name)
    assert {pair["outcome"] for pair in found["pairs"]} == {"faster"}
    assert found["pairs"][0]["across"] == key
    assert f"across {key}" in found["pairs"][0]["sentence"]
    assert (found["pairs"][0]["losses"] is None) == (trial is not None)


def test_a_prefix_allows_all_keys_below_it_and_no_other(tmp_path):
    one = write(tmp_path / "one", *STEADY)
    other = write(
        tmp_path / "other", *STEADY, environment={"packages": {"torch": "2.14.0", "numpy": "2.5.0"}, "cores": 4}
    )
    assert compared(one, other, "--across", "packages")["pairs"][0]["keys"] == "cores (2 and 4)"
    assert compared(one, other, "--across", "packages", "--across", "cores")["pairs"][0]["keys"] is None
    status, said = paceline(one, other, "--across", "package.torch")
    assert status == 2
    assert said.startswith("--across 'package.torch': the runs have no such key; near are packages.torch")


def test_other_losses_of_the_same_work_give_no_verdict(tmp_path):
    one = write(tmp_path / "one", *STEADY, names=NAMES[:1])
    wrong = [build.launch_at(rate * 1.5, losses=[10.0, 9.1, 8.3]) for rate in STEADY]
    other = build.write_run(tmp_path / "other", [build.trial_result("torch_ddp", 2, wrong)])
    (pair,) = compared(one, other)["pairs"]
    assert (pair["outcome"], pair["p_value"]) == ("no verdict", None)
    assert "gate same losses between the two" in pair["sentence"]


def test_quick_failed_missing_and_few_have_rows_with_their_reasons(tmp_path):
    failed = build.trial_result("tf_horovod", 2, [build.launch_at(9)], status="failed", reason="rank 1 was killed")
    one = write(tmp_path / "one", *STEADY, more=[failed])
    few = write(tmp_path / "few", 100, 101)
    quick = write(tmp_path / "quick", 100, quick=True)
    status, said = paceline(one, few, quick)
    flat = " ".join(said.split())
    assert status == 0  # a ratio is there, if no verdict
    assert "A: failed: rank 1 was killed B: no such trial C: no such trial" in flat
    assert "No verdict on A and B: 2 launches; at least 3 of each are needed; B measured 1.00 times A." in flat
    assert "No verdict on A and C: a quick run is too short to compare speeds (C)." in flat
    assert "1 not in every run" in flat


def test_what_changed_around_the_runs_stands_side_by_side(tmp_path):
    one = write(tmp_path / "one", *STEADY)
    other = write(tmp_path / "other", *STEADY, environment={"revision": "c0ffee", "hostname": "box-2"})
    changes = {change["key"]: change["values"] for change in compared(one, other)["changes"]}
    assert changes == {"revision": ["471b0a4", "c0ffee"], "hostname": ["box", "box-2"]}


def test_what_ran_in_place_of_auto_is_told_where_it_differs(tmp_path):
    one = write(tmp_path / "one", *STEADY, names=NAMES[:1])
    tree = [build.launch_at(rate, facts=[build.facts(algorithm="tree")]) for rate in STEADY]
    other = build.write_run(tmp_path / "other", [build.trial_result("torch_ddp", 2, tree)])
    assert "As they ran, A and B: all-reduce (ring and tree)." in " ".join(paceline(one, other)[1].split())


def test_a_wrong_request_is_one_sentence(tmp_path):
    one = write(tmp_path / "one", *STEADY)
    assert paceline(one) == (2, f"there is nothing to compare {one} with; give two run folders or more")
    assert paceline(one, one)[1] == f"{one} is given twice: a run does not differ from itself"
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "collectives.json").write_text("{}")
    assert "holds collectives timed alone" in paceline(one, tmp_path / "sweep")[1]
    assert paceline(one, tmp_path / "none")[0] == 2


def test_markdown_and_page_tell_the_numbers_of_the_json_and_hostile_text_opens_nothing(tmp_path):
    hostile = '<script>alert(1)</script>|`"\u202e\U0001f600' + "x" * 300
    one = write(tmp_path / "one", *STEADY, study=hostile)
    other = write(tmp_path / "other", *times(*STEADY, by=1.1), environment={"hostname": hostile, "revision": hostile})
    found = compared(one, other)
    markdown = paceline(one, other, "--format", "md")[1]
    assert "<script>" not in markdown
    assert "| torch_ddp \u00d72 | A, B | 100.0 |" in markdown
    html = paceline(one, other, "--format", "html")[1]
    assert "<script>alert" not in html and "\u202e" not in html
    for trial in found["trials"]:
        assert f'<data value="{trial["samples_per_second"]}" data-column="samples_per_second">' in html
    for pair in found["pairs"]:
        assert f'value="{pair["ratio"]}"' in html
    assert math.isfinite(found["pairs"][0]["ratio"])


def test_text_is_written_without_the_drawing_library(tmp_path):
    one, other = write(tmp_path / "one", *STEADY), write(tmp_path / "other", *STEADY)
    code = (
        "import sys; from bench.cli import cli; "
        f"cli(['compare', {str(one)!r}, {str(other)!r}], standalone_mode=False); "
        "sys.exit('matplotlib' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_other_data_are_named_unless_another_allowed_key_means_other_data(tmp_path):
    one = write(tmp_path / "one", *STEADY, names=NAMES[:1])

    def fed(folder: Path, trial=None) -> Path:
        result, launches = build.trial_result("torch_ddp", 2, [build.launch_at(rate) for rate in STEADY], trial=trial)
        repeats = [msgspec.structs.replace(repeat, data_digest="fedcba") for repeat in result.repeats]
        return build.write_run(folder, [(msgspec.structs.replace(result, repeats=repeats), launches)])

    assert compared(one, fed(tmp_path / "other"))["pairs"][0]["keys"] == "data_digest (0123456789abcdef and fedcba)"
    smaller = fed(tmp_path / "smaller", {"workload": {"batch_per_replica": 4}})
    (pair,) = compared(one, smaller, "--across", "trial.workload")["pairs"]
    assert (pair["outcome"], pair["across"]) == ("not shown", "trial.workload.batch_per_replica (8 and 4)")
    assert pair["sentence"].endswith("Not the same work: only the speeds are compared.")
