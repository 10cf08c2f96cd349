"""Who is to blame for a launch that failed: from what ranks and launcher left behind."""

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from bench import assemble, collect, journal
from bench.errors import TrialError, UserError
from bench.launch.execute import Ended
from bench.launch.watch import Watch
from bench.records import Assignment, Phase, RankInfo, Trial, Window

ASSIGNMENT = Assignment(
    trial=Trial(backend="null"), trial_id="null-2", repeat=0, ranks=2, local_replicas=1, data="d", checkpoint="c"
)


def leave(folder: Path, rank: int, phase: str = "windows", error: journal.RankError | None = None) -> None:
    with journal.Journal(folder, rank) as lines:
        lines.write(RankInfo(rank=rank, host="h", pid=1, launcher="local"))
        lines.write(Phase(name=phase, at_ns=1))
        if error is not None:
            lines.fail(error)


def said(kind: str, sentence: str, rank: int = 0, ended_by: str | None = None) -> journal.RankError:
    return journal.RankError(rank=rank, phase="windows", kind=kind, sentence=sentence, traceback="", ended_by=ended_by)


def reason(folder: Path, ended: Ended | None = None) -> str:
    repeat = collect.collect(folder, ASSIGNMENT, [], "", ended or Ended(1, None, 1))
    assert repeat.error is not None
    return repeat.error.partition(" (log")[0]


def test_a_rank_that_said_what_went_wrong_comes_before_one_that_lost_its_peer(tmp_path):
    leave(tmp_path, 0, error=said("HorovodInternalError", "HorovodInternalError: Connection closed by peer"))
    leave(tmp_path, 1, error=said("ValueError", "ValueError: bad", rank=1))
    assert reason(tmp_path) == "rank 1 failed in windows: ValueError: bad"


def test_a_rank_that_went_without_a_word_comes_before_one_that_lost_its_peer(tmp_path):
    leave(tmp_path, 0, error=said("RuntimeError", "RuntimeError: Connection reset by peer"))
    leave(tmp_path, 1)
    assert reason(tmp_path) == "rank 1 died in windows without a word"


def test_a_rank_that_was_told_to_end_is_not_to_blame(tmp_path):
    leave(tmp_path, 0, error=said("", "ended by SIGTERM", ended_by="SIGTERM"))
    leave(tmp_path, 1)
    assert reason(tmp_path) == "rank 1 died in windows without a word"


def test_of_several_that_went_without_a_word_the_one_that_was_seen_to_go_first_is_named(tmp_path):
    leave(tmp_path, 0)
    leave(tmp_path, 1)
    assert reason(tmp_path, Ended(1, None, 1, gone=(1,))) == "rank 1 died in windows without a word"
    assert reason(tmp_path) == "rank 0 died in windows and rank 1 died in windows without a word"


def test_the_rank_that_is_seen_gone_first_stays_the_first_when_the_others_follow(tmp_path):
    sleeps = [sys.executable, "-c", "import time; time.sleep(60)", str(tmp_path)]
    with subprocess.Popen(sleeps) as zero, subprocess.Popen(sleeps) as one:
        for rank, process in enumerate((zero, one)):
            with journal.Journal(tmp_path, rank) as lines:
                lines.write(RankInfo(rank=rank, host=socket.gethostname(), pid=process.pid, launcher="local"))
        watch = Watch(tmp_path, 2, ASSIGNMENT.trial, 1.0)
        assert not watch.has_failed()
        for process in (one, zero):
            process.kill()
            process.wait()
            assert (watch.has_failed(), watch.gone) == (True, (1,))


def test_a_rank_that_is_told_to_end_while_it_says_what_went_wrong_finishes_its_sentence(tmp_path, monkeypatch):
    """The other thread ends the process as soon as `ended_by` returns."""
    opened, write = threading.Event(), Path.write_bytes

    def slowly(path: Path, data: bytes) -> int:
        path.touch()
        opened.set()
        time.sleep(0.2)
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", slowly)
    with journal.Journal(tmp_path, 0) as lines:
        failing = threading.Thread(target=lines.fail, args=(said("ValueError", "ValueError: bad"),))
        failing.start()
        opened.wait()
        lines.ended_by("SIGTERM")
        found = journal.read_error(tmp_path, 0)
        failing.join()
    assert found is not None and found.sentence == "ValueError: bad"


def test_a_number_that_no_column_of_windows_holds_is_damage(tmp_path):
    window = dict.fromkeys(Window.__struct_fields__, 1) | {"type": "window", "warmup": False, "exchange": True}
    assert isinstance(journal.decode_line(msgspec.json.encode(window)), Window)
    with pytest.raises(TrialError, match=r"\$\.duration_ns"):
        journal.decode_line(msgspec.json.encode(window | {"duration_ns": 2**63}))


def test_a_rank_that_never_came_is_named(tmp_path):
    leave(tmp_path, 0, error=said("", "ended by SIGTERM", ended_by="SIGTERM"))
    assert reason(tmp_path).startswith("rank 1 never started")


def test_when_nobody_came_the_ranks_own_sentence_in_the_launchers_output_is_the_reason(tmp_path):
    (tmp_path / "launcher.txt").write_text("[0]<stderr>:paceline: this host sees nothing\nTraceback: launcher failed\n")
    assert reason(tmp_path) == "no rank started: the launcher ended with exit status 1: this host sees nothing"


def test_when_nobody_came_the_launchers_last_line_is_the_reason(tmp_path):
    (tmp_path / "launcher.txt").write_text("ssh: connect to host h2: refused\n\n")
    assert (
        reason(tmp_path) == "no rank started: the launcher ended with exit status 1: ssh: connect to host h2: refused"
    )


def test_a_launch_that_took_too_long_says_so_with_the_rank(tmp_path):
    leave(tmp_path, 0)
    leave(tmp_path, 1, phase="build", error=said("", "ended by SIGTERM", rank=1, ended_by="SIGTERM"))
    late = Ended(1, "not finished within 4 s", 1)
    assert reason(tmp_path, late) == "not finished within 4 s: rank 0 in windows, rank 1 in build"


def test_a_damaged_rank_file_is_the_reason_and_nothing_of_it_is_used(tmp_path):
    leave(tmp_path, 0, phase="end")
    leave(tmp_path, 1, phase="end")
    path = tmp_path / "rank-1.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"pid":1', b'"pid":"x"'))
    assert reason(tmp_path).startswith("rank-1.jsonl line 1 is damaged")


def test_another_schema_is_refused_by_its_number(tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_bytes(msgspec.json.encode({"schema": 99}))
    with pytest.raises(UserError, match="schema 99, this paceline reads 3; use the paceline that wrote it"):
        assemble.read_plan(tmp_path)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="no plan.json; this is not a run folder"):
        assemble.read_plan(tmp_path)
