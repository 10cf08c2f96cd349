"""The rank's part of `paceline trace`: windows with and without a trace in turn, so that its cost is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import traces
from bench.clock import Clock
from bench.journal import Journal
from bench.protocols import Backend
from bench.records import Assignment, Phase, RankInfo

if TYPE_CHECKING:
    from bench.worker import Measurement

WARMUP_PAIRS = 1  # a profiler takes longer to start the first time


def trace_windows(
    backend: Backend, measurement: Measurement, assignment: Assignment, who: RankInfo, journal: Journal, clock: Clock
) -> None:
    """The first step, warm-up, then pairs of windows, the second one traced. Writes rank-N.trace.json.gz."""
    timing = assignment.trial.timing
    measurement.window(steps=1, warmup=True)
    for _ in range(timing.warmup_windows):
        measurement.window(timing.steps_per_window, warmup=True)
    traced = []
    for number in range(WARMUP_PAIRS + assignment.traced_windows):
        warmup = number < WARMUP_PAIRS
        if number == WARMUP_PAIRS:
            journal.write(Phase(name="windows", at_ns=clock()))
        measurement.window(timing.steps_per_window, warmup)
        with backend.trace() as timeline:
            window = measurement.window(timing.steps_per_window, warmup)
        if not warmup:
            traced.append((window, timeline))
    journal.write(Phase(name="finish", at_ns=clock()))
    traces.write(journal.folder / f"rank-{who.rank}.trace.json.gz", who, traced)
