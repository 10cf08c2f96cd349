"""The verdict in plain words: who is fastest, by how much, and whether that is shown at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench import stats
from bench.records import Result
from bench.stats import LAUNCHES_FOR_INTERVAL, PRACTICAL_DIFFERENCE, Estimate
from reports import compare
from reports.quality import Learner
from reports.table import Row, gates
from reports.text import counted, interval, number

Outcome = Literal["shown", "not shown", "no verdict"]
# All contenders but the one that the others are held against must pass this gate; between precisions, one of each
# precision but one must pass the other.
SAME_LOSSES = "same losses"
SAME_LOSSES_ACROSS = "same losses across precisions"
_OTHER_PRECISION = " Not the same arithmetic: the losses are within the bound of the lower precision."
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
    """About one group of trials with equal work. `pairs` are in order of speed. `across`: of several precisions.

    work_difference   largest relative difference of any step's loss between the contenders; None: not known of each
    """

    work: str
    outcome: Outcome
    sentence: str
    fastest: str | None = None
    pairs: tuple[Pair, ...] = ()
    absent: tuple[str, ...] = ()
    across: bool = False
    work_difference: float | None = None


@dataclass(frozen=True, slots=True)
class Equality:
    """Whether the work was equal. `holds` None: no gate could show it."""

    holds: bool | None
    sentence: str


def equality(result: Result) -> Equality:
    """All gates of the run in one sentence."""
    outcomes = [found.gate.holds for found in gates(result)]
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
    """One per group of equal work, most replicas first; groups of a single trial only when there is nothing else.

    Then one per group of equal work in several precisions.
    """
    equal, mixed = _contests(result, rows)
    return [_judge(result, group, rows) for group in equal] + [_judge(result, group, rows, True) for group in mixed]


def alone(result: Result, rows: Sequence[Row]) -> list[Row]:
    """Rows with a speed that no verdict speaks of: no other trial did the same work. Bare runs are only baselines."""
    equal, mixed = _contests(result, rows)
    judged = {row.trial_id for group in (*equal, *mixed) for row in group}
    return [row for row in rows if row.measured and row.mode != "bare" and row.trial_id not in judged]


def not_compared(result: Result, rows: Sequence[Row]) -> list[str]:
    """A sentence about those rows, or none."""
    found = alone(result, rows)
    several = len({row.label for row in found}) < len(found)
    labels = [f"{row.label} \u00d7{row.trial.replicas}" if several else row.label for row in found]
    return [f"Not compared, because no other trial did the same work: {', '.join(labels)}."] if labels else []


def _contests(result: Result, rows: Sequence[Row]) -> tuple[list[list[Row]], list[list[Row]]]:
    """Groups of equal work in one precision, and in several."""
    by_id = {row.trial_id: row for row in rows}
    equal, wide = (
        [[by_id[trial.trial_id] for trial in group] for group in compare.same_work(result.trials, across)]
        for across in (False, True)
    )
    mixed = [group for group in wide if len(_precisions(group)) > 1]
    return [group for group in equal if len(group) > 1] or ([] if mixed else equal), mixed


def learners(rows: Sequence[Row]) -> list[Learner]:
    """The rows that have both a speed and a quality."""
    return [
        Learner(row.label, row.trial, row.measured.launch_rates, row.quality)
        for row in rows
        if row.measured and row.quality
    ]


def _judge(result: Result, group: Sequence[Row], rows: Sequence[Row], across: bool = False) -> Verdict:
    work = compare.describe(group[0].trial, [row.trial for row in rows], across)
    if across:
        work = f"{work}, across precisions: {'; '.join(_precisions(group))}"
    absent = tuple(row.label for row in group if row.measured is None)
    ranked = _ranked(group)
    if len(ranked) < 2:
        who = f"only {ranked[0].label}" if ranked else "no trial"
        sentence = f"Nothing to compare: {who} has a speed."
        return Verdict(work, "no verdict", sentence, ranked[0].label if ranked else None, (), absent, across)
    first = ranked[0]
    pairs = tuple(_pair(first, other, _name(other, across), result.quick) for other in ranked[1:])
    refusal = _refusal(result, ranked) or (_unbounded(result, ranked) if across else _unproven(result, ranked))
    if refusal:
        return Verdict(work, "no verdict", refusal, first.label, pairs, absent, across)
    outcome: Outcome = "shown" if all(pair.shown for pair in pairs) else "not shown"
    sentence = _sentence(_name(first, across), pairs) + (_apart(result, ranked) if across else "")
    return Verdict(work, outcome, sentence, first.label, pairs, absent, across, _work_difference(ranked))


def _work_difference(ranked: Sequence[Row]) -> float | None:
    """The trial that the others are held against has none of its own from one launch."""
    known = [row.loss_difference for row in ranked if row.trial_id != row.loss_reference]
    return max((each for each in known if each is not None), default=None) if None not in known else None


def unproven(result: Result, rows: Sequence[Row]) -> str | None:
    """Why the speeds of these few of a contest may not be set against each other, as a sentence; None: they may.

    Each must have passed the gate. The one that the gate holds the others against has no outcome of its own.
    """
    gate = SAME_LOSSES_ACROSS if len(_precisions(rows)) > 1 else SAME_LOSSES
    outcomes = {found.trial_id: found.holds for found in result.gates if found.gate == gate}
    unheld = [row.trial_id for row in rows if not outcomes.get(row.trial_id)]
    if len(unheld) > 1 or any(one in outcomes for one in unheld):
        return f"equality not shown: the gate {gate} does not hold for all of them"
    return None


def _apart(result: Result, ranked: Sequence[Row]) -> str:
    """How far the losses of several precisions are apart, as the gate found them."""
    names = {row.trial_id: _name(row, True) for row in ranked}
    found = [gate for gate in result.gates if gate.gate == SAME_LOSSES_ACROSS and gate.holds and gate.sentence]
    told = [f"{names[gate.trial_id]} {gate.sentence}" for gate in found if gate.trial_id in names]
    return _OTHER_PRECISION + (f" {'; '.join(told)}." if told else "")


def _precisions(group: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(compare.precision(row.trial) for row in group))


def _ranked(group: Sequence[Row]) -> list[Row]:
    speeds = [(row.measured.samples_per_second.point, row) for row in group if row.measured]
    return [row for _, row in sorted(speeds, key=lambda pair: -pair[0])]


def _pair(first: Row, other: Row, name: str, quick: bool) -> Pair:
    if first.measured is None or other.measured is None:
        raise ValueError("only rows with a speed can be set against each other")
    found = stats.ratio(first.measured.launch_rates, other.measured.launch_rates)
    if found is None:
        raise ValueError("a measured row has at least one launch")
    launches = (first.launches, other.launches)
    if quick:
        return Pair(name, Estimate(found.point, None, None, found.launches), None, launches)
    return Pair(name, found, stats.differs(found), launches)


def _refusal(result: Result, ranked: Sequence[Row]) -> str | None:
    few = [row for row in ranked if row.launches < LAUNCHES_FOR_INTERVAL]
    if few:
        said = {counted(row.launches, "launch", "launches") for row in ranked}
        who = f"{said.pop()} of each" if len(said) == 1 else f"too few launches of {_list([row.label for row in few])}"
        return f"No verdict: {who}; at least {LAUNCHES_FOR_INTERVAL} are needed."
    if result.quick:
        return "No verdict: a quick run is too short to compare speeds."
    return None


def _unproven(result: Result, ranked: Sequence[Row]) -> str | None:
    if len(_passed(result, ranked, SAME_LOSSES)) < len(ranked) - 1:
        return "No verdict: no gate shows that the contenders did the same work."
    return None


def _unbounded(result: Result, ranked: Sequence[Row]) -> str | None:
    """Within each precision the losses must be the same, and between the precisions within their bounds."""
    found = _precisions(ranked)
    if len(found) < 2:
        return f"Nothing to compare across precisions: only {found[0]} has a speed."
    for one in found:
        own = [row for row in ranked if compare.precision(row.trial) == one]
        if len(_passed(result, own, SAME_LOSSES)) < len(own) - 1:
            return f"No verdict: no gate shows that the contenders in {one} did the same work."
    bounded = {compare.precision(row.trial) for row in _passed(result, ranked, SAME_LOSSES_ACROSS)}
    if len(bounded) < len(found) - 1:
        unshown = [one for one in found if one not in bounded]
        return f"No verdict: equality not shown; no gate bounds the losses of {_list(unshown)} against one another."
    return None


def _passed(result: Result, ranked: Sequence[Row], gate: str) -> list[Row]:
    proven = {found.trial_id for found in result.gates if found.gate == gate and found.holds}
    return [row for row in ranked if row.trial_id in proven]


def _name(row: Row, across: bool) -> str:
    """The label, with the precision that it does not already tell where several are compared."""
    told = all(f"{axis} {getattr(row.trial, axis)}" in row.label for axis in ("compute", "wire"))
    return f"{row.label} in {compare.precision(row.trial)}" if across and not told else row.label


def _sentence(first: str, pairs: Sequence[Pair]) -> str:
    level, behind = [pair for pair in pairs if not pair.shown], [pair.other for pair in pairs if pair.shown]
    told = (level or pairs)[0]
    by = f"{number(told.ratio.point, 3)} times (95 % interval {interval(told.ratio, digits=3)})"
    if not level:
        return f"{first} is fastest: {by} the samples per second of {told.other}, {_launches(told)}."
    slower = f" {_list(behind)} {'is' if len(behind) == 1 else 'are'} slower." if behind else ""
    return (
        f"No difference shown between {_list([first, *(pair.other for pair in level)])}: {first} measured "
        f"{by} the samples per second of {told.other}, which does not clear 1 by {_PRACTICAL}.{slower}"
    )


def _launches(pair: Pair) -> str:
    own, others = pair.launches
    return f"{own} launches each" if own == others else f"{own} and {others} launches"


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
