"""The one clock: monotonic, and the only place that sleeps for a programmed time."""

from __future__ import annotations

import time
from typing import Protocol

# The system wakes a sleeper up to this much late; the rest is waited out awake.
AWAKE_NS = 300_000


class Clock(Protocol):
    """Nanoseconds since some moment."""

    def __call__(self) -> int: ...

    def sleep_ns(self, duration_ns: int) -> None:
        """Returns when so much time has passed, not earlier."""
        ...


class SystemClock:
    """This host's monotonic clock. Sleeps to a few microseconds, at the price of 0.3 ms of a core each time.

    `overslept_ns`: by how much all sleeps together were longer than they should have been, because the machine had
    something else to do.
    """

    def __init__(self) -> None:
        self.overslept_ns = 0

    def __call__(self) -> int:
        return time.perf_counter_ns()

    def sleep_ns(self, duration_ns: int) -> None:
        until = time.perf_counter_ns() + duration_ns
        if duration_ns > AWAKE_NS:
            time.sleep((duration_ns - AWAKE_NS) / 1e9)
        while (now := time.perf_counter_ns()) < until:
            pass
        self.overslept_ns += now - until


class VirtualClock:
    """Time passes only when somebody sleeps: what is programmed is what is measured, to the nanosecond."""

    def __init__(self) -> None:
        self._now_ns = 5_000_000_000

    def __call__(self) -> int:
        return self._now_ns

    def sleep_ns(self, duration_ns: int) -> None:
        self._now_ns += duration_ns


SYSTEM_CLOCK = SystemClock()
