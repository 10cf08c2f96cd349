"""Whether the numbers can be trusted: the questions a sceptical colleague asks, each with its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.records import Result
from bench.stats import LAUNCHES_FOR_INTERVAL, Estimate
from reports import caveats, pairs, planning
from reports.launches import Drift
from reports.pairs import is_level, listed
from reports.table import Row, gates
from reports.text import counted, difference, percents
from reports.verdict import Verdict, contests, equality, verdicts

State = Literal["good", "plain", "bad"]
# What the gates between trials look at, in words.
_LOOKED_AT = {
    "same losses": "losses",
    "same data": "the data that was fed",
    "same model": "the number of trained parameters",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer. `state`: it speaks for the numbers, leaves them open, or speaks against them.

    more        the id of the section that has the details
    unranked    a clause: why the compared trials cannot be ranked yet, where this is the reason
    """

    question: str
    state: State
    answer: str
    more: str
    unranked: str | None = None


def checks(result: Result, rows: Sequence[Row], drift: Drift) -> list[Check]:
    """Every question, in the order in which they matter."""
    return [
        _work(result, rows),
        _all_ran(rows),
        _as_asked(rows),
        _repeated(result, rows),
        _precise(result, rows),
        _warmed_up(result, rows),
        _steady(result, drift),
        _possible(rows),
    ]


def summary(found: Sequence[Check]) -> tuple[State, str]:
    """All of them in one sentence."""
    against = [check.question for check in found if check.state == "bad"]
    open_ = [check.question for check in found if check.state == "plain"]
    unranked = [check.unranked for check in found if check.unranked]
    if unranked:
        return "bad", f"Not for ranking yet: {'; '.join(unranked)}."
    if against:
        return "bad", f"With care: {counted(len(against), 'answer speaks', 'answers speak')} against it."
    if open_:
        return "plain", f"Mostly: nothing speaks against it, {counted(len(open_), 'answer is', 'answers are')} open."
    return "good", "Yes: every check holds."


def _work(result: Result, rows: Sequence[Row]) -> Check:
    found = equality(result)
    state: State = "plain" if found.holds is None else "good" if found.holds else "bad"
    told = [found.sentence, *_compared(result, rows)]
    return Check("Was the work equal?", state, " ".join(told), "gates")


def _compared(result: Result, rows: Sequence[Row]) -> list[str]:
    """What was looked at between the trials, and what was not."""
    held = {found.gate.gate for found in gates(result) if found.gate.holds}
    looked = [what for gate, what in _LOOKED_AT.items() if gate in held]
    said = [f"Compared between trials: {', '.join(looked)}."] if looked else []
    apart = [row.loss_difference for row in rows if row.measured and row.loss_difference is not None]
    if apart:
        most, over = max(apart), steps(result)
        largest = f"Largest relative difference of any step's loss{over}: {difference(most)}."
        said.append(largest if most else f"Losses equal to the last digit{over}.")
    lacking = [row.measured is not None and not row.verified for row in rows]
    if any(lacking):
        whose = "" if sum(lacking) == sum(row.measured is not None for row in rows) else " of every trial"
        said.append(f"Gradients and updates were not compared{whose}: `paceline verify` does it.")
    return said


def steps(result: Result) -> str:
    """ " over 33 steps", where every launch has as many losses."""
    counts = {len(repeat.losses) for trial in result.trials for repeat in trial.repeats if repeat.losses}
    return f" over {counted(counts.pop(), 'step')}" if len(counts) == 1 else ""


def _all_ran(rows: Sequence[Row]) -> Check:
    with_speed = sum(row.measured is not None for row in rows)
    parts = [f"{with_speed} of {counted(len(rows), 'trial')} with a speed"]
    counts = {status: sum(row.status == status for row in rows) for status in ("failed", "withheld", "not_selectable")}
    parts += [f"{count} {status.replace('_', ' ')}" for status, count in counts.items() if count]
    state: State = "good" if with_speed == len(rows) else "bad" if counts["withheld"] or not with_speed else "plain"
    return Check(
        "Did every trial run?", state, f"{', '.join(parts)}.", "without" if with_speed < len(rows) else "table"
    )


def _as_asked(rows: Sequence[Row]) -> Check:
    question = "Did each run as asked?"
    wrong = [f"{row.label}: {row.mismatch}" for row in rows if row.mismatch]
    if wrong:
        return Check(question, "bad", f"{'; '.join(wrong)}.", "ran")
    if not any(row.measured for row in rows):
        return Check(question, "plain", "No trial has a speed.", "ran")
    silent = [row.label for row in rows if row.measured and row.compute.ran is None]
    if silent:
        return Check(question, "plain", f"Not read back from {', '.join(silent)}.", "ran")
    return Check(question, "good", "The precisions that ran are those asked for, read back from every rank.", "ran")


