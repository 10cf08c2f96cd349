"""The verdict in plain words: who is fastest, by how much, and whether that is shown at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench import stats
from bench.records import Result
from bench.stats import LAUNCHES_FOR_INTERVAL, PRACTICAL_DIFFERENCE, Estimate
from reports import compare
from reports.table import Row, gates
from reports.text import counted, interval, number

Outcome = Literal["shown", "not shown", "no verdict"]
# All contenders but the one that the others are held against must pass this gate.
SAME_LOSSES = "same losses"
_PRACTICAL = f"{PRACTICAL_DIFFERENCE * 100:.0f} %"


@dataclass(frozen=True, slots=True)
class Pair:
    """The fastest set against one other: `ratio` of their samples per second; `shown` None without an interval.

    `launches` of the fastest, of the other.
    """

    other: str
    ratio: Estimate
    shown: bool | None
    launches: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Verdict:
    """About one group of trials with equal work. `pairs` are in order of speed."""

    work: str
    outcome: Outcome
    sentence: str
    fastest: str | None = None
    pairs: tuple[Pair, ...] = ()
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Equality:
    """Whether the work was equal. `holds` None: no gate could show it."""

    holds: bool | None
    sentence: str


def equality(result: Result) -> Equality:
    """All gates of the run in one sentence."""
    outcomes = [gate.holds for _, _, gate in gates(result)]
    passed, failed, open_ = outcomes.count(True), outcomes.count(False), outcomes.count(None)
    rest = f"; {open_} could not be applied" if open_ else ""
    if failed:
        return Equality(
            False, f"{counted(failed, 'gate')} of {len(outcomes)} failed{rest}: speeds concerned are withheld."
        )
    if not passed:
        return Equality(None, "No gate shows that the contenders did the same work.")
    return Equality(True, f"{counted(passed, 'gate')} {'holds' if passed == 1 else 'hold'}{rest}.")


def verdicts(result: Result, rows: Sequence[Row]) -> list[Verdict]:
    """One per group of equal work, most replicas first; groups of a single trial only when there is nothing else."""
    by_id = {row.trial_id: row for row in rows}
    groups = [[by_id[trial.trial_id] for trial in group] for group in compare.same_work(result.trials)]
    contests = [group for group in groups if len(group) > 1] or groups
    return [_judge(result, group, rows) for group in contests]


def _judge(result: Result, group: Sequence[Row], rows: Sequence[Row]) -> Verdict:
    work = compare.describe(group[0].trial, [row.trial for row in rows])
    absent = tuple(row.label for row in group if row.measured is None)
    ranked = _ranked(group)
    if not ranked:
        return Verdict(work, "no verdict", "Nothing to compare: no trial has a speed.", None, (), absent)
    first = ranked[0]
    if len(ranked) == 1:
        return Verdict(work, "no verdict", f"Nothing to compare: only {first.label} has a speed.", None, (), absent)
    pairs = tuple(_pair(first, other, result.quick) for other in ranked[1:])
    refusal = _refusal(result, ranked)
    if refusal:
        return Verdict(work, "no verdict", refusal, first.label, pairs, absent)
    outcome: Outcome = "shown" if all(pair.shown for pair in pairs) else "not shown"
    return Verdict(work, outcome, _sentence(first, pairs), first.label, pairs, absent)


def _ranked(group: Sequence[Row]) -> list[Row]:
    speeds = [(row.measured.samples_per_second.point, row) for row in group if row.measured]
    return [row for _, row in sorted(speeds, key=lambda pair: -pair[0])]


def _pair(first: Row, other: Row, quick: bool) -> Pair:
    if first.measured is None or other.measured is None:
        raise ValueError("only rows with a speed can be set against each other")
    found = stats.ratio(first.measured.launch_rates, other.measured.launch_rates)
    if found is None:
        raise ValueError("a measured row has at least one launch")
    launches = (first.launches, other.launches)
    if quick:
        return Pair(other.label, Estimate(found.point, None, None, found.launches), None, launches)
    return Pair(other.label, found, stats.differs(found), launches)


def _refusal(result: Result, ranked: Sequence[Row]) -> str | None:
    few = [row for row in ranked if row.launches < LAUNCHES_FOR_INTERVAL]
    if few:
        said = {counted(row.launches, "launch", "launches") for row in ranked}
        who = f"{said.pop()} of each" if len(said) == 1 else f"too few launches of {_list([row.label for row in few])}"
        return f"No verdict: {who}; at least {LAUNCHES_FOR_INTERVAL} are needed."
    if result.quick:
        return "No verdict: a quick run is too short to compare speeds."
    proven = {gate.trial_id for gate in result.gates if gate.gate == SAME_LOSSES and gate.holds}
    if len([row for row in ranked if row.trial_id in proven]) < len(ranked) - 1:
        return "No verdict: no gate shows that the contenders did the same work."
    return None


def _sentence(first: Row, pairs: Sequence[Pair]) -> str:
    level, behind = [pair for pair in pairs if not pair.shown], [pair.other for pair in pairs if pair.shown]
    told = (level or pairs)[0]
    by = f"{number(told.ratio.point, 3)} times (95 % interval {interval(told.ratio, digits=3)})"
    if not level:
        return f"{first.label} is fastest: {by} the samples per second of {told.other}, {_launches(told)}."
    slower = f" {_list(behind)} {'is' if len(behind) == 1 else 'are'} slower." if behind else ""
    return (
        f"No difference shown between {_list([first.label, *(pair.other for pair in level)])}: {first.label} measured "
        f"{by} the samples per second of {told.other}, which does not clear 1 by {_PRACTICAL}.{slower}"
    )


def _launches(pair: Pair) -> str:
    own, others = pair.launches
    return f"{own} launches each" if own == others else f"{own} and {others} launches"


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
