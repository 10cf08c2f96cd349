"""A rank that is told to end says so before it goes, even while its main thread waits inside a collective.

Python runs signal handlers in the main thread only, and between two byte codes only; the wake-up descriptor is
written at once, and a thread reads it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

EXIT_TERMINATED = 128 + signal.SIGTERM


def end_on_sigterm(last_words: Callable[[], None]) -> None:
    """From now on SIGTERM calls `last_words` in a thread, then ends the process. Main thread only."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_wait, args=(reader, last_words), daemon=True, name="termination").start()


def _wait(reader: int, last_words: Callable[[], None]) -> None:
    while signal.SIGTERM not in os.read(reader, 64):
        pass
    try:
        last_words()
    finally:
        os._exit(EXIT_TERMINATED)
