"""Every formula with numbers that can be checked by hand, at n = 0, 1, 2, and with ties."""

import doctest
import math

import pytest

from bench import stats
from bench.stats import estimates, scaling, sequence, windows


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


def test_outliers_beyond_tukeys_fences_are_counted_and_no_others():
    # quartiles 11.25 and 13.75, range 2.5, fences 7.5 and 17.5
    assert stats.num_outliers([10, 11, 12, 13, 14, 30]) == 1
    assert stats.num_outliers([10, 11, 12, 13, 14, 17]) == 0
    assert stats.num_outliers([]) == stats.num_outliers([1.0]) == stats.num_outliers([1.0, 99.0]) == 0
    assert stats.num_outliers([5, 5, 5, 5, 5]) == 0
    assert stats.num_outliers([5, 5, 5, 5, 6]) == 1


def test_one_value_is_every_quantile_and_two_are_joined_by_a_line():
    assert [stats.quantile([7.0], share) for share in (0.0, 0.5, 0.99, 1.0)] == [7.0] * 4
    assert (stats.quantile([1.0, 3.0], 0.5), stats.quantile([1.0, 3.0], 0.99)) == (2.0, pytest.approx(2.98))
    assert stats.quantile([4.0, 4.0, 4.0], 0.99) == 4.0


def test_one_rank_is_the_pace_and_equal_ranks_have_no_skew():
    alone = stats.pace([0, 1], [5, 5], [30, 40])
    assert (alone.duration_ns.tolist(), alone.skew_ns.tolist()) == ([30, 40], [0, 0])
    tied = stats.pace([0, 0], [5, 5], [30, 30])
    assert (tied.samples.tolist(), tied.duration_ns.tolist(), tied.skew_ns.tolist()) == ([10], [30], [0])


def test_one_window_is_its_own_throughput():
    assert stats.throughput([50], [500_000_000]) == 100.0
    assert stats.throughput([50, 50], [500_000_000, 500_000_000]) == 100.0


def test_ratios_of_one_and_two_launches_have_a_point_and_no_interval():
    assert stats.ratio([6.0], [3.0]) == stats.Estimate(pytest.approx(2.0), None, None, 1)
    assert stats.ratio([2.0, 8.0], [2.0, 2.0]) == stats.Estimate(pytest.approx(2.0), None, None, 2)
    assert stats.ratio([6.0] * 3, [3.0]) == stats.Estimate(pytest.approx(2.0), None, None, 1)
    assert stats.ratio([6.0] * 3, [3.0] * 3) == stats.Estimate(*[pytest.approx(2.0)] * 3, 3)
    assert stats.ratio([1.0], []) is None


def test_gains_of_no_one_and_two_launches_have_no_interval():
    for formula in (stats.speed_up, lambda own, base: stats.strong_efficiency(own, base, 2)):
        assert formula([1.0], []) is None
        assert formula([1.0], [2.0]).low is formula([1.0, 1.0], [2.0, 2.0]).high is None
    assert stats.scaling_efficiency([], [1.0], 2) is None
    assert stats.scaling_efficiency([3.0, 3.0], [2.0, 2.0], 2) == stats.Estimate(pytest.approx(0.75), None, None, 2)
    assert stats.scaling_efficiency([3.0] * 3, [2.0] * 3, 2) == stats.Estimate(*[pytest.approx(0.75)] * 3, 3)


def test_a_contrast_of_two_launches_has_one_degree_of_freedom_and_of_ties_no_width():
    # logs 0 and 2: mean 1, variance 2, squared error 2 / 2 = 1; t(0.975, 1) = 12.7062
    found = stats.contrast([estimates.logarithms([1.0, math.e**2])], [1.0])
    assert (float(found.point), float(found.error), float(found.freedom)) == pytest.approx((1.0, 1.0, 1.0))
    assert float(found.bound(0.975)) == pytest.approx(1 + 12.7062, abs=1e-4)
    assert float(found.tail(1.0)) == pytest.approx(0.5)
    tied = stats.contrast([estimates.logarithms([5.0, 5.0])], [1.0])
    assert float(tied.bound(0.025)) == float(tied.bound(0.975)) == pytest.approx(math.log(5.0))
    assert estimates.logarithms([]).tolist() == []


