"""A rank ends itself when its parent is gone, or has ended the launch: the parent touches a file that names the launch,
and the rank watches that it changes, and that it still names the same.

Ages are taken on the watcher's own monotonic clock, so hosts need not agree on the time of day.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from pathlib import Path

from bench.storage import write_atomically

RENEW_S = 2.0
CHECK_S = 5.0
STALE_S = 30.0
EXIT_ABANDONED = 76
OVER = b"over"


def begin(lease: Path) -> None:
    """Names a new launch: ranks of an earlier one, whose parent was killed, end themselves."""
    write_atomically(lease, secrets.token_hex(8).encode())


def renew(lease: Path) -> None:
    """Says that the parent is alive."""
    lease.touch()


def end(lease: Path) -> None:
    """Tells ranks that no signal of this host reaches that their launch is over."""
    write_atomically(lease, OVER)


def watch(lease: Path) -> None:
    """Starts a thread that ends this process, at once and without cleaning up, when `lease` stays unchanged or names
    another launch."""
    threading.Thread(target=_watch, args=(lease,), daemon=True, name="lease").start()


def _watch(lease: Path) -> None:
    seen, since, named = _stamp(lease), time.monotonic(), _name(lease)
    while True:
        time.sleep(CHECK_S)
        stamp, name = _stamp(lease), _name(lease)
        if name and named and name != named:
            _leave(f"{lease} is another launch's: this one is over")
        if stamp != seen:
            seen, since, named = stamp, time.monotonic(), named or name
        elif time.monotonic() - since > STALE_S:
            _leave(f"{lease} has not been renewed for {STALE_S:.0f} s: the parent is gone")


def _leave(sentence: str) -> None:
    sys.stderr.write(f"paceline: {sentence}\n")
    os._exit(EXIT_ABANDONED)


def _stamp(lease: Path) -> int | None:
    try:
        return lease.stat().st_mtime_ns
    except OSError:
        return None


def _name(lease: Path) -> bytes:
    """Empty where it cannot be read just now."""
    try:
        return lease.read_bytes()
    except OSError:
        return b""
