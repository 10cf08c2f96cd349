"""A rank ends when its parent is gone, and says so when it is told to end. Real processes, shortened waits."""

import os
import signal
import subprocess
import sys
import time

import pytest

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


def test_a_rank_ends_itself_when_its_lease_is_no_longer_renewed(tmp_path):
    lease = tmp_path / "lease"
    lease.touch()
    with start(WATCH, lease) as process:
        for _ in range(20):
            os.utime(lease)
            assert process.poll() is None, "it ended although its lease was renewed"
            time.sleep(0.05)
        assert process.wait(timeout=10) == 76


def test_a_lease_that_is_removed_ends_the_rank(tmp_path):
    lease = tmp_path / "lease"
    lease.touch()
    with start(WATCH, lease) as process:
        lease.unlink()
        assert process.wait(timeout=10) == 76


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_a_rank_blocked_in_c_still_says_its_last_words(tmp_path, number):
    said = tmp_path / "said"
    with start(BLOCKED, said) as process:
        process.send_signal(number)
        assert process.wait(timeout=10) == 143
    assert said.read_text() == "ended"
