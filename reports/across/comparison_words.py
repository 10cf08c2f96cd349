"""What a comparison of runs says: its sentences, and what differs between the runs beside their speeds."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from bench import stats
from bench.stats import Estimate
from reports.across.comparison import Compared, Comparison, Outcome, Pair, Side
from reports.across.matching import NAMED, listed, names, said
from reports.across.reading import TrialReading
from reports.compare import Key, Scalar
from reports.pairs import COUNTS
from reports.text import DASH, counted, interval, number, one_line

_SAID: dict[Outcome, str] = {
    "faster": "{} faster",
    "slower": "{} slower",
    "not shown": "{} with no difference shown",
    "no verdict": "{} without a verdict",
    "not comparable": "{} not comparable",
}


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is not the same in all runs: a value per run."""

    key: str
    values: tuple[Scalar, ...]


def speed(cell: TrialReading, side: Side) -> Estimate | None:
    """Samples per second; of a quick run without an interval. None without a speed."""
    found = stats.over_launches(cell.launch_rates)
    return Estimate(found.point, None, None, found.launches) if found and side.reading.quick else found


def summary(found: Comparison) -> str:
    """All verdicts counted, and the largest difference shown."""
    counts = Counter(pair.outcome for pair in found.pairs)
    parts = [words.format(counts[outcome]) for outcome, words in _SAID.items() if counts[outcome]]
    alone = sum(None in line.cells for line in found.lines)
    parts += [f"{alone} not in every run"] if alone else []
    trials = counted(len(found.lines), "trial")
    over = f"{counted(len(found.pairs), 'comparison')} of {trials}"
    if len(found.sides) == 2:
        one, other = (side.name for side in found.sides)
        over = f"{other} against {one}, {trials}"
    return f"{over}: {', '.join(parts)}.{_largest(found)}"


def _largest(found: Comparison) -> str:
    shown = [
        (abs(math.log(pair.ratio.point)), line.label, pair, pair.ratio)
        for line in found.lines
        for pair in line.pairs
        if pair.ratio and pair.outcome in ("faster", "slower")
    ]
    if not shown:
        return ""
    _, label, pair, ratio = max(shown, key=lambda one: one[0])
    one, other = found.sides[pair.one].name, found.sides[pair.other].name
    by = (
        f"{number(ratio.point, 3)} times {one}'s samples per second (95 % interval {interval(ratio, digits=3) or DASH})"
    )
    return f" {'The' if len(shown) == 1 else 'The largest'} difference: {one_line(label, 120)}, {other} has {by}."


def sentence(pair: Pair, found: Comparison) -> str:
    """The verdict on one trial in two runs."""
    one, other = found.sides[pair.one].name, found.sides[pair.other].name
    if pair.outcome == "not comparable":
        return f"{one} and {other} are not comparable: {listed(pair.keys)}."
    if pair.outcome == "no verdict" or pair.ratio is None:
        measured = "" if pair.ratio is None else f"; {other} measured {number(pair.ratio.point, 3)} times {one}"
        return f"No verdict on {one} and {other}: {pair.because}{measured}{_across(pair)}."
    by = f"{number(pair.ratio.point, 3)} times (95 % interval {interval(pair.ratio, digits=3) or DASH})"
    if pair.outcome == "not shown":
        table = f", and holds among {counted(found.claims, 'comparison')} judged together" if found.claims > 1 else ""
        return (
            f"No difference shown: {other} measured {by} the samples per second of {one}{_across(pair)}. "
            f"{COUNTS}{table}. {_work(pair)}"
        )
    return f"{other} is {pair.outcome} than {one}: {by} its samples per second{_across(pair)}. {_work(pair)}"


def hint(found: Comparison) -> str | None:
    """How to compare what was not, where it is a machine or a set-up that differs; None: nothing to say."""
    keys = list(dict.fromkeys(key.partition(" (")[0] for pair in found.pairs for key in pair.keys))
    if not keys or len(keys) > NAMED or "data_digest" in keys:  # no gate lets other data by the same settings pass
        return None
    options = " ".join(f"--across {key}" for key in keys)
    return f"If that is the question, name it: {options} lets it differ, and the verdict says so."


def notes(found: Comparison) -> list[str]:
    """What to bear in mind with all numbers."""
    told = []
    if found.claims > 1:
        told.append(
            f"{found.claims} comparisons are judged together (Holm): with no true difference in any, a claim is made "
            "in at most 5 % of such tables. Each interval is of its own pair."
        )
    told.append(
        "Intervals are over launches of the two runs: how much whole runs of the same work differ from hour to hour is "
        "not in them. `paceline report --history` shows that over many runs."
    )
    return told


def changes(found: Comparison) -> list[Change]:
    """What is known of the runs and not the same in all: machine, packages, revision, and what the gates said."""
    tables: list[Key] = []
    for side in found.sides:
        gates = {f"gate {name}": _gate(*counts) for name, counts in side.reading.gates.items()}
        tables.append({"study": side.reading.study, "quick": side.reading.quick, **side.reading.surroundings, **gates})
    keys = dict.fromkeys(name for table in tables for name in table)
    rows = [Change(key, tuple(table.get(key) for table in tables)) for key in keys]
    return [row for row in rows if len(set(row.values)) > 1]


def ran_otherwise(line: Compared, found: Comparison) -> list[str]:
    """Of each pair that may be compared: what the two runs said of themselves and differs, in words."""
    told = []
    for pair in line.pairs:
        one, other = line.cells[pair.one], line.cells[pair.other]
        if pair.outcome == "not comparable" or one is None or other is None or not one.ran or not other.ran:
            continue
        keys = said(names(one.ran, other.ran), one.ran, other.ran)
        if keys:
            told.append(
                f"As they ran, {found.sides[pair.one].name} and {found.sides[pair.other].name}: {listed(keys)}."
            )
    return told


def shown(value: Scalar) -> str:
    """As text; unknown is a dash."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return DASH if value is None else one_line(str(value), 400)


def _across(pair: Pair) -> str:
    return f", across {listed(pair.across)}" if pair.across else ""


def _work(pair: Pair) -> str:
    return f"Losses {pair.losses}." if pair.losses else "Not the same work: only the speeds are compared."


def _gate(held: int, failed: int, open_: int) -> str:
    return (
        f"failed {counted(failed, 'time')}" if failed else "holds" if held else f"not applied {counted(open_, 'time')}"
    )
