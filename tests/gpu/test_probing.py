"""The measured peak: what a device that takes a programmed time must come out as, and who reads when."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.clock import VirtualClock
from bench.probing import READINGS, probe
from bench.protocols import Exercise


class Device:
    """A product of 1,000 rows takes 2 ms, of which the first 100 ms are warm-up; copying 3 MB takes 1 ms.

    `log` has what this rank does, in its order; `ranks` lets them wait for each other.
    """

    def __init__(self, clock: VirtualClock, ranks: threading.Barrier | None = None) -> None:
        self._clock, self._warm = clock, False
        self._ranks = ranks or threading.Barrier(1)
        self.log: list[str] = []

    def exercise(self, compute: str) -> Exercise | None:
        return None if compute == "tf32" else Exercise(self.multiply, 1000, self.copy, 3_000_000)

    def multiply(self) -> None:
        self._note("multiply")
        self._clock.sleep_ns(2_000_000 if self._warm else 100_000_000)
        self._warm = True

    def copy(self) -> None:
        self._note("copy")
        self._clock.sleep_ns(1_000_000)

    def fence(self) -> None:
        """Everything is done when it is asked for."""
        self._note("fence")

    def barrier(self) -> None:
        self._ranks.wait(10)
        self._note("barrier")

    def _note(self, what: str) -> None:
        if self.log[-1:] != [what]:
            self.log.append(what)


def test_a_product_counts_twice_its_rows_cubed_and_a_copy_what_is_read_and_written() -> None:
    clock = VirtualClock()
    backend: Any = Device(clock)
    found = probe(backend, "bfloat16", 1, None, clock)
    assert found is not None
    assert (found.rank, found.compute, found.size) == (1, "bfloat16", 1000)
    assert (found.flop_per_s, found.bytes_per_s) == (2e9 / 2e-3, 6e6 / 1e-3)
    assert probe(backend, "tf32", 1, None, clock) is None


def test_every_reading_of_every_rank_begins_at_a_barrier_also_where_a_rank_has_nothing_to_try() -> None:
    """A rank without the memory for it that left at once would leave the others waiting for ever."""
    ranks, clocks = threading.Barrier(2), [VirtualClock(), VirtualClock()]
    devices: list[Any] = [Device(clock, ranks) for clock in clocks]
    with ThreadPoolExecutor(2) as pool:
        jobs = zip(devices, ("bfloat16", "tf32"), range(2), (None, None), clocks, strict=True)
        found = list(pool.map(lambda each: probe(*each), jobs))
    assert [each is None for each in found] == [False, True]
    readings = 2 + READINGS
    assert devices[0].log == (
        ["fence", "barrier", "multiply"] * readings + ["fence", "barrier", "copy"] * readings + ["fence"]
    )
    assert devices[1].log == ["fence", "barrier"] * 2 * readings + ["fence"]