def _repeated(result: Result, rows: Sequence[Row]) -> Check:
    question = "Was it repeated?"
    counts = sorted({row.launches for row in rows if row.measured})
    if not counts:
        return Check(question, "plain", "No trial has a speed.", "launches")
    said = " to ".join(dict.fromkeys(f"{count}" for count in (counts[0], counts[-1])))
    each = f"{said} {'launch' if counts[-1] == 1 else 'launches'} of each trial"
    if result.quick:
        return Check(question, "plain", f"{each}, but a quick run: too short for intervals.", "launches")
    if counts[0] < LAUNCHES_FOR_INTERVAL:
        few = f"{each}: at least {LAUNCHES_FOR_INTERVAL} are needed for an interval."
        return Check(question, "plain", few, "launches")
    if counts[0] == LAUNCHES_FOR_INTERVAL:
        return Check(question, "good", f"{each}: the least that gives an interval.", "launches")
    return Check(question, "good", f"{each}; intervals are over launches.", "launches")


def _precise(result: Result, rows: Sequence[Row]) -> Check:
    question = "Precise enough?"
    judged = [one for one in verdicts(result, rows) if one.pairs]
    widths = [(speed.high / speed.low, row, speed) for row, speed in _bounded(result, rows) if speed.low and speed.high]
    if not judged or not widths or any(one.outcome == "no verdict" for one in judged):
        return Check(question, "plain", "Nothing could be ranked.", "table")
    _, row, speed = max(widths, key=lambda width: width[0])
    widest = f"The widest interval of a compared speed is that of {_named(row)}: {percents(speed)}, n = {row.launches}."
    open_ = sum(one.outcome == "not shown" and not pairs.same(pairs.unshown(one.pairs)) for one in judged)
    if not open_:
        return Check(question, "good", f"Every comparison is decided. {widest}", "table")
    said = [f"{open_} of {counted(len(judged), 'comparison')} undecided.", widest, *_next(result, rows, judged)]
    return Check(question, "plain", " ".join(said), "table")


def _next(result: Result, rows: Sequence[Row], judged: Sequence[Verdict]) -> list[str]:
    """What would narrow the first comparison that is undecided, if anything can be said of it."""
    for one, group in zip(judged, contests(result, rows), strict=True):
        if one.outcome == "not shown" and not pairs.same(pairs.unshown(one.pairs)):
            slow = group[1 + one.pairs.index(pairs.told(one.pairs))]
            found = planning.next_step(result, group[0], slow)
            return [found] if found else []
    return []


def _bounded(result: Result, rows: Sequence[Row]) -> list[tuple[Row, Estimate]]:
    """The compared trials with the intervals of their speeds."""
    ranked = [row for group in contests(result, rows) for row in group]
    return [(row, row.measured.samples_per_second) for row in ranked if row.measured]


def _named(row: Row) -> str:
    return f"{row.label} ({counted(row.trial.replicas, 'replica')})"


def _warmed_up(result: Result, rows: Sequence[Row]) -> Check:
    question = "Was it warmed up?"
    missed = [(row.trial_id, f"{whose} of {_named(row)}") for row in rows if (whose := _missed(row))]
    if missed:
        compared = {row.trial_id for group in contests(result, rows) for row in group}
        ranked = [said for trial_id, said in missed if trial_id in compared]
        unranked = f"{listed(ranked)} may still be warming up" if ranked else None
        answer = f"No steady state was seen in {listed([said for _, said in missed])}: the warm-up reached its limit."
        return Check(question, "bad" if ranked else "plain", answer, "launches", unranked)
    if not any(row.measured and row.warm_up for row in rows):
        return Check(question, "plain", "Not known.", "launches")
    return Check(question, "good", "Every launch was steady before its windows count.", "launches")


def _missed(row: Row) -> str | None:
    return caveats.missed(row.warm_up) if row.measured else None


def _steady(result: Result, drift: Drift) -> Check:
    """An interval that holds both 1 and a large drift leaves it open."""
    level = drift.found is not None and is_level(drift.found)
    state: State = "bad" if drift.shown else "good" if level else "plain"
    return Check("Did the machine stay the same?", state, drift.sentence, "launches")


def _possible(rows: Sequence[Row]) -> Check:
    question = "Are the speeds plausible?"
    if not any(row.measured for row in rows):
        return Check(question, "plain", "No trial has a speed.", "table")
    found = caveats.among([(f"{row.label} \u00d7{row.trial.replicas}", row.caveats) for row in rows])
    if not found:
        fine = "No speed is above what its baseline allows, and no host has more threads than cores."
        return Check(question, "good", fine, "table")
    suspect = any(caveat.word == "suspect" for caveat in found)
    said = "; ".join(f"{caveat.word}: {caveat.clause}" for caveat in found)
    return Check(question, "bad" if suspect else "plain", f"{said[0].upper()}{said[1:]}.", "table")
