"""The arithmetic of collectives, with numbers that can be checked by hand."""

from __future__ import annotations

import doctest

import pytest

from bench import collectives
from bench.collectives import Line, algorithm_bandwidth, bus_bandwidth, bus_factor, crossover_bytes, fit, sweep_sizes


def test_the_examples_in_the_docstrings_hold() -> None:
    outcome = doctest.testmod(collectives)
    assert (outcome.failed, outcome.attempted) == (0, 9)


@pytest.mark.parametrize(
    ("collective", "factors"),
    [
        ("all_reduce", [0.0, 1.0, 1.5, 1.75]),
        ("all_gather", [0.0, 0.5, 0.75, 0.875]),
        ("reduce_scatter", [0.0, 0.5, 0.75, 0.875]),
        ("broadcast", [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_the_factors_are_those_of_nccl_tests(collective: collectives.Collective, factors: list[float]) -> None:
    assert [bus_factor(collective, ranks) for ranks in (1, 2, 4, 8)] == factors


def test_a_gigabyte_is_a_billion_bytes() -> None:
    # 64 MiB in 10 ms.
    assert algorithm_bandwidth(67_108_864, 10_000_000) == 6.7108864
    assert bus_bandwidth("all_reduce", 8, 67_108_864, 10_000_000) == pytest.approx(11.7440512, rel=1e-12)


def test_a_sweep_has_each_size_once_in_whole_grains() -> None:
    assert sweep_sizes(16, 256) == [16, 32, 64, 128, 256]
    assert sweep_sizes(16, 40, factor=1.25) == [16, 32]
    with pytest.raises(ValueError, match="from at least 16 bytes up"):
        sweep_sizes(8, 64)
    with pytest.raises(ValueError, match="by a factor above 1"):
        sweep_sizes(16, 64, factor=1)


def test_a_line_is_found_again() -> None:
    line = fit([(0, 5_000.0), (1_000, 7_000.0), (10_000, 25_000.0), (1_000_000, 2_005_000.0)])
    assert (line.latency_ns, line.ns_per_byte) == pytest.approx((5_000.0, 2.0), rel=1e-9)
    assert line.worst_ratio == pytest.approx(1.0, rel=1e-9)
    assert line.at(500) == pytest.approx(6_000.0)


def test_relative_errors_count_so_that_the_largest_size_does_not_decide_alone() -> None:
    # On t = 100 + bytes but for the last, which is 10 % slow: latency moves by less than 1 %.
    line = fit([(0, 100.0), (100, 200.0), (1_000, 1_100.0), (1_000_000, 1_100_110.0)])
    assert line.latency_ns == pytest.approx(100.0, rel=0.05)
    assert 1.0 < line.ns_per_byte < 1.1
    assert line.worst_ratio < 1.1


def test_no_part_of_a_line_is_negative() -> None:
    assert fit([(1_000, 1_000.0), (2_000, 2_100.0), (4_000, 4_400.0)]).latency_ns == 0.0
    falling = fit([(1_000, 300.0), (2_000, 200.0), (4_000, 100.0)])
    assert falling.ns_per_byte == 0.0
    # The constant with the least squared relative error: sum(1/t) / sum(1/t**2).
    assert falling.latency_ns == pytest.approx((1 / 300 + 1 / 200 + 1 / 100) / (1 / 9e4 + 1 / 4e4 + 1 / 1e4))
    assert falling.worst_ratio == pytest.approx(300 / falling.latency_ns)


@pytest.mark.parametrize("points", [[], [(1, 1.0), (2, 2.0)], [(1, 1.0), (1, 2.0), (2, 2.0)]])
def test_fewer_than_three_sizes_make_no_line(points: list[tuple[int, float]]) -> None:
    with pytest.raises(ValueError, match="at least 3 different sizes"):
        fit(points)


@pytest.mark.parametrize("duration", [0.0, -1.0, float("nan"), float("inf")])
def test_a_duration_that_is_none_makes_no_line(duration: float) -> None:
    with pytest.raises(ValueError, match="durations are above 0"):
        fit([(1, 1.0), (2, 2.0), (3, duration)])


def test_lines_cross_where_both_take_as_long() -> None:
    tree, ring = Line(50_000.0, 4.0, 1.0), Line(250_000.0, 2.0, 1.0)
    assert crossover_bytes(tree, ring) == 100_000.0
    assert tree.at(100_000) == ring.at(100_000) == 450_000.0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Line(100.0, 1.0, 1.0), Line(200.0, 1.0, 1.0)),
        (Line(100.0, 1.0, 1.0), Line(200.0, 2.0, 1.0)),
        (Line(200.0, 2.0, 1.0), Line(100.0, 1.0, 1.0)),
    ],
    ids=["never faster", "slower throughout", "faster throughout"],
)
def test_where_one_is_always_faster_nothing_crosses(first: Line, second: Line) -> None:
    assert crossover_bytes(first, second) is None