def test_a_relative_difference_is_of_the_expected_value():
    assert stats.relative_difference(0.0, 0.0) == 0.0
    assert stats.relative_difference(3.0, 3.0) == 0.0
    assert stats.relative_difference(0.25, 0.0) == 0.25
    assert stats.relative_difference(-1.0, 2.0) == 1.5


# ---- all against all ----------------------------------------------------------------------------------------


def test_holm_multiplies_the_smallest_by_all_and_never_descends():
    assert stats.holm([]) == []
    assert stats.holm([0.02]) == [0.02]
    assert stats.holm([0.02, 0.01]) == [0.02, 0.02]
    assert stats.holm([0.03, 0.03]) == [0.06, 0.06]
    assert stats.holm([0.04, 0.005, 0.03, 0.6]) == pytest.approx([0.09, 0.02, 0.09, 0.6])
    assert stats.holm([0.9, 0.8]) == [1.0, 1.0]


def test_of_two_trials_the_table_says_what_the_pair_alone_says():
    one, other = [100.0, 101.0, 99.0], [90.0, 93.0, 91.0]
    (pair,) = stats.differences([one, other])
    assert pair.ratio == stats.ratio(one, other)
    assert pair.adjusted == pair.p_value
    assert pair.shown is stats.differs(pair.ratio) is True


@pytest.mark.parametrize("gap", [1.0, 1.02, 1.05, 1.1])
def test_the_p_value_and_the_interval_of_a_pair_agree(gap):
    (pair,) = stats.differences([[100 * gap, 101 * gap, 98 * gap, 99 * gap], [100.0, 99.0, 103.0, 98.0]])
    assert pair.shown is stats.differs(pair.ratio)


def test_the_p_value_of_a_pair_is_twice_the_tail_beyond_the_practical_threshold():
    # logs 0, 1, 2 against 10, 11, 12: difference 10, edge log 1.02 = 0.0198, error sqrt(2/3), 4 degrees of freedom
    (pair,) = stats.differences([[1.0, math.e, math.e**2], [math.e**10, math.e**11, math.e**12]])
    # t = 9.9802 / 0.8165 = 12.223; with u = 1 + t^2 / 4 the tail of 4 degrees of freedom is
    # 1/2 - 3/8 t / sqrt(u) (1 - t^2 / (12 u)) = 1.2860e-4
    assert pair.p_value == pytest.approx(2 * 1.2860e-4, rel=1e-3)


def test_three_trials_are_three_pairs_of_which_holm_shows_fewer():
    base = [100.0, 101.0, 99.0, 100.5]
    pairs = stats.differences([base, [104.6, 106.0, 104.4, 105.0], base])
    assert [(pair.one, pair.other) for pair in pairs] == [(0, 1), (0, 2), (1, 2)]
    assert pairs[0].p_value < pairs[0].adjusted <= 3 * pairs[0].p_value
    assert pairs[1].shown is False


def test_ties_differ_by_nothing_and_two_launches_cannot_say():
    (tied,) = stats.differences([[7.0] * 3, [7.0] * 3])
    assert (tied.p_value, tied.shown) == (1.0, False)
    (apart,) = stats.differences([[7.0] * 3, [8.0] * 3])
    assert (apart.p_value, apart.shown) == (0.0, True)
    (few,) = stats.differences([[7.0, 7.0], [8.0, 8.0]])
    assert (few.p_value, few.adjusted, few.shown) == (None, None, None)
    assert stats.differences([]) == stats.differences([[1.0]]) == []


def test_an_empty_trial_is_refused():
    with pytest.raises(ValueError, match="without a launch"):
        stats.differences([[1.0], []])


# ---- scaling ------------------------------------------------------------------------------------------------


def test_strong_efficiency_divides_the_single_time_by_replicas_times_theirs():
    # 12 s alone, 4 s on four: three times as fast, so 75 %
    assert stats.strong_efficiency([4.0], [12.0], replicas=4) == stats.Estimate(pytest.approx(0.75), None, None, 1)
    assert stats.speed_up([4.0], [12.0]) == stats.Estimate(pytest.approx(3.0), None, None, 1)
    assert stats.strong_efficiency([], [12.0], replicas=4) is None


