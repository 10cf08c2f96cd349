"""Whether the numbers can be trusted: the questions a sceptical colleague asks, each with its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.records import Result
from bench.stats import LAUNCHES_FOR_INTERVAL
from reports import caveats
from reports.launches import Drift
from reports.table import Row
from reports.text import counted
from reports.verdict import equality

State = Literal["good", "plain", "bad"]


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer. `state`: it speaks for the numbers, leaves them open, or speaks against them.

    more    the id of the section that has the details
    """

    question: str
    state: State
    answer: str
    more: str


def checks(result: Result, rows: Sequence[Row], drift: Drift) -> list[Check]:
    """Every question, in the order in which they matter."""
    return [
        _work(result, rows),
        _all_ran(rows),
        _as_asked(rows),
        _repeated(result, rows),
        _warmed_up(rows),
        _steady(result, drift),
        _possible(rows),
    ]


def summary(found: Sequence[Check]) -> tuple[State, str]:
    """All of them in one sentence."""
    against = [check.question for check in found if check.state == "bad"]
    open_ = [check.question for check in found if check.state == "plain"]
    if against:
        return (
            "bad",
            f"With care: {counted(len(against), 'answer speaks', 'answers speak')} against it.",
        )
    if open_:
        return "plain", f"Mostly: nothing speaks against it, {counted(len(open_), 'answer is', 'answers are')} open."
    return "good", "Yes: every check holds."


def _work(result: Result, rows: Sequence[Row]) -> Check:
    found = equality(result)
    apart = [row.loss_difference for row in rows if row.measured and row.loss_difference is not None]
    most = max(apart, default=0.0)
    largest = (
        f"Largest relative difference of any step's loss: {most:.1e}." if most else "Losses equal to the last digit."
    )
    losses = f" {largest}" if apart else ""
    state: State = "plain" if found.holds is None else "good" if found.holds else "bad"
    return Check("Was the work equal?", state, found.sentence + losses, "gates")


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
    return Check(question, "good", f"{each}; intervals are over launches.", "launches")


def _warmed_up(rows: Sequence[Row]) -> Check:
    question = "Was it warmed up?"
    missed = [
        f"{row.label} \u00d7{row.trial.replicas}" for row in rows if row.measured and caveats.unsettled(row.warm_up)
    ]
    if missed:
        return Check(question, "plain", f"No steady state was seen in some launch of {', '.join(missed)}.", "launches")
    if not any(row.measured and row.warm_up for row in rows):
        return Check(question, "plain", "Not known.", "launches")
    return Check(question, "good", "Every launch was steady before its windows count.", "launches")


def _steady(result: Result, drift: Drift) -> Check:
    state: State = "plain" if drift.shown is None else "bad" if drift.shown else "good"
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
