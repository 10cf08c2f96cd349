"""A rank that is told to end says so before it goes, even while its main thread waits inside a collective; and what
must be done to its end is, whoever says in the middle of it that the process is to end.

Python runs signal handlers in the main thread only, and between two byte codes only; the wake-up descriptor is
written at once, and a thread reads it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXIT_TERMINATED = 128 + signal.SIGTERM
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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


@contextmanager
def undisturbed() -> Iterator[None]:
    """The signals that end a process wait until the block is left; the first of them then counts. In other threads than
    the main one, which signals never reach, this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    before = {number: signal.getsignal(number) for number in ENDING}
    waiting = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in waiting:
            signal.signal(number, lambda number, frame: arrived.append(number))
        yield
    finally:
        for number, handler in waiting.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])