def test_the_interval_of_an_efficiency_is_that_of_the_ratio_by_replicas():
    whole, part = (
        stats.ratio([2.0, 2.2, 1.9], [1.0, 1.1, 1.0]),
        stats.scaling_efficiency([2.0, 2.2, 1.9], [1.0, 1.1, 1.0], 2),
    )
    assert (part.point, part.low, part.high) == (whole.point / 2, whole.low / 2, whole.high / 2)


def test_above_one_hundred_percent_is_suspect_when_the_whole_interval_is():
    assert stats.is_suspect(stats.Estimate(1.1, 1.01, 1.2, 3)) is True
    assert stats.is_suspect(stats.Estimate(1.1, 0.99, 1.2, 3)) is False
    assert stats.is_suspect(stats.Estimate(1.0, 1.0, 1.0, 3)) is False
    assert stats.is_suspect(stats.Estimate(1 + 1e-15, 1 + 1e-15, 1 + 1e-15, 3)) is False


def test_without_an_interval_the_point_alone_is_suspect():
    assert stats.is_suspect(stats.Estimate(1.1, None, None, 1)) is True
    assert stats.is_suspect(stats.Estimate(0.9, None, None, 2)) is False


def test_amdahls_serial_share_is_found_from_exact_times():
    # 10 s, of which 2 s are serial: 2 + 8 / N
    found = stats.fit_amdahl([1, 2, 4], [10.0, 6.0, 4.0])
    assert (found.single, found.serial) == (pytest.approx(10.0), pytest.approx(0.2))
    assert found.time(8) == pytest.approx(3.0)


def test_no_curve_is_drawn_through_too_few_replica_counts():
    assert stats.fit_amdahl([], []) is stats.fit_amdahl([2], [1.0]) is stats.fit_amdahl([2, 2], [1.0, 1.1]) is None
    assert stats.fit_latency_bandwidth([1, 2], [1.0, 1.1]) is None
    assert stats.fit_latency_bandwidth([1, 2, 2], [1.0, 1.1, 1.2]) is None


def test_a_superlinear_curve_has_no_negative_serial_share():
    assert stats.fit_amdahl([1, 2, 4], [10.0, 4.0, 1.5]).serial == 0.0


def test_latency_and_message_time_are_found_from_exact_times():
    # 5 alone, latency 0.1, message 2: N = 2: 5 + 0.2 + 2 = 7.2; N = 3: 5 + 0.4 + 2.6667; N = 4: 5 + 0.6 + 3 = 8.6
    found = stats.fit_latency_bandwidth([1, 2, 3, 4], [5.0, 7.2, 5.4 + 8 / 3, 8.6])
    assert (found.alone, found.latency, found.message) == (pytest.approx(5), pytest.approx(0.1), pytest.approx(2))
    assert found.time(4) == pytest.approx(8.6)


def test_with_the_whole_batch_fixed_the_work_is_divided():
    # 12 alone, latency 0.1, message 2: N = 2: 6 + 0.2 + 2; N = 3: 4 + 0.4 + 8 / 3; N = 4: 3 + 0.6 + 3
    found = stats.fit_latency_bandwidth([1, 2, 3, 4], [12.0, 8.2, 4.4 + 8 / 3, 6.6], divided=True)
    assert (found.alone, found.latency, found.message) == (pytest.approx(12), pytest.approx(0.1), pytest.approx(2))
    assert found.time(4) == pytest.approx(6.6)
    assert stats.fit_latency_bandwidth([], [], divided=True) is None


def test_the_largest_deviation_of_a_curve_is_relative_to_the_times():
    # 2 + 8 / N is 10 and 6: of 10 none, of 5 a fifth
    curve = stats.Amdahl(single=10.0, serial=0.2)
    assert stats.largest_deviation(curve, [1, 2], [10.0, 5.0]) == pytest.approx(0.2)
    assert stats.largest_deviation(curve, [1, 2], [10.0, 6.0]) == pytest.approx(0.0)
    assert stats.largest_deviation(curve, [], []) == 0.0


def test_two_counts_are_passed_through_by_construction_and_ties_are_all_serial():
    through = stats.fit_amdahl([1, 2], [10.0, 7.0])
    assert (through.serial, stats.largest_deviation(through, [1, 2], [10.0, 7.0])) == (
        pytest.approx(0.4),
        pytest.approx(0),
    )
    assert stats.fit_amdahl([1, 2, 4], [5.0, 5.0, 5.0]).serial == pytest.approx(1.0)
    assert stats.fit_amdahl([1, 2, 4], [5.0, 6.0, 8.0]).serial == pytest.approx(1.0)


