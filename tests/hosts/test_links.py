"""Ruler 2 in short: over links of known speed, what communication costs is known. The long form: tests/proof/links.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import catalog
from tests.hosts.leftovers import possible
from tests.proof.links import Launch, difference_ratio, exposed_ms, measured, median_exposed_ms, standalone_ratio

WITHIN = 0.30  # on a machine that others use as well
pytestmark = [possible, pytest.mark.quiet]


def launch(backend: str, rate: str, runs: Path) -> dict:
    reason = catalog.why_not_installed(backend) or catalog.why_no_launcher("horovodrun")
    if reason is not None:
        pytest.skip(f"no framework: {reason}")
    part = measured(Launch(backend=backend, hosts=2, rate=rate, model="tiny", windows=7), runs)
    # 2 (N - 1) / N x 4 x 4,433,468 bytes, for N = 2
    assert part["bytes"] == 17_733_872
    assert (part["hosts"], part["exact"]) == (["host0", "host1"], True)
    return part


def test_an_exchange_takes_its_wire_time_and_what_is_exposed_of_it_follows_the_rate(tmp_path: Path) -> None:
    slow, fast = (launch("torch_ddp", rate, tmp_path) for rate in ("400mbit", "1gbit"))
    assert (slow["wire_ms"], fast["wire_ms"]) == (354.677, 141.871)
    assert standalone_ratio(slow) == pytest.approx(1.0, rel=WITHIN)
    exposed_ms = median_exposed_ms(slow) - median_exposed_ms(fast)
    assert exposed_ms == pytest.approx(354.677 - 141.871, rel=WITHIN), (slow, fast)


def test_horovod_over_the_same_link_takes_the_same_wire_time(tmp_path: Path) -> None:
    assert standalone_ratio(launch("torch_horovod", "400mbit", tmp_path)) == pytest.approx(1.0, rel=WITHIN)


def test_the_arithmetic_of_the_ruler() -> None:
    def part(full: float, wire: float) -> dict:
        return {
            "full_ms": [full, full + 10.0],
            "local_ms": [10.0, 20.0],
            "standalone_ms": [1.05 * wire],
            "wire_ms": wire,
        }

    assert exposed_ms(part(110.0, 100.0)) == median_exposed_ms(part(110.0, 100.0)) == 100.0
    assert standalone_ratio(part(110.0, 100.0)) == 1.05
    # exposed 200 and 90 ms where the wire says 220 and 110
    assert difference_ratio([part(210.0, 220.0)], [part(100.0, 110.0)]) == 1.0
