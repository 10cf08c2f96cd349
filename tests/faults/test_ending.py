"""What ends a launch ends all of it, at whatever moment, and nobody else. Real processes, shortened waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest

from bench import journal, lease, stacks, storage, termination
from bench.launch import execute
from bench.launch.commands import Command
from bench.launch.deadlines import START_S, deadline_s
from bench.launch.watch import Watch
from bench.records import Phase, RankInfo, Trial, Workload
from bench.storage import write_atomically

NULL = Trial(backend="null")


def command(code: str, folder: Path, **variables: str) -> Command:
    return Command((sys.executable, "-P", "-c", code, str(folder)), {**os.environ, **variables})


STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
PARENT = f"""
import os, sys
from pathlib import Path
from bench.cli.shared import on_termination
from bench.launch import execute
from bench.launch.commands import Command
from bench.launch.watch import Watch
from bench.records import Trial
folder = Path(sys.argv[1])
stubborn = Command((sys.executable, "-c", {STUBBORN!r}, str(folder)), dict(os.environ))
def tick():
    if "up" in (folder / "launcher.txt").read_text():
        raise RuntimeError("it must be ended")
end = execute._end
def told(processes, folder):
    print("ending", flush=True)
    end(processes, folder)
execute._end = told
with on_termination():
    execute.execute([stubborn], Watch(folder, 1, Trial(backend="null"), 1.0), 60.0, folder / "lease", tick)
"""


def test_ctrl_c_while_a_launch_is_being_ended_leaves_nobody(tmp_path: Path) -> None:
    argv = [sys.executable, "-P", "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == "ending\n"
        (rank,) = psutil.Process(parent.pid).children()
        parent.send_signal(signal.SIGINT)
        _, said = parent.communicate(timeout=60)
    assert "KeyboardInterrupt" in said  # it came, after the end
    assert not rank.is_running() or rank.status() == psutil.STATUS_ZOMBIE


def test_a_signal_in_an_undisturbed_block_is_delivered_at_its_end() -> None:
    done = False

    def interrupted(number: int, frame: object) -> None:
        raise InterruptedError(number)

    before = signal.signal(signal.SIGTERM, interrupted)
    try:
        with pytest.raises(InterruptedError), termination.undisturbed():
            os.kill(os.getpid(), signal.SIGTERM)
            done = True
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done


STANDS = """
import os, sys, time
from pathlib import Path
import msgspec
from bench import journal, stacks
from bench.records import Phase, RankInfo
import socket
folder = Path(sys.argv[1])
stacks.offer(folder, 0)
with journal.Journal(folder, 0) as lines:
    lines.write(RankInfo(rank=0, host=socket.gethostname(), pid=os.getpid(), launcher="local"))
    lines.write(Phase(name="windows", at_ns=1))
    time.sleep(60)
