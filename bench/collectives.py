"""Arithmetic of collective operations: bandwidths as nccl-tests defines them, a sweep's sizes, lines and crossovers.

Source of the definitions: NVIDIA/nccl-tests, doc/PERFORMANCE.md. 1 GB is 1e9 bytes, so a byte per nanosecond is 1 GB/s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.records import Collective

GRAIN_BYTES = 16  # nccl-tests rounds sizes down to it, so that every dtype and alignment fits
LEAST_SIZES = 3  # of a fit: a line goes through any two points, and then says nothing about how well it fits


def bus_factor(collective: Collective, ranks: int) -> float:
    """Bus bandwidth / algorithm bandwidth.

    What the busiest link carries per byte of the operation, when it is done in the best way over links: it makes a
    bandwidth comparable with a link's speed. A convention: the same for whatever algorithm ran.

    >>> bus_factor("all_reduce", 4)
    1.5
    >>> bus_factor("all_gather", 4)
    0.75
    >>> bus_factor("broadcast", 4)
    1.0
    """
    if ranks < 1:
        raise ValueError(f"ranks must be at least 1, not {ranks}")
    share = (ranks - 1) / ranks
    return {"all_reduce": 2 * share, "all_gather": share, "reduce_scatter": share, "broadcast": 1.0}[collective]


def operation_bytes(collective: Collective, ranks: int, bytes_per_rank: int) -> int:
    """The size S by which nccl-tests calls an operation. `bytes_per_rank`: all-gather: what each rank gives;
    reduce-scatter: what each rank receives; all-reduce and broadcast: the whole tensor.

    >>> operation_bytes("all_gather", 4, 1000), operation_bytes("all_reduce", 4, 1000)
    (4000, 1000)
    """
    return bytes_per_rank * ranks if collective in ("all_gather", "reduce_scatter") else bytes_per_rank


def algorithm_bandwidth(size_bytes: int, duration_ns: float) -> float:
    """algbw in GB/s: S / t, S as operation_bytes has it.

    >>> algorithm_bandwidth(1_000_000_000, 500_000_000)
    2.0
    """
    if duration_ns <= 0:
        raise ValueError(f"a duration must be above 0 ns, not {duration_ns}")
    return size_bytes / duration_ns


def bus_bandwidth(collective: Collective, ranks: int, size_bytes: int, duration_ns: float) -> float:
    """busbw in GB/s: algbw times the factor; 0 where one rank exchanges with nobody.

    >>> bus_bandwidth("all_reduce", 4, 1_000_000_000, 500_000_000)
    3.0
    """
    return algorithm_bandwidth(size_bytes, duration_ns) * bus_factor(collective, ranks)


def wire_ns(collective: Collective, ranks: int, size_bytes: int, link_bits_per_s: float) -> float:
    """The least time of the operation where every rank has one link of this rate in each direction: factor x S / rate.

    For a broadcast: S / rate. Headers are not in it.

    >>> wire_ns("all_reduce", 2, 44_700_000, 200_000_000)
    1788000000.0
    """
    if link_bits_per_s <= 0:
        raise ValueError(f"a link's rate must be above 0, not {link_bits_per_s}")
    return bus_factor(collective, ranks) * size_bytes * 8e9 / link_bits_per_s


def sweep_sizes(least_bytes: int, most_bytes: int, factor: float = 2.0) -> list[int]:
    """Sizes from `least_bytes` by this factor up to `most_bytes`, rounded down to GRAIN_BYTES, each once.

    >>> sweep_sizes(1000, 8000)
    [992, 2000, 4000, 8000]
    """
    if not GRAIN_BYTES <= least_bytes <= most_bytes or factor <= 1:
        raise ValueError(
            f"a sweep goes from at least {GRAIN_BYTES} bytes up, by a factor above 1; not from {least_bytes} to "
            f"{most_bytes} by {factor:g}"
        )
    sizes: dict[int, None] = {}
    size = float(least_bytes)
    while size <= most_bytes:
        sizes[int(size) // GRAIN_BYTES * GRAIN_BYTES] = None
        size *= factor
    return list(sizes)


@dataclass(frozen=True, slots=True)
class Line:
    """t = latency_ns + bytes * ns_per_byte: Hockney's model of a message, here of a whole operation.

    ns_per_byte    1 / (the algorithm bandwidth, in GB/s, that large operations come near to)
    worst_ratio    the largest measured / fitted or fitted / measured among the sizes fitted: 1 when all lie on it
    """

    latency_ns: float
    ns_per_byte: float
    worst_ratio: float

    def at(self, size_bytes: float) -> float:
        """Nanoseconds of an operation of this size."""
        return self.latency_ns + size_bytes * self.ns_per_byte


def fit(medians_ns: Sequence[tuple[int, float]]) -> Line:
    """The line through (bytes, median duration in ns) with the least sum of squared relative errors.

    Weights are 1 / t**2: timings err in proportion, and without weights the largest size alone would decide. Neither
    part is negative: where the best line would have such a part, it is the best one without it. Raises ValueError
    for fewer than 3 different sizes.
    """
    if len({size for size, _ in medians_ns}) < LEAST_SIZES:
        raise ValueError(f"a line needs at least {LEAST_SIZES} different sizes")
    if any(size < 0 or not 0 < duration < float("inf") for size, duration in medians_ns):
        raise ValueError("sizes are not negative, and durations are above 0")
    latency, slope = _least_squares([(1 / duration, size / duration) for size, duration in medians_ns])
    ratios = [(latency + size * slope) / duration for size, duration in medians_ns]
    worst = max(max(ratio, 1 / ratio) if ratio > 0 else float("inf") for ratio in ratios)
    return Line(latency, slope, worst)


def _least_squares(rows: list[tuple[float, float]]) -> tuple[float, float]:
    """(a, b), neither negative, with the least sum of (a x + b y - 1)**2 over rows (x, y)."""
    xx, xy, yy = (sum(row[i] * row[j] for row in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
    x, y = (sum(row[i] for row in rows) for i in (0, 1))
    determinant = xx * yy - xy * xy
    a, b = (x * yy - y * xy) / determinant, (y * xx - x * xy) / determinant
    if a < 0:
        return 0.0, y / yy
    if b < 0:
        return x / xx, 0.0
    return a, b


def crossover_bytes(low_latency: Line, high_bandwidth: Line) -> float | None:
    """The size from which on the second line is the faster one; below it the first is.

    None where the first is not faster for small sizes, or the second not for large ones: they do not cross so.

    >>> crossover_bytes(Line(100.0, 2.0, 1.0), Line(1100.0, 1.0, 1.0))
    1000.0
    """
    latency = high_bandwidth.latency_ns - low_latency.latency_ns
    slope = low_latency.ns_per_byte - high_bandwidth.ns_per_byte
    return latency / slope if latency > 0 and slope > 0 else None
