"""The measured peak: what a device that takes a programmed time must come out as."""

from __future__ import annotations

from typing import Any

from bench.clock import VirtualClock
from bench.probing import probe
from bench.protocols import Exercise


class Device:
    """A product of 1,000 rows takes 2 ms, of which the first 100 ms are warm-up; copying 3 MB takes 1 ms."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock, self._warm = clock, False

    def exercise(self, compute: str) -> Exercise | None:
        return None if compute == "tf32" else Exercise(self.multiply, 1000, self.copy, 3_000_000)

    def multiply(self) -> None:
        self._clock.sleep_ns(2_000_000 if self._warm else 100_000_000)
        self._warm = True

    def copy(self) -> None:
        self._clock.sleep_ns(1_000_000)

    def fence(self) -> None:
        """Everything is done when it is asked for."""


def test_a_product_counts_twice_its_rows_cubed_and_a_copy_what_is_read_and_written() -> None:
    clock = VirtualClock()
    backend: Any = Device(clock)
    found = probe(backend, "bfloat16", 1, None, clock)
    assert found is not None
    assert (found.rank, found.compute, found.size) == (1, "bfloat16", 1000)
    assert (found.flop_per_s, found.bytes_per_s) == (2e9 / 2e-3, 6e6 / 1e-3)
    assert probe(backend, "tf32", 1, None, clock) is None
