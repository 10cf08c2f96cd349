"""How fast a device is without the job: the measured peak beside the datasheet's."""

from __future__ import annotations

from collections.abc import Callable

from bench.clock import Clock
from bench.protocols import Backend
from bench.records import Compute, Probe

READING_NS = 20_000_000  # at least; a shorter one would tell of launching and waiting
READINGS = 5
MOST_OPERATIONS = 10_000


def probe(backend: Backend, compute: Compute, rank: int, threads: int | None, clock: Clock) -> Probe | None:
    """The fastest of READINGS each. None where the backend has nothing to try, or no memory left for it.

    Every rank calls it, and all read at once, as they worked in the job: a barrier is before each reading, also of a
    rank that has nothing to try.
    """
    exercise = backend.exercise(compute)
    product_ns = _fastest(backend, exercise.multiply if exercise else _nothing, clock)
    copy_ns = _fastest(backend, exercise.copy if exercise else _nothing, clock)
    if exercise is None:
        return None
    return Probe(
        rank=rank,
        compute=compute,
        size=exercise.size,
        flop_per_s=2 * exercise.size**3 / product_ns * 1e9,
        bytes_per_s=2 * exercise.copied_bytes / copy_ns * 1e9,
        threads=threads,
    )


def _nothing() -> None:
    """Of a rank that only keeps the others company."""


def _fastest(backend: Backend, work: Callable[[], None], clock: Clock) -> float:
    """Nanoseconds of one `work`: the first reading warms up, the second tells how many fill a reading.

    As many readings on every rank, whatever their speed.
    """
    _reading(backend, work, 1, clock)
    once_ns = max(1, _reading(backend, work, 1, clock))
    times = min(MOST_OPERATIONS, max(1, -(-READING_NS // once_ns)))
    return min(_reading(backend, work, times, clock) for _ in range(READINGS)) / times


def _reading(backend: Backend, work: Callable[[], None], times: int, clock: Clock) -> int:
    backend.fence()
    backend.barrier()
    start_ns = clock()
    for _ in range(times):
        work()
    backend.fence()
    return clock() - start_ns
