"""The fastest trial set against each other one, and what that shows in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.stats import PRACTICAL_DIFFERENCE, Estimate
from reports.text import DASH, interval, number

_PRACTICAL = f"{PRACTICAL_DIFFERENCE * 100:.0f} %"
# What an undecided interval fell short of.
COUNTS = (
    f"A difference counts only when the whole interval lies above {1 + PRACTICAL_DIFFERENCE:.2f} "
    f"or below {1 / (1 + PRACTICAL_DIFFERENCE):.2f}"
)


@dataclass(frozen=True, slots=True)
class Pair:
    """The fastest set against one other: `ratio` of their samples per second; `shown` None without an interval.

    `launches` of the fastest, of the other.
    """

    other: str
    ratio: Estimate
    shown: bool | None
    launches: tuple[int, int]


def told(pairs: Sequence[Pair]) -> Pair:
    """The one whose ratio is told: the nearest of those that are not shown to be slower, else the nearest; where all of
    them are equally fast the one that may be furthest."""
    level = unshown(pairs)
    return max(level, key=lambda pair: pair.ratio.high or 0.0) if same(level) else (level or pairs)[0]


def unshown(pairs: Sequence[Pair]) -> list[Pair]:
    """Those that the first is not shown to be faster than."""
    return [pair for pair in pairs if not pair.shown]


def same(pairs: Sequence[Pair]) -> bool:
    """Whether all are: that is more than no difference shown."""
    return bool(pairs) and all(is_level(pair.ratio) for pair in pairs)


def is_level(ratio: Estimate) -> bool:
    """Whether its whole interval lies within the practical threshold of 1."""
    if ratio.low is None or ratio.high is None:
        return False
    return ratio.low >= 1 / (1 + PRACTICAL_DIFFERENCE) and ratio.high <= 1 + PRACTICAL_DIFFERENCE


def fits(ratio: Estimate) -> str | None:
    """What the interval leaves open: "from 20 % slower to 35 % faster"; None without one."""
    if ratio.low is None or ratio.high is None:
        return None
    return f"from {_pace(ratio.low)} to {_pace(ratio.high)}"


def sentence(first: str, pairs: Sequence[Pair]) -> str:
    """The verdict on `first`, the trial with the highest mean, against all others."""
    level, behind = [pair.other for pair in pairs if not pair.shown], [pair.other for pair in pairs if pair.shown]
    one = told(pairs)
    times, bounds = f"{number(one.ratio.point, 3)} times", interval(one.ratio, digits=3) or DASH
    by = f"{times} (95 % interval {bounds}, {_launches(one)}) the samples per second of {one.other}"
    if not level:
        return f"{first} is fastest: {by}."
    slower = f" {listed(behind)} {'is' if len(behind) == 1 else 'are'} slower." if behind else ""
    if same(unshown(pairs)):
        return f"{first} is as fast as {listed(level)} within {_PRACTICAL}: it measured {by}.{slower}"
    others = "any other" if len(level) > 1 and not behind else listed(level)
    return (
        f"No fastest trial shown: {first} has the highest mean, but is not shown to be faster than {others} "
        f"({_launches(one)}).{slower} Against {one.other} it measured {times} the samples per second (95 % interval "
        f"{bounds}), too noisy to tell: anything {fits(one.ratio)} fits. {COUNTS}."
    )


def listed(names: Sequence[str]) -> str:
    """ "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _pace(times: float) -> str:
    """ "20 % slower", "35 % faster", "2.2 times as fast"; below 1 % with a decimal."""
    if times >= 2:
        return f"{number(times, 2)} times as fast"
    percent = abs(times - 1) * 100
    return f"{percent:.{0 if percent >= 0.95 else 1}f} % {'slower' if times < 1 else 'faster'}"


def _launches(pair: Pair) -> str:
    own, others = pair.launches
    return f"{own} launches each" if own == others else f"{own} and {others} launches"
