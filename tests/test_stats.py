"""Every formula with numbers that can be checked by hand, at n = 0, 1, 2, and with ties."""

import doctest
import math

import pytest

from bench import stats


def test_the_slowest_rank_sets_the_pace_and_samples_add_up():
    job = stats.pace(index=[0, 1, 0, 1], samples=[20, 20, 20, 20], duration_ns=[50, 70, 60, 65])
    assert job.index.tolist() == [0, 1]
    assert job.samples.tolist() == [40, 40]
    assert job.duration_ns.tolist() == [60, 70]
    assert job.skew_ns.tolist() == [10, 5]


def test_the_pace_of_no_windows_is_no_windows():
    assert stats.pace([], [], []).duration_ns.tolist() == []


def test_throughput_is_total_over_total_and_not_a_mean_of_rates():
    # 80 samples in 0.1 s (800/s) and 80 in 0.3 s (267/s): together 160 in 0.4 s; the mean of rates would say 533
    assert stats.throughput([80, 80], [100_000_000, 300_000_000]) == 400.0


def test_throughput_without_time_is_unknown():
    assert stats.throughput([], []) is None


def test_the_estimate_over_launches_is_the_geometric_mean():
    assert stats.over_launches([100.0, 400.0]) == stats.Estimate(pytest.approx(200.0), None, None, 2)


def test_there_is_no_interval_below_three_launches():
    assert stats.over_launches([]) is None
    assert stats.over_launches([5.0]) == stats.Estimate(pytest.approx(5.0), None, None, 1)


def test_the_interval_is_students_t_on_the_logs():
    # logs 0, 1, 2: mean 1, s = 1, t(0.975, 2) = 4.30265, half width 4.30265 / sqrt(3) = 2.48414
    found = stats.over_launches([1.0, math.e, math.e**2])
    assert found is not None and found.low is not None and found.high is not None
    assert math.log(found.point) == pytest.approx(1.0)
    assert math.log(found.low) == pytest.approx(1 - 2.48414, abs=1e-5)
    assert math.log(found.high) == pytest.approx(1 + 2.48414, abs=1e-5)


def test_tied_launches_have_an_interval_of_no_width():
    assert stats.over_launches([7.0, 7.0, 7.0]) == stats.Estimate(*[pytest.approx(7.0)] * 3, 3)


def test_the_interval_of_a_ratio_carries_the_spread_of_both_sides():
    # both logs have mean difference 1 and s = 1: standard error sqrt(1/3 + 1/3), 4 degrees of freedom, t = 2.77645
    found = stats.ratio([math.e, math.e**2, math.e**3], [1.0, math.e, math.e**2])
    assert found is not None and found.low is not None
    assert math.log(found.point) == pytest.approx(1.0)
    assert math.log(found.low) == pytest.approx(1 - 2.77645 * math.sqrt(2 / 3), abs=1e-5)


def test_a_ratio_with_an_empty_side_is_unknown():
    assert stats.ratio([], [1.0]) is None


def test_weak_efficiency_divides_by_replicas_times_the_single_rate():
    found = stats.scaling_efficiency([150.0], [100.0], replicas=2)
    assert found is not None and found.point == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(1.03, 1.2, True), (0.8, 0.97, True), (0.99, 1.2, False), (1.01, 1.2, False), (None, None, None)],
)
def test_a_difference_is_shown_only_when_the_whole_interval_is_beyond_two_percent(low, high, verdict):
    assert stats.differs(stats.Estimate(1.1, low, high, 3)) is verdict


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_that_is_no_rate_is_refused(bad):
    with pytest.raises(ValueError, match="finite and positive"):
        stats.over_launches([1.0, bad])


def test_quantiles_lie_between_order_statistics():
    assert stats.quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert stats.quantile([], 0.5) is None


def test_the_examples_in_the_docstrings_are_true():
    assert doctest.testmod(stats) == doctest.TestResults(failed=0, attempted=3)
