"""The verdict in plain words: who is fastest, by how much, and whether that is shown at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench import stats
from bench.records import Result
from bench.stats import LAUNCHES_FOR_INTERVAL, Estimate
from reports import compare, pairs
from reports.caveats import missed
from reports.pairs import Pair, listed
from reports.quality import Learner
from reports.table import Row, finite, gates
from reports.text import DASH, counted, interval, number

Outcome = Literal["shown", "not shown", "no verdict"]
# All contenders but the one that the others are held against must pass this gate; between precisions, one of each
# precision but one must pass the other.
SAME_LOSSES = "same losses"
SAME_LOSSES_ACROSS = "same losses across precisions"
_OTHER_PRECISION = " Not the same arithmetic: the losses are within the bound of the lower precision."


@dataclass(frozen=True, slots=True)
class Verdict:
    """About one group of trials with equal work. `pairs` are in order of speed. `across`: of several precisions.

    work_difference   largest relative difference of any step's loss between the contenders; None: not known of each
    unsettled         some launch of them may still have been warming up
    """

    work: str
    outcome: Outcome
    sentence: str
    fastest: str | None = None
    pairs: tuple[Pair, ...] = ()
    absent: tuple[str, ...] = ()
    across: bool = False
    work_difference: float | None = None
    unsettled: bool = False


@dataclass(frozen=True, slots=True)
class Headline:
    """What a page says of a verdict in large type, and in small type below. `words`: it is no number."""

    large: str
    small: str
    words: bool


@dataclass(frozen=True, slots=True)
class Equality:
    """Whether the work was equal. `holds` None: no gate could show it."""

    holds: bool | None
    sentence: str


def equality(result: Result) -> Equality:
    """All gates of the run in one sentence."""
    outcomes = [found.gate.holds for found in gates(result)]
    passed, failed, open_ = outcomes.count(True), outcomes.count(False), outcomes.count(None)
    rest = f"; {_open([found.gate.sentence for found in gates(result) if found.gate.holds is None])}" if open_ else ""
    if failed:
        return Equality(
            False, f"{counted(failed, 'gate')} of {len(outcomes)} failed{rest}: speeds concerned are withheld."
        )
    if not passed:
        return Equality(None, "No gate shows that the contenders did the same work.")
    return Equality(True, f"{counted(passed, 'gate')} {'holds' if passed == 1 else 'hold'}{rest}.")


def _open(reasons: Sequence[str]) -> str:
    """How many gates say nothing, apart those that have nothing to look at by the nature of the work."""
    inherent = [why for why in (_inherent(reason) for reason in reasons) if why]
    said = [f"{len(inherent)} do not concern {' or '.join(dict.fromkeys(inherent))}"] if inherent else []
    rest = len(reasons) - len(inherent)
    return ", ".join(said + ([f"{rest} could not be applied"] if rest else []))


def _inherent(reason: str) -> str | None:
    """What it is that a gate has nothing to look at in, as the gates say it."""
    if reason.startswith("one replica:") or reason == "nothing is exchanged":
        return "one replica"
    return reason.removesuffix(" has none") if reason.endswith(" has none") else None


def contests(result: Result, rows: Sequence[Row]) -> list[list[Row]]:
    """Of each verdict the trials with a speed, fastest first; where there are two of them at least."""
    equal, mixed = _contests(result, rows)
    return [ranked for group in (*equal, *mixed) if len(ranked := _ranked(group)) > 1]


def verdicts(result: Result, rows: Sequence[Row]) -> list[Verdict]:
    """One per group of equal work, most replicas first; groups of a single trial only when there is nothing else.

    Then one per group of equal work in several precisions.
    """
    equal, mixed = _contests(result, rows)
    return [_judge(result, group, rows) for group in equal] + [_judge(result, group, rows, True) for group in mixed]


def headline(found: Verdict) -> Headline | None:
    """A ratio only where a difference is shown: in large type it would read as a win. None without a verdict."""
    if found.outcome == "no verdict":
        return None
    level = [pair for pair in found.pairs if not pair.shown]
    told = pairs.told(found.pairs).ratio
    bounds = interval(told, digits=3) or DASH
    if not level and found.unsettled:
        return Headline("Not yet", f"{bounds} times, but launches may still be warming up", words=True)
    if not level:
        return Headline(f"{number(told.point, 3)}\u00d7", bounds, words=False)
    among = f"{len(level) + 1} of {len(found.pairs) + 1} trials; " if len(level) < len(found.pairs) else ""
    if pairs.same(level):
        return Headline("Equally fast", f"{among}{bounds} times", words=True)
    return Headline("Undecided", f"{among}{pairs.fits(told)}", words=True)


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
    against = tuple(_pair(first, other, _name(other, across), result.quick) for other in ranked[1:])
    refusal = _refusal(result, ranked) or (_unbounded(result, ranked) if across else _unproven(result, ranked))
    if refusal:
        return Verdict(work, "no verdict", refusal, first.label, against, absent, across)
    outcome: Outcome = "shown" if all(pair.shown for pair in against) else "not shown"
    sentence = pairs.sentence(_name(first, across), against) + (_apart(result, ranked) if across else "")
    warming = _warming_up(ranked, across)
    return Verdict(
        work, outcome, sentence + warming, first.label, against, absent, across, _work_difference(ranked), bool(warming)
    )


def _warming_up(ranked: Sequence[Row], across: bool) -> str:
    """Launches without a steady state leave any order open."""
    told = [f"{whose} of {_name(row, across)}" for row in ranked if (whose := missed(row.warm_up))]
    return f" Not for ranking yet: {listed(told)} may still have been warming up." if told else ""


def _work_difference(ranked: Sequence[Row]) -> float | None:
    """The trial that the others are held against has none of its own from one launch."""
    known = [row.loss_difference for row in ranked if row.trial_id != row.loss_reference]
    return finite(max((each for each in known if each is not None), default=None)) if None not in known else None


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
        who = f"{said.pop()} of each" if len(said) == 1 else f"too few launches of {listed([row.label for row in few])}"
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
        return f"Nothing to compare across precisions: only trials {found[0]} have a speed."
    for one in found:
        own = [row for row in ranked if compare.precision(row.trial) == one]
        if len(_passed(result, own, SAME_LOSSES)) < len(own) - 1:
            return f"No verdict: no gate shows that the contenders {one} did the same work."
    bounded = {compare.precision(row.trial) for row in _passed(result, ranked, SAME_LOSSES_ACROSS)}
    if len(bounded) < len(found) - 1:
        unshown = [one for one in found if one not in bounded]
        return f"No verdict: equality not shown; no gate bounds the losses of {listed(unshown)} against one another."
    return None


def _passed(result: Result, ranked: Sequence[Row], gate: str) -> list[Row]:
    proven = {found.trial_id for found in result.gates if found.gate == gate and found.holds}
    return [row for row in ranked if row.trial_id in proven]


def _name(row: Row, across: bool) -> str:
    """The label, with the precision that it does not already tell where several are compared."""
    told = all(f"{axis} {getattr(row.trial, axis)}" in row.label for axis in ("compute", "wire"))
    return f"{row.label} {compare.precision(row.trial)}" if across and not told else row.label