# ---- along time ---------------------------------------------------------------------------------------------


def test_warm_up_ends_where_the_slow_windows_end():
    assert stats.settled([30.0, 20.0, 12.0, 10.0, 10.1, 9.9, 10.0, 10.1, 9.9, 10.0]) == stats.Settled(3, True)


def test_the_cut_is_the_one_with_the_smallest_standard_error_of_the_rest():
    # logs 1, 0, 0, 1, 0, 1: without the first the squared error is 0.24 / 5 = 0.048, with one more cut 0.25 / 4
    times = [math.e, 1.0, 1.0, math.e, 1.0, math.e]
    assert stats.settled(times) == stats.Settled(1, True)


def test_steady_windows_are_cut_at_the_floor_only():
    assert stats.settled([10.0] * 8) == stats.Settled(1, True)
    assert stats.settled([10.0] * 8, floor=3) == stats.Settled(3, True)


def test_windows_still_falling_at_the_ceiling_have_not_settled():
    falling = [100.0 * 0.8**place for place in range(12)]
    assert stats.settled(falling) == stats.Settled(6, False)
    assert stats.settled(falling, ceiling=3) == stats.Settled(3, False)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_handful_of_windows_cannot_tell(count):
    assert stats.settled([10.0] * count) == stats.Settled(min(1, count), False)


def test_a_study_stops_at_its_target_or_its_budget():
    tight, loose = [100.0, 100.1, 99.9], [100.0, 120.0, 90.0]
    assert stats.stopping([], 0.02, fewest=3, most=10) == "go on"
    assert stats.stopping(tight[:2], 0.02, fewest=3, most=10) == "go on"
    assert stats.stopping(tight, 0.02, fewest=3, most=10) == "target"
    assert stats.stopping(tight, 0.02, fewest=5, most=10) == "go on"
    assert stats.stopping(loose, 0.02, fewest=3, most=10) == "go on"
    assert stats.stopping(loose, 0.02, fewest=3, most=3) == "budget"
    assert stats.stopping([7.0, 7.0, 7.0], 0.0, fewest=3, most=10) == "target"


def test_the_half_width_is_relative_and_symmetric_in_ratio():
    assert stats.half_width(stats.Estimate(2.0, 1.0, 4.0, 3)) == 1.0
    assert stats.half_width(stats.Estimate(2.0, None, None, 2)) is None


def test_a_drift_is_the_slope_of_the_log_over_the_whole_study():
    # exactly 10 % slower over 200 s
    found = stats.drift([0.0, 100.0, 200.0], [100.0, 100.0 * math.sqrt(0.9), 90.0])
    assert (found.point, found.launches) == (pytest.approx(0.9), 3)
    assert stats.differs(found) is True


def test_the_interval_of_a_drift_is_students_t_with_two_degrees_of_freedom_less():
    # logs 0, 1, 0 at 0, 1, 2: slope 0, residuals -1/3, 2/3, -1/3: square sum 2/3, error of slope sqrt(2/3 / 1 / 2)
    found = stats.drift([0.0, 1.0, 2.0], [1.0, math.e, 1.0])
    assert found.point == pytest.approx(1.0)
    assert math.log(found.high) == pytest.approx(12.7062 * math.sqrt(1 / 3) * 2, rel=1e-5)
    assert stats.differs(found) is False


def test_a_sentinel_seen_once_or_twice_shows_no_drift():
    assert stats.drift([], []) is None
    assert stats.drift([5.0], [1.0]) == stats.Estimate(1.0, None, None, 1)
    assert stats.drift([0.0, 1.0], [1.0, 2.0]) == stats.Estimate(pytest.approx(2.0), None, None, 2)
    assert stats.drift([5.0, 5.0, 5.0], [1.0, 2.0, 3.0]) == stats.Estimate(1.0, None, None, 3)


def test_the_examples_in_the_docstrings_are_true():
    modules = [estimates, scaling, sequence, windows]
    found = [doctest.testmod(module) for module in modules]
    assert (sum(one.failed for one in found), sum(one.attempted for one in found)) == (0, 8)
