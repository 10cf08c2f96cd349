"""Which launch comes next, and why a trial gets no further one."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import msgspec
import pytest

from bench import environment, replication
from bench.records import Plan, Trial

FAST, SLOW = Trial(backend="null", replicas=1), Trial(backend="null", replicas=2)


def plan(**changed) -> Plan:
    asked = Plan(
        study="s", study_yaml="", quick=False, created_utc=datetime.now(UTC).isoformat(),
        environment=environment.capture(os.environ), trials=[FAST, SLOW], rejected=[],
        order=replication.rounds([FAST.id, SLOW.id], 3, 1, None), seed=1, repeats=3, most_repeats=5,
        target_half_width=0.05, budget_s=0.0, sentinel=None, timeout_s=1.0, patience=1.0, rendezvous_port=0, notes=[],
        hosts=[], network_interface=None, mpi=False, ssh_port=None, ssh_identity_file=None,
    )  # fmt: skip
    return msgspec.structs.replace(asked, **changed)


STEADY, WILD = [100.0, 100.1, 99.9], [60.0, 100.0, 150.0]


def test_each_round_has_each_trial_once_in_an_order_of_its_own():
    order = replication.rounds(list("abcdef"), 3, 7, None)
    rounds = [[trial for trial, _ in order[start : start + 6]] for start in (0, 6, 12)]
    assert [sorted(each) for each in rounds] == [list("abcdef")] * 3
    assert rounds[0] != rounds[1]
    assert order == replication.rounds(list("abcdef"), 3, 7, None)
    assert [repeat for trial, repeat in order if trial == "c"] == [0, 1, 2]


def test_a_sentinel_comes_before_each_round_and_at_the_end():
    order = replication.rounds(["a", "b"], 2, 1, "a")
    assert [order[0], order[3], order[6]] == [("a", 0), ("a", order[3][1]), ("a", 4)]
    assert sorted(repeat for trial, repeat in order if trial == "a") == [0, 1, 2, 3, 4]
    assert sorted(repeat for trial, repeat in order if trial == "b") == [0, 1]


def test_only_a_trial_that_has_not_settled_gets_another_launch():
    assert replication.next_round(plan(), {FAST.id: STEADY, SLOW.id: WILD}, 1.0) == [(SLOW.id, 3)]


def test_without_a_target_there_is_no_further_launch():
    asked = plan(target_half_width=0.0)
    assert replication.next_round(asked, {FAST.id: WILD, SLOW.id: WILD}, 1.0) == []
    assert replication.why_stopped(asked, WILD, 3, 1.0) == "3 launches, as asked"


@pytest.mark.parametrize(
    ("changed", "rates", "launches", "sentence"),
    [
        ({}, STEADY, 3, "the interval's half-width is 0.2% after 3 launches, asked was 5.0%"),
        ({}, WILD, 5, "most_repeats (5) was reached with a half-width of 212.9%, asked was 5.0%"),
        ({"budget_s": 9.0}, WILD, 3, "budget_s (9) was spent with a half-width of 212.9%, asked was 5.0%"),
        ({}, [], 5, "most_repeats (5) was reached with a half-width of unknown, asked was 5.0%"),
    ],
)
def test_the_end_has_its_reason(changed, rates, launches, sentence):
    assert replication.why_stopped(plan(**changed), rates, launches, 10.0) == sentence


def test_launches_that_fail_use_up_the_most_repeats_and_do_not_go_on_for_ever():
    assert replication.why_stopped(plan(), [], 4, 1.0) is None
    assert replication.why_stopped(plan(), [], 5, 1.0) is not None


def test_further_rounds_go_on_counting():
    more = replication.further(plan(), 2)
    assert sorted(more) == sorted([(FAST.id, 3), (FAST.id, 4), (SLOW.id, 3), (SLOW.id, 4)])