"""


def test_a_launch_whose_time_is_up_leaves_the_stacks_of_its_ranks_and_no_rank(tmp_path: Path) -> None:
    for timeout_s in (2, 10, 50):  # until the rank had the time to get there
        folder = tmp_path / str(timeout_s)
        folder.mkdir()
        watch = Watch(folder, 1, NULL, 1.0)
        ended = execute.execute([command(STANDS, folder)], watch, timeout_s, folder / "lease")
        if journal.last_phase(journal.read(folder, 0)) == "windows":
            break
    assert ended.overdue == f"not finished within {timeout_s} s"
    assert stacks.innermost(stacks.stack_file(folder, 0).read_text()) == "<module> (<string>:13)"
    assert lease._name(folder / "lease") == lease.OVER


def test_a_process_that_has_got_the_number_of_a_rank_is_not_taken_for_it(tmp_path: Path) -> None:
    """Ours: the signal that asks a rank for its stacks would end it."""
    info = RankInfo(rank=0, host="here", pid=os.getpid(), launcher="local")
    lines = (info, Phase(name="windows", at_ns=1))
    (tmp_path / "rank-0.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    clock = iter(range(0, 10_000, 10))
    watch = Watch(tmp_path, 1, NULL, 1.0, frozenset({"here"}), lambda: float(next(clock)))
    assert watch.has_failed()
    assert watch.save_stacks() == {0: ""}


def test_a_rank_that_never_arrived_is_named_after_the_time_that_the_start_may_take(tmp_path: Path) -> None:
    (tmp_path / "rank-0.jsonl").write_bytes(
        b"".join(
            msgspec.json.encode(line) + b"\n"
            for line in (RankInfo(rank=0, host="elsewhere", pid=1, launcher="local"), Phase(name="build", at_ns=1))
        )
    )
    clock = iter((0, 0, 2 * START_S, 2 * START_S + 1, *range(1_000, 2_000, 8)))
    watch = Watch(tmp_path, 2, NULL, 2.0, frozenset({"here"}), lambda: float(next(clock)))
    assert watch.hung() is None  # a rank has written since it looked last
    assert watch.hung() is None
    assert watch.hung() == "hung: nothing was written for 361 s; rank 1 never arrived"


def test_a_phase_is_given_the_longer_the_larger_the_model_the_slower_its_windows_and_the_more_patient_the_study() -> (
    None
):
    """The embeddings of `tiny` have 3,906,816 elements, its two layers 393,216; `base` has 108,375,552."""
    base = Trial(backend="null", workload=Workload(model="base"))
    assert deadline_s(NULL, None, [], 1.0) == 180.0
    assert deadline_s(NULL, "build", [], 1.0) == pytest.approx(120.0 + 4.300032)
    assert deadline_s(base, "finish", [], 1.0) == pytest.approx(120.0 + 108.375552)
    assert deadline_s(NULL, "warmup", [], 1.0) == 300.0
    assert deadline_s(NULL, "windows", [10**9, 3 * 10**9, 2 * 10**9], 1.0) == 20 * 3.0
    assert deadline_s(NULL, "windows", [10**9, 10**8], 1.0) == 30.0
    assert deadline_s(NULL, "windows", [10**9, 10**8], 0.1) == pytest.approx(3.0)


WATCHED = """
import sys, time
from pathlib import Path
from bench import lease
lease.CHECK_S = 0.05
lease.watch(Path(sys.argv[1]))
print("watching", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("after", [lease.begin, lease.end], ids=["another launch", "the launch is over"])
def test_a_rank_whose_lease_is_no_longer_its_own_ends_itself(tmp_path: Path, after: object) -> None:
    """As one on another host, whose parent was killed and whose launch is made anew, or was given up."""
    path = tmp_path / "lease"
    lease.begin(path)
    argv = [sys.executable, "-P", "-c", WATCHED, str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as rank:
        assert rank.stdout is not None and rank.stdout.readline()
        lease.renew(path)
        with pytest.raises(subprocess.TimeoutExpired):
            rank.wait(timeout=0.3)
        after(path)  # type: ignore[operator]
        assert rank.wait(timeout=60) == lease.EXIT_ABANDONED
        assert "is another launch's: this one is over" in rank.communicate()[1]


def test_a_launcher_that_is_killed_is_blamed_and_a_rank_is_not_taken_for_one(tmp_path: Path) -> None:
    code = "import os; os.kill(os.getpid(), 9)"

    def overdue(**variables: str) -> str | None:
        given = command(code, tmp_path, **variables)
        return execute.execute([given], Watch(tmp_path, 1, NULL, 1.0), 60.0, tmp_path / "lease").overdue

    assert overdue() == "the launcher was killed by signal 9 (Killed)"
    assert overdue(PACELINE_RANK="0") is None


def test_ranks_that_a_killed_launcher_leaves_behind_are_ended(tmp_path: Path) -> None:
    """As torchrun's, which are in sessions of their own and train on."""
    left = (
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', sys.argv[1]], start_new_session=True)"
    )
    code = f"import os, subprocess, sys, time; rank = {left}; print(rank.pid, flush=True); time.sleep(0.5); os.kill(os.getpid(), 9)"
    ended = execute.execute([command(code, tmp_path)], Watch(tmp_path, 1, NULL, 1.0), 60.0, tmp_path / "lease")
    assert ended.overdue == "the launcher was killed by signal 9 (Killed)"
    rank = int((tmp_path / "launcher.txt").read_text().split()[0])
    assert not psutil.pid_exists(rank) or psutil.Process(rank).status() == psutil.STATUS_ZOMBIE


FULL = """
import resource, sys
from pathlib import Path
from bench import journal
from bench.records import Phase
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
with journal.Journal(Path(sys.argv[1]), 0) as lines:
    try:
        for _ in range(3):
            lines.write(Phase(name="windows", at_ns=1))
    except OSError as error:
        print(error.strerror)
"""


def test_a_line_that_did_not_fit_is_an_error_and_not_a_damaged_file(tmp_path: Path) -> None:
    """The system writes a part of it and says so; only the rest is refused."""
    done = subprocess.run([sys.executable, "-P", "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "File too large\n"
    assert journal.read(tmp_path, 0) == [Phase(name="windows", at_ns=1)] * 2


def test_a_file_that_could_not_be_written_leaves_no_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    write_atomically(tmp_path / "result", b"old")
    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "result", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("result", b"old")]


GRAPH = """Graph execution error:

Detected at node bert.bias defined at (most recent call last):
  File "worker.py", line 58, in main

Horovod has been shut down. This was caused by an exception on one of the ranks.
\t [[{{node bert.bias}}]] [Op:__inference_whole_step_2325]"""


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (GRAPH, "OSError: Horovod has been shut down. This was caused by an exception on one of the ranks."),
        ("first\nsecond", "OSError: first"),
        ("only this:", "OSError: only this:"),
        ("", "OSError: "),
    ],
)
def test_the_sentence_of_an_error_says_what_and_not_where_in_the_graph(message: str, sentence: str) -> None:
    assert journal.RankError.of(OSError(message), 0, "windows").sentence == sentence
