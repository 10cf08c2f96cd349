"""The ladder's formulas and who is late, with numbers that can be checked by hand."""

import doctest
import math

import numpy as np
import pytest

from bench import stats
from bench.stats import stragglers
from bench.stats.ladder import _estimate


def parts(found):
    return [part and part.ms.point for part in (found.wrapper, found.contention, found.waited, found.exposed)]


def test_where_local_steps_leave_the_wrapper_out_it_is_taken_from_what_the_exchange_costs():
    # bare 10, wrapped 11, two ranks beside each other 14, ready with their input after 16, with an exchange 20:
    # 1 + 4 + 2 + 3 = 10
    found = stats.ladder(stats.Rungs(bare=[10.0], solo=[11.0], local=[14.0], ready=[16.0], full=[20.0], wrapped=False))
    assert parts(found) == [1.0, 4.0, 2.0, 3.0]
    assert (found.lost.ms.point, found.lost.share.point) == (10.0, 0.5)
    assert found.exposed.share.point == pytest.approx(0.15)


def test_where_local_steps_keep_the_wrapper_it_is_taken_from_contention():
    found = stats.ladder(stats.Rungs(bare=[10.0], solo=[11.0], local=[14.0], ready=[16.0], full=[20.0], wrapped=True))
    assert parts(found) == [1.0, 3.0, 2.0, 4.0]


@pytest.mark.parametrize("wrapped", [True, False])
def test_without_a_solo_run_the_wrapper_is_unknown_and_the_rest_still_adds_up(wrapped):
    found = stats.ladder(stats.Rungs(bare=[10.0], solo=None, local=[14.0], ready=[16.0], full=[20.0], wrapped=wrapped))
    assert parts(found) == [None, 4.0, 2.0, 4.0]


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("solo", [None, [11.0, 11.5, 10.8, 12.0]])
def test_the_parts_add_up_to_what_is_lost_whatever_was_measured(wrapped, solo):
    rungs = stats.Rungs(
        bare=[10.0, 10.4, 9.7], solo=solo, local=[14.0, 13.0], ready=[16.0, 13.1], full=[20.0, 23.0], wrapped=wrapped
    )
    found = stats.ladder(rungs)
    assert sum(part for part in parts(found) if part is not None) == pytest.approx(found.lost.ms.point, rel=1e-12)
    assert found.bare.point + found.lost.ms.point == pytest.approx(found.full.point, rel=1e-12)
    assert found.lost.ms.low is None and found.lost.ms.launches == 2


def test_the_interval_of_a_difference_between_launches_of_two_kinds_is_welchs():
    # both means vary with s = 1: standard error sqrt(1/3 + 1/3), 4 degrees of freedom, t = 2.77645
    rungs = stats.Rungs(
        bare=[9.0, 10.0, 11.0], solo=None, local=[14.0] * 3, ready=[16.0] * 3, full=[19.0, 20.0, 21.0], wrapped=False
    )
    lost = stats.ladder(rungs).lost.ms
    assert (lost.low, lost.high) == (pytest.approx(10 - 2.26695, abs=1e-4), pytest.approx(10 + 2.26695, abs=1e-4))


def test_what_one_launch_measured_twice_is_compared_within_the_launch():
    # local and full move together by 5 ms from launch to launch: their difference does not move at all
    rungs = stats.Rungs(
        bare=[10.0] * 3,
        solo=None,
        local=[14.0, 19.0, 24.0],
        ready=[16.0, 21.0, 26.0],
        full=[20.0, 25.0, 30.0],
        wrapped=False,
    )
    exposed = stats.ladder(rungs).exposed.ms
    assert (exposed.point, exposed.low, exposed.high) == (4.0, pytest.approx(4.0), pytest.approx(4.0))


def test_ties_give_an_interval_of_no_width_and_a_single_launch_none():
    assert _estimate([(np.array([3.0, 3.0, 3.0]), 1.0)]) == stats.Estimate(3.0, 3.0, 3.0, 3)
    assert _estimate([(np.array([3.0]), 1.0)]) == stats.Estimate(3.0, None, None, 1)


