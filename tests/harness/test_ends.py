"""A rank ends when its parent is gone, and says so when it is told to end. Real processes, shortened waits."""

import os
import signal
import subprocess
import sys
import time

import msgspec
import pytest

from bench.launch import execute
from bench.launch.commands import Command
from bench.launch.deadlines import deadline_s
from bench.launch.watch import Watch
from bench.records import RankInfo, Timing, Trial

WATCH = """
import sys, time
from pathlib import Path
from bench import lease
lease.CHECK_S, lease.STALE_S = 0.05, 0.4
lease.watch(Path(sys.argv[1]))
print("watching", flush=True)
time.sleep(60)
"""

# The main thread waits inside C, where no Python signal handler runs; as in a collective whose peer is gone.
BLOCKED = """
import ctypes, sys
from pathlib import Path
from bench.termination import end_on_sigterm
end_on_sigterm(lambda: Path(sys.argv[1]).write_text("ended"))
print("ready", flush=True)
read, write = __import__("os").pipe()
libc = ctypes.CDLL(None)
while True:
    libc.read(read, ctypes.create_string_buffer(1), 1)
"""


def start(program: str, path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-P", "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline()
    return process


def test_a_rank_ends_itself_when_its_lease_is_no_longer_renewed_however_the_time_of_day_jumps(tmp_path):
    lease = tmp_path / "lease"
    lease.touch()
    with start(WATCH, lease) as process:
        renewed, longest_s = time.monotonic(), 0.0
        for number in range(20):
            jumped = time.time() + (-1) ** number * 1e6  # the last one is of the past, and no older than the others
            os.utime(lease, (jumped, jumped))
            longest_s, renewed = max(longest_s, time.monotonic() - renewed), time.monotonic()
            # where this test itself did not get to renew it in time, the rank is right to end
            assert process.poll() is None or longest_s > 0.3, "it ended although its lease was renewed"
            time.sleep(0.05)
        assert process.wait(timeout=60) == 76


def test_a_lease_that_is_removed_ends_the_rank(tmp_path):
    lease = tmp_path / "lease"
    lease.touch()
    with start(WATCH, lease) as process:
        lease.unlink()
        assert process.wait(timeout=60) == 76


def test_a_launcher_that_fails_ends_those_of_the_other_hosts_and_its_status_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "GRACE_S", 0.0)
    commands = [
        Command((sys.executable, "-c", code), dict(os.environ)) for code in ("import time; time.sleep(60)", "exit(3)")
    ]
    ended = execute.execute(commands, Watch(tmp_path, 2, Trial(backend="null"), 1.0), 60.0, tmp_path / "lease")
    assert (ended.returncode, ended.overdue) == (3, None)
    assert ended.wall_ns < 20e9


def test_the_exchange_timed_alone_is_given_longer_than_a_window():
    """Its 26 readings write nothing until the last; over a slow link each takes as long as a step of 3 s."""
    trial = Trial(backend="null", timing=Timing(warmup_windows=1, windows=2, steps_per_window=1, local_windows=True))
    windows_ns = [3_000_000_000, 100_000_000] * 4
    assert deadline_s(trial, "windows", windows_ns[:-1], 1.0) == 60.0
    assert deadline_s(trial, "windows", windows_ns, 1.0) == 60.0 + 2 * 26 * 3.0


def test_a_rank_that_died_is_noticed_on_hosts_whose_processes_can_be_seen_only(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    info = RankInfo(rank=0, host="host0", pid=ended.pid, launcher="horovodrun")
    (tmp_path / "rank-0.jsonl").write_bytes(msgspec.json.encode(info) + b"\n")
    trial = Trial(backend="null", replicas=1)
    assert Watch(tmp_path, 1, trial, 1.0, frozenset({"host0"})).has_failed()
    assert not Watch(tmp_path, 1, trial, 1.0).has_failed()


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_a_rank_blocked_in_c_still_says_its_last_words(tmp_path, number):
    said = tmp_path / "said"
    with start(BLOCKED, said) as process:
        process.send_signal(number)
        assert process.wait(timeout=60) == 143
    assert said.read_text() == "ended"
