"""A rank ends itself when its parent is gone: the parent touches a file, the rank watches that it changes.

Ages are taken on the watcher's own monotonic clock, so hosts need not agree on the time of day.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

RENEW_S = 2.0
CHECK_S = 5.0
STALE_S = 30.0
EXIT_ABANDONED = 76


def renew(lease: Path) -> None:
    """Says that the parent is alive."""
    lease.touch()


def watch(lease: Path) -> None:
    """Starts a thread that ends this process, at once and without cleaning up, when `lease` stays unchanged."""
    threading.Thread(target=_watch, args=(lease,), daemon=True, name="lease").start()


def _watch(lease: Path) -> None:
    seen, since = _stamp(lease), time.monotonic()
    while True:
        time.sleep(CHECK_S)
        stamp = _stamp(lease)
        if stamp != seen:
            seen, since = stamp, time.monotonic()
        elif time.monotonic() - since > STALE_S:
            sys.stderr.write(f"paceline: {lease} has not been renewed for {STALE_S:.0f} s: the parent is gone\n")
            os._exit(EXIT_ABANDONED)


def _stamp(lease: Path) -> int | None:
    try:
        return lease.stat().st_mtime_ns
    except OSError:
        return None