def test_a_ladder_needs_every_rung():
    with pytest.raises(ValueError, match="every rung needs a launch"):
        stats.ladder(stats.Rungs(bare=[], solo=None, local=[1.0], ready=[1.0], full=[1.0], wrapped=False))


def exchanged(full: list[float], **changed) -> stats.Rungs:
    given = {"bare": None, "solo": None, "local": [10.0] * len(full), "ready": [10.0] * len(full), "wrapped": False}
    return stats.Rungs(**{**given, "full": full, **changed})


def test_the_hidden_share_is_what_the_step_does_not_show_of_the_exchange():
    assert stats.hidden_share(exchanged([13.0]), [8.0]) == stats.Estimate(0.625, None, None, 1)
    assert stats.hidden_share(exchanged([12.0, 14.0]), [8.0, 8.0]) == stats.Estimate(0.625, None, None, 2)
    assert stats.hidden_share(exchanged([19.0]), [8.0]) == stats.Estimate(-0.125, None, None, 1)
    assert stats.hidden_share(exchanged([13.0]), []) is None


def test_the_wrapper_is_no_exposed_communication_and_its_spread_is_in_the_interval_of_the_hidden_share():
    # exposed 13 - 10 - (6 - 5) = 2 of 8: 0.75; the wrapper of 0, 1 and 2 ms has s = 1, over 8: 0.125
    of_wrapper = {"solo": [5.0, 6.0, 7.0], "bare": [5.0, 5.0, 5.0]}
    found = stats.hidden_share(exchanged([13.0] * 3, **of_wrapper), [8.0] * 3)
    assert found is not None and found.high is not None
    assert found.point == pytest.approx(0.75)
    assert found.high - found.point == pytest.approx(4.30265 * 0.125 / math.sqrt(3), abs=1e-4)


def test_a_rank_that_waits_and_one_that_computes_long_do_not_hide_the_exchange():
    """Rank 0 computes for 10 ms and waits for 10, rank 1 computes for 20: both are ready after 20, and the step of 25
    has 5 ms of the exchange in it; nothing of it is lost to the input."""
    found = stats.ladder(exchanged([25.0], local=[20.0], ready=[20.0], bare=[10.0]))
    assert parts(found) == [None, 10.0, 0.0, 5.0]


# ---- who is late ------------------------------------------------------------------------------------------------


def test_a_rank_that_is_late_in_half_of_the_windows_is_chronic_and_another_one_transient():
    four = [[10.0, 10.0, 13.0], [10.0, 10.0, 13.0], [14.0, 10.0, 10.0], [10.0, 10.0, 10.0]]
    found = stats.readiness(four * 2)
    assert found is not None
    assert found.chronic == (2,)
    assert found.late_share == (0.25, 0.0, 0.5)
    assert found.transient == 0.25
    assert found.skew_ms == 3.0  # of 3, 3, 4, 0
    assert found.ready_ms == (10.0, 10.0, 11.5)


def test_a_rank_within_five_percent_of_the_others_is_not_late():
    found = stats.readiness([[10.0, 10.5], [10.0, 10.5]])
    assert found is not None
    assert (found.chronic, found.transient, found.late_share) == ((), 0.0, (0.0, 0.0))


def test_of_seven_windows_no_rank_is_called_chronic():
    found = stats.readiness([[10.0, 13.0]] * 7)
    assert found is not None
    assert (found.chronic, found.windows, found.transient) == ((), 7, 1.0)


def test_nobody_waits_for_a_single_rank():
    assert stats.readiness([[10.0], [11.0]]) is None
    assert stats.readiness([]) is None


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(stragglers).attempted > 0
    assert doctest.testmod(stragglers).failed == 0


def test_without_a_bare_run_the_exchange_is_still_known():
    found = stats.ladder(stats.Rungs(bare=None, solo=[11.0], local=[14.0], ready=[16.0], full=[20.0], wrapped=False))
    assert parts(found) == [None, None, 2.0, 4.0]
    assert (found.bare, found.lost, found.local.point) == (None, None, 14.0)
