"""What a person sees while a study runs: the numbers, the room they take, and what is left on the terminal."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console

from bench.cli.export import export
from bench.cli.shared import in_color
from bench.errors import UserError
from bench.following import Following
from bench.journal import Journal
from bench.live_view import Now, labels, view
from bench.progress import LineObserver, TerminalObserver
from bench.records import Phase, Plan, Repeat, Timing, Trial
from bench.standing import Standing
from bench.storage import seal
from tests.harness.test_replication import plan
from tests.reports.build import facts, launch_at, trial_result, window

ROOT = Path(__file__).parents[2]
TIMING = Timing(warmup_windows=1, windows=3, steps_per_window=5)
HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"


def trials(count: int = 1) -> list[Trial]:
    options = [{"step_ms": float(place)} for place in range(count)]
    return [Trial(backend="null", replicas=2, timing=TIMING, options=own) for own in options]


def begin(folder: Path, asked: list[Trial], **changed) -> Plan:
    """A run folder of which no launch has been made."""
    order = [(trial.id, repeat) for repeat in range(3) for trial in asked]
    planned = plan(study="a study", trials=asked, order=order, **changed)
    folder.mkdir()
    (folder / "plan.json").write_bytes(seal(planned))
    return planned


def launched(folder: Path, trial: Trial, number: int, rate: float, error: str | None = None) -> Repeat:
    """A launch of `rate` samples per second as its ranks and the parent leave it."""
    place = folder / trial.id / str(number)
    place.mkdir(parents=True)
    made = launch_at(rate, windows=3, facts=[facts()] * 2, error=error)
    for rank, windows in enumerate(made.ranks):
        with Journal(place, rank) as journal:
            for one in windows:
                journal.write(one)
    (repeat,) = trial_result("null", 2, [made])[0].repeats
    repeat = msgspec.structs.replace(repeat, trial_id=trial.id, repeat=number, journals=[], wall_ns=4_000_000_000)
    (place / "repeat.json").write_bytes(seal(repeat))
    return repeat


def test_only_whole_windows_of_all_ranks_after_the_warm_up_make_the_speed_of_a_running_launch(tmp_path):
    following = Following(tmp_path, 2, TIMING)
    following.look()
    assert (following.phase, following.windows, following.total, following.rate) == (None, 0, 5, None)
    with Journal(tmp_path, 0) as first, Journal(tmp_path, 1) as second:
        first.write(Phase(name="windows", at_ns=0))
        for index, duration_ms in enumerate((900, 800, 500, 500, 100)):
            first.write(window(index, duration_ms, 50))
        first.write(window(2, 1, 50, exchange=False))  # local: no sample is trained twice
        second.write(window(2, 1000, 50))
        following.look()
        assert (following.phase, following.windows, following.rate) == ("windows", 5, 100.0)
        second.write(window(3, 400, 50))
        text = msgspec.json.encode(window(4, 100, 50)) + b"\n"
        with (tmp_path / "rank-1.jsonl").open("ab") as half:
            half.write(text[:40])
            half.flush()
            following.look()
            assert following.rate == pytest.approx(200 / 1.5)
            assert following.left_s == 0.0
            half.write(text[40:])
        following.look()
        assert following.rate == pytest.approx(300 / 1.6)


def test_of_too_many_ranks_only_the_first_is_followed_and_no_speed_is_claimed(tmp_path):
    following = Following(tmp_path, 65, TIMING)
    with Journal(tmp_path, 0) as first:
        first.write(window(2, 500, 50))
    following.look()
    assert (following.windows, following.rate) == (1, None)


def test_a_study_stands_where_its_launches_left_it_also_after_it_was_interrupted(tmp_path):
    run = tmp_path / "runs" / "run"
    (tmp_path / "runs").mkdir()
    fast, slow = trials(2)
    begin(run, [fast, slow])
    launched(run, fast, 0, 99.0)  # before the interruption
    standing = Standing(run)
    assert standing.trials[fast.id].rates == [pytest.approx(99)]
    assert standing.launched(slow, launched(run, slow, 0, 50.0, error="rank 1 raised")) is None
    for number, rate in ((1, 100.0), (2, 101.0)):
        assert standing.launched(fast, launched(run, fast, number, rate)) == pytest.approx(rate)
    found = standing.trials[fast.id]
    assert found.estimate is not None and found.estimate.launches == 3
    assert (found.estimate.point, standing.trials[slow.id].error) == (
        pytest.approx(99.99667, rel=1e-6),
        "rank 1 raised",
    )
    assert standing.left_s(1.0, None) == (7.0, True)  # two launches of 4 s, of the first of which 1 s is over
    assert standing.left_s(9.0, 0.5) == (4.5, True)  # it takes longer than the others did


def test_guesses_of_trials_not_launched_yet_are_corrected_by_those_that_were(tmp_path):
    run = tmp_path / "run"
    fast, slow = trials(2)
    begin(run, [fast, slow])
    standing = Standing(run)
    assert standing.left_s(0.0, None) == (6.0, False)  # six launches of 1 s, as it guesses
    assert standing.left_s(3.0, 1.0) == (1.0 + 5 * 4.0, False)  # the first takes 4 s
    standing.launched(fast, launched(run, fast, 0, 100.0))
    assert standing.left_s(1.0, None) == (5 * 4.0 - 1.0, False)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (20, 5), (200, 60)])
def test_24_trials_with_long_names_fit_any_terminal_and_the_current_one_is_seen(tmp_path, width, height):
    run = tmp_path / "run"
    asked = [
        Trial(
            backend="null",
            replicas=2,
            timing=TIMING,
            options={"step_ms": float(place), "x" * 200: "\x1b[31m名前\u202e"},
        )
        for place in range(24)
    ]
    begin(run, asked, target_half_width=0.02, repeats=3, most_repeats=9)
    for number, rate in enumerate((99.0, 100.0, 101.0)):
        launched(run, asked[20], number, rate)
    now = Now(61, 72, asked[20].id, 3, Following(run / asked[20].id / "2", 2, TIMING), 0.0, 0.0)
    now.following.look()
    lines = [str(line) for line in view(Standing(run), labels(asked), now, 3725.0, (width, height))]
    assert len(lines) < height and max(map(cell_len, lines)) < width
    assert "\x1b" not in "".join(lines) and "\u202e" not in "".join(lines)
    assert lines[0].startswith("a study: launch 61"[: width - 2])
    if (width, height) == (80, 24):
        assert lines[0].startswith("a study: launch 61 of 72, 1 h 02 min gone, roughly ")
        assert lines[1].endswith("window 4 of 5, 101.0 samples/s so far")
        assert lines[2] == "each until its interval is \u00b12.0 % or less, 3 to 9 launches"
        (own,) = [line for line in lines if "100.0" in line]
        assert own.startswith("> ") and own.endswith("3 of 3    100.0 (97.5 to 102.5)        \u00b12.5 %")


@pytest.mark.quiet
def test_watching_costs_the_parent_less_than_two_percent_of_a_core(tmp_path):
    run = tmp_path / "run"
    asked = trials(24)
    begin(run, asked)
    repeat = launched(run, asked[0], 0, 100.0)
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    with TerminalObserver(console) as observer:
        observer.launching(1, 72, asked[0], 0, run / asked[0].id / "0")
        began = time.process_time()
        for _ in range(20):
            observer.tick()  # once a second
        assert (time.process_time() - began) / 20 < 0.02
        observer.launched(asked[0], repeat)
    assert "\x1b[31m" not in console.file.getvalue()


def test_a_line_a_launch_says_its_speed_and_then_the_interval_without_escape_codes(tmp_path):
    run, (trial,) = tmp_path / "run", trials()
    begin(run, [trial])
    console = Console(file=io.StringIO(), force_terminal=False, width=80)
    with LineObserver(console) as observer:
        for number, (rate, error) in enumerate(
            ((99.0, None), (100.0, None), (101.0, None), (1.0, "[red]rank 1\x1b[0m"))
        ):
            observer.launching(number + 1, 4, trial, number, run / trial.id / str(number))
            observer.launched(trial, launched(run, trial, number, rate, error))
    lines = [line.partition(" ")[2] for line in console.file.getvalue().splitlines()]
    assert lines[0] == "launch 1 of 4: null \u00d72: 99.00 samples/s in 4.0 s"
    assert lines[2].endswith("101.0 samples/s in 4.0 s; over 3 launches 100.0 (97.5 to 102.5)")
    assert lines[3] == "launch 4 of 4: null \u00d72: [red]rank 1\\u001b[0m"


def test_no_escape_codes_for_who_does_not_want_or_understand_them(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert in_color(Terminal()) and not in_color(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not in_color(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not in_color(Terminal())


# ---- a real study on a real terminal ----------------------------------------------------------------------------

STUDY = """
name: watched
launcher: local
repeats: 2
backend: 'null'
options: {step_ms: 20}
workload: {sequence_length: 16, batch_per_replica: 4}
timing: {warmup_windows: 1, windows: 8, steps_per_window: 10}
"""


# The second launch, of two replicas, takes 18 s if nobody ends it.
LONG = (
    STUDY.replace("repeats: 2", "repeats: 1").replace("step_ms: 20", "step_ms: [5, 200]")
    + "matrix: {replicas: [2, 1]}\n"
)


def on_a_terminal(folder: Path, until: bytes | None = None, **environ: str) -> tuple[int, bytes]:
    """Status and what a terminal of 80x24 was sent; the table goes to a file. Ctrl-C is typed once `until` was seen."""
    (folder / "study.yaml").write_text(LONG if until else STUDY)
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    table = (folder / "table.txt").open("wb")
    argv = [
        sys.executable,
        "-P",
        "-m",
        "bench",
        "run",
        "study.yaml",
        "--runs",
        folder.parent / "runs",
        *(() if until else ("--quick",)),
    ]
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"} | environ
    process = subprocess.Popen(
        argv, cwd=folder, stdin=child, stdout=table, stderr=child, env=env, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(child)
    table.close()
    said = b""
    while True:
        try:
            said += os.read(parent, 65_536)
        except OSError:  # nobody has the terminal open any more
            break
        if until and re.search(until, said, re.DOTALL):
            os.write(parent, b"\x03")
            until = None
    os.close(parent)
    return process.wait(), said


def test_ctrl_c_at_the_live_view_gives_the_terminal_back_as_it_was(tmp_path):
    measuring = rb"launch 2 of 2.*> null \xc3\x972: measuring, window.*samples/s so far"  # else it ends by itself
    status, said = on_a_terminal(tmp_path, until=measuring)
    assert status == 130
    assert b"1 of 1" in said
    assert said.count(HIDE) == said.count(SHOW) and said.rfind(SHOW) > said.rfind(HIDE)
    last = said[said.rfind(SHOW) :]
    assert b"\x1b[2K" in last  # the view is erased
    assert last.endswith(b"\r\n") and b"finished launches are kept: paceline run --resume " in last


def test_with_no_color_a_terminal_gets_a_line_a_launch_and_no_escape_code(tmp_path):
    status, said = on_a_terminal(tmp_path, NO_COLOR="1")
    table = (tmp_path / "table.txt").read_text().splitlines()
    assert status == 0 and b"\x1b" not in said and not any("\x1b" in line for line in table)
    assert said.decode().count("launch 1 of 1: null \u00d72: ") == 1
    assert table[-1].endswith("report.html") and max(map(cell_len, table[:-1])) <= 80
    run = Path(table[-1]).parent
    assert export.main([str(run), "--to", "parquet"], standalone_mode=False) is None
    assert (run / "exports" / "parquet" / "rows.parquet").is_file()
    with pytest.raises(UserError, match="--to charts writes files: give a place for them with -o"):
        export.main([str(run), "--to", "charts", "-o", "-"], standalone_mode=False)
    with pytest.raises(UserError, match="has no trace: `paceline trace"):
        export.main([str(run), "--to", "trace"], standalone_mode=False)
    with pytest.raises(UserError, match=f"{run}/plan.json: File exists"):
        export.main([str(run), "--to", "md", "-o", str(run / "plan.json" / "x")], standalone_mode=False)
