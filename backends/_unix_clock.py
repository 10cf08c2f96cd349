"""Profilers count from 1970; what a rank did is told on its host's monotonic clock."""

from __future__ import annotations

import time


def unix_ahead_ns() -> int:
    """What to take from nanoseconds since 1970 to have those of the monotonic clock (bench.clock), as of now."""
    return time.time_ns() - time.perf_counter_ns()
