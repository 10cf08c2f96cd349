from __future__ import annotations

import csv
import io
import itertools
import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import msgspec
import pytest

from reports import render
from tests.reports.build import ENVIRONMENT, by_hand, facts, launch_at, trial_result, write_run

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("format", ["csv", "md", "text"])
def test_the_run_made_by_hand_reads_as_its_golden_text(tmp_path, format):
    assert render(by_hand(tmp_path), format) == (GOLDEN / f"by_hand.{format}").read_bytes().decode()


def test_json_holds_the_same_numbers_as_csv(tmp_path):
    by_hand(tmp_path)
    document = json.loads(render(tmp_path, "json"))
    lines = list(csv.DictReader(io.StringIO(render(tmp_path, "csv"), newline="")))
    as_text = [{name: "" if value is None else str(value) for name, value in row.items()} for row in document["rows"]]
    assert lines == as_text
    assert document["rows"][2]["samples_per_second"] == 80.0
    assert document["rows"][2]["efficiency"] == 0.8


def test_infinite_losses_leave_no_infinity_in_the_json(tmp_path):
    # 1e308 against 1e-308 is a relative difference that no double can hold.
    trials = [trial_result("torch_ddp", 2, [launch_at(100, losses=[1e-308])]),
              trial_result("torch_horovod", 2, [launch_at(100, losses=[1e308])])]  # fmt: skip
    write_run(tmp_path, trials)
    text = render(tmp_path, "json")
    assert "Infinity" not in text
    assert json.loads(text)["rows"][1]["loss_difference"] is None


def test_a_cell_that_a_spreadsheet_would_run_is_defused(tmp_path):
    write_run(tmp_path, [trial_result("=HYPERLINK(1)", 2, status="failed", reason="@SUM(A1)\r\n-2+3")])
    line = next(csv.DictReader(io.StringIO(render(tmp_path, "csv"), newline="")))
    assert line["backend"] == "'=HYPERLINK(1)"
    assert line["reason"] == "'@SUM(A1)\r\n-2+3"


def test_markdown_reads_nothing_into_a_name(tmp_path):
    hostile = trial_result("a|b<i>`c` @you $x$ ~~y~~", 2, status="failed", reason="line one\n| line two |")
    text = render(write_run(tmp_path, [hostile], study="_1_. <!-- #1"), "md")
    (row, whole) = [line for line in text.splitlines() if line.startswith("| a")]
    assert row == r"| a\|b&lt;i>\`c\` @<!-- -->you \$x\$ \~\~y\~\~" " \u00d72 | \u2013 | \u2013 | 0 | failed |"
    assert whole.startswith(r"| a\|b&lt;i>\`c\` ")
    assert r"failed, line one \| line two \|" in text
    assert text.startswith("### \\_1\\_. &lt;!-- #1\n")


def test_a_pull_request_shows_verdict_and_speeds_and_folds_the_rest(tmp_path):
    text = render(by_hand(tmp_path), "md")
    shown, _, folded = text.partition("<details>")
    assert "No fastest trial shown: torch_ddp has the highest mean" in shown
    assert "| torch_horovod \u00d72 | 80.00 (45.96 to 139.26) | 80 % (46 to 139) | 3 |  |" in shown
    assert "rank 1 was killed by signal 9" in shown
    assert max(map(len, shown.splitlines())) < 500
    assert "step p95 ms" in folded and text.count("<details>") == text.count("</details>") == 2


def test_a_comment_holds_the_markdown_of_24_trials_with_long_names(tmp_path):
    # GitHub's limit is 65,536 characters.
    trials = [trial_result("x" * 9_000 + str(place), 2, [launch_at(100)], status="failed", reason="y" * 9_000)
              for place in range(24)]  # fmt: skip
    assert len(render(write_run(tmp_path, trials), "md")) < 65_536


HOSTILE = ["x" * 10_000, "\x1b[31mred\x1b[0m", "\u202eevil", "日本語の名前がとても長いので切り詰められる", "🚀" * 40]


@pytest.mark.parametrize("name", HOSTILE, ids=["long", "escape", "override", "wide", "emoji"])
def test_the_terminal_table_fits_80_columns_and_sends_no_escape(tmp_path, name):
    trials = [trial_result(name, 2, [launch_at(100)]), trial_result("torch_ddp", 2, status="failed", reason=name * 3)]
    text = render(write_run(tmp_path, trials), "text")
    wide = [line for line in text.splitlines() if sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in line) > 80]
    assert [line for line in wide if not line.startswith(("torch_ddp, 2", "  ", "Nothing"))] == []
    assert not any(unicodedata.category(character) in ("Cc", "Cf") for character in text.replace("\n", ""))


def test_24_trials_of_three_axes_keep_their_names_and_the_table_fits_80_columns(tmp_path):
    axes = itertools.product(("ring", "tree"), ("float32", "bfloat16"), ("float32", "bfloat16"), (2, 4, 8))
    trials = [
        trial_result("torch_ddp", ranks, [launch_at(100 + place, facts=[facts(compute_dtype=compute, wire_dtype=wire)])] * 3,
                     trial={"allreduce": algorithm, "compute": compute, "wire": wire})
        for place, (algorithm, compute, wire, ranks) in enumerate(axes)
    ]  # fmt: skip
    lines = render(
        write_run(tmp_path, trials, environment=msgspec.structs.replace(ENVIRONMENT, cores=8)), "text"
    ).splitlines()
    assert max(map(len, lines)) <= 80
    names = [line for line in lines if line.startswith("torch_ddp (")]
    assert len(names) == len(set(names)) == 8
    assert names[-1] == "torch_ddp (compute bfloat16, wire bfloat16, tree)"
    numbers = lines[lines.index(names[-1]) + 1 :][:3]
    assert [line.split()[:3] for line in numbers] == [
        ["\u00d72", "3", "121.0"],
        ["\u00d74", "3", "122.0"],
        ["\u00d78", "3", "123.0"],
    ]


def test_the_verdict_is_the_last_that_the_terminal_shows(tmp_path):
    last = " ".join(render(by_hand(tmp_path), "text").rpartition("\n\n")[2].split())
    assert last.startswith(
        "No fastest trial shown: torch_ddp has the highest mean, but is not shown to be faster than torch_horovod"
    )
    assert last.endswith("lies above 1.02 or below 0.98. 12 gates hold.")


def test_colour_changes_nothing_but_colour(tmp_path):
    coloured = plain = render(by_hand(tmp_path), "terminal")
    for code in ("\x1b[1m", "\x1b[31m", "\x1b[2m", "\x1b[0m"):
        plain = plain.replace(code, "")
    assert "\x1b[31m" in coloured
    assert plain == render(tmp_path, "text")


def test_importing_reports_loads_no_plotting_and_no_tables():
    code = (
        "import sys, reports; reports.FORMATS;"
        "print([name for name in ('matplotlib', 'pandas', 'pyarrow', 'numpy', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_exporting_loads_no_plotting(tmp_path):
    code = f"import sys, pathlib, reports; reports.render(pathlib.Path({str(tmp_path)!r}), 'csv');" \
        "print('matplotlib' in sys.modules, 'jinja2' in sys.modules)"  # fmt: skip
    by_hand(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
