"""Which launch comes next: rounds of all trials in seeded random order, a sentinel between them, and when to stop."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from bench import stats
from bench.records import Plan

Order = list[tuple[str, int]]


def rounds(trial_ids: Sequence[str], repeats: int, seed: int, sentinel: str | None) -> Order:
    """(trial id, repeat) of every launch: in each round each trial once, so that drift favours none.

    The sentinel, where there is one, is launched once more before each round and after the last.
    """
    shuffler = random.Random(seed)
    order: Order = []
    made = dict.fromkeys(trial_ids, 0)
    for _ in range(repeats):
        ids = list(trial_ids)
        shuffler.shuffle(ids)
        for trial_id in ([sentinel] if sentinel else []) + ids:
            order.append((trial_id, made[trial_id]))
            made[trial_id] += 1
    return [*order, (sentinel, made[sentinel])] if sentinel else order


def further(planned: Plan, count: int) -> Order:
    """`count` more rounds of every trial."""
    made = _made(planned)
    again = rounds([trial.id for trial in planned.trials], count, len(planned.order), None)
    return [(trial_id, made[trial_id] + repeat) for trial_id, repeat in again]


def next_round(planned: Plan, rates: Mapping[str, Sequence[float]], spent_s: float) -> Order:
    """Further launches of the trials that are not settled yet, [] when the study has ended.

    `rates`: of each trial's whole launches so far; `spent_s`: wall time of all launches so far.
    """
    made = _made(planned)
    going = [
        trial.id for trial in planned.trials if why_stopped(planned, rates[trial.id], made[trial.id], spent_s) is None
    ]
    random.Random(f"{planned.seed} {len(planned.order)}").shuffle(going)
    return [(trial_id, made[trial_id]) for trial_id in going]


def _made(planned: Plan) -> dict[str, int]:
    """How many launches each trial has in the plan."""
    return {trial.id: sum(known == trial.id for known, _ in planned.order) for trial in planned.trials}


def why_stopped(planned: Plan, rates: Sequence[float], launches: int, spent_s: float) -> str | None:
    """Why a trial gets no further launch, as a clause; None when it gets one. `launches`: planned so far."""
    if not planned.target_half_width:
        return "1 launch, as asked" if launches == 1 else f"{launches} launches, as asked"
    found = stats.over_launches(rates)
    width = stats.half_width(found) if found else None
    reached = "unknown" if width is None else f"{width:.1%}"
    asked = f"{planned.target_half_width:.1%}"
    stopping = stats.stopping(rates, planned.target_half_width, planned.repeats, planned.most_repeats)
    if stopping == "target":
        return f"the interval's half-width is {reached} after {len(rates)} launches, asked was {asked}"
    if launches >= planned.most_repeats:
        return f"most_repeats ({planned.most_repeats}) was reached with a half-width of {reached}, asked was {asked}"
    if planned.budget_s and spent_s >= planned.budget_s:
        return f"budget_s ({planned.budget_s:g}) was spent with a half-width of {reached}, asked was {asked}"
    return None
