"""Runs set against each other, trial by trial: which is faster, and why two are not compared."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench import stats
from bench.errors import UserError
from bench.records import GateOutcome, TrialResult
from bench.stats import CONFIDENCE, LAUNCHES_FOR_INTERVAL, Estimate
from reports import compare
from reports.across.matching import Line, allowed, match, names, said
from reports.across.reading import RunReading, TrialReading
from reports.text import counted
from reports.verdict import SAME_LOSSES, SAME_LOSSES_ACROSS

Outcome = Literal["faster", "slower", "not shown", "no verdict", "not comparable"]
# What the gates between trials say of two that should have done the same.
Gates = Callable[[TrialResult, TrialResult], Sequence[GateOutcome]]
_SAME_LOSSES = (SAME_LOSSES, SAME_LOSSES_ACROSS)
# Where these differ, the ranks are fed something else.
_FEEDS = ("trial.workload.", "trial.timing.", "trial.quality.", "trial.replicas")


@dataclass(frozen=True, slots=True)
class Side:
    """One run. `name`: a letter, `folder`: that of the run; `trials` by id."""

    name: str
    folder: str
    reading: RunReading
    trials: Mapping[str, TrialResult]


@dataclass(frozen=True, slots=True)
class Pair:
    """One trial in two runs; `one` and `other` are their places, and the later one is held against the earlier.

    outcome   "no verdict": `because`; "not comparable": they differ in `keys`, each "key (value and value)"
    ratio     the other's samples per second over the one's; None where they are not comparable or have no speed
    p_value   as bench.stats.Difference has it, of this pair alone; `adjusted` among all pairs of the comparison
    across    as `keys`: what was allowed to differ, and does
    losses    what the gates say of the losses; None: the work is not the same
    """

    one: int
    other: int
    outcome: Outcome
    because: str | None = None
    keys: tuple[str, ...] = ()
    ratio: Estimate | None = None
    p_value: float | None = None
    adjusted: float | None = None
    across: tuple[str, ...] = ()
    losses: str | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """One trial: `cells` by run, None where that run has none like it."""

    label: str
    cells: tuple[TrialReading | None, ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`claims`: so many pairs have a p-value, and are judged together."""

    sides: tuple[Side, ...]
    across: tuple[str, ...]
    lines: tuple[Compared, ...]
    claims: int

    @property
    def pairs(self) -> list[Pair]:
        """Of all trials."""
        return [pair for line in self.lines for pair in line.pairs]


def compare_runs(sides: Sequence[Side], across: Sequence[str], gates: Gates) -> Comparison:
    """Every trial of every run. `across`: keys of the fingerprint, or what several begin with up to a dot ("packages"),
    that may differ. Raises UserError for one that the runs have not."""
    _check(across, sides)
    lines = match([side.reading for side in sides], across)
    pairs = [
        [_pair(_Two(sides, line, *places), across, gates) for places in _places(line)] for line in lines
    ]  # of each line
    known = [pair.p_value for of_line in pairs for pair in of_line if pair.p_value is not None]
    adjusted = iter(stats.holm(known))
    return Comparison(
        tuple(sides),
        tuple(across),
        tuple(
            Compared(
                line.label,
                line.cells,
                tuple(pair if pair.p_value is None else _decided(pair, next(adjusted)) for pair in of_line),
            )
            for line, of_line in zip(lines, pairs, strict=True)
        ),
        len(known),
    )


@dataclass(frozen=True, slots=True)
class _Two:
    """One line in two of the runs."""

    sides: Sequence[Side]
    line: Line
    one: int
    other: int

    @property
    def readings(self) -> tuple[TrialReading, TrialReading]:
        one, other = self.line.cells[self.one], self.line.cells[self.other]
        if one is None or other is None:
            raise ValueError("only trials that both runs have can be compared")
        return one, other

    @property
    def results(self) -> tuple[TrialResult, TrialResult]:
        one, other = self.readings
        return self.sides[self.one].trials[one.trial_id], self.sides[self.other].trials[other.trial_id]

    @property
    def runs(self) -> tuple[Side, Side]:
        return self.sides[self.one], self.sides[self.other]


def _places(line: Line) -> list[tuple[int, int]]:
    present = [place for place, cell in enumerate(line.cells) if cell is not None]
    return list(itertools.combinations(present, 2))


def _check(across: Sequence[str], sides: Sequence[Side]) -> None:
    known = {key for side in sides for trial in side.reading.trials for key in trial.fingerprint}
    for one in across:
        if not any(allowed(key, [one]) for key in known):
            near = difflib.get_close_matches(one, sorted(known), 3, 0.5) or ["cpu", "cores", "packages", "trial"]
            raise UserError(f"--across {one!r}: the runs have no such key; near are {', '.join(near)}")


def _pair(two: _Two, across: Sequence[str], gates: Gates) -> Pair:
    one, other = two.readings
    pair = Pair(two.one, two.other, "no verdict")
    silent = [side.name for side, reading in zip(two.runs, two.readings, strict=True) if not reading.launch_rates]
    if silent:
        return replace(pair, because=f"no speed in {' and '.join(silent)}")
    quick = [side.name for side in two.runs if side.reading.quick]
    if quick:
        return replace(pair, because=f"a quick run is too short to compare speeds ({' and '.join(quick)})")
    differing = _differing(one, other, across)
    unlike = [name for name in differing if not allowed(name, across)]
    if unlike:
        keys = said(unlike, one.fingerprint, other.fingerprint)
        return replace(pair, outcome="not comparable", keys=keys)
    held = replace(pair, across=said(differing, one.fingerprint, other.fingerprint))
    return _held(held, two, gates)


def _differing(one: TrialReading, other: TrialReading, across: Sequence[str]) -> list[str]:
    """Keys of the fingerprint in which they disagree; other data that follow from another key that may differ are
    told by that key."""
    found = names(one.fingerprint, other.fingerprint)
    fed = any(name.startswith(_FEEDS) and allowed(name, across) for name in found)
    return [name for name in found if not (fed and name == "data_digest")]


def _held(pair: Pair, two: _Two, gates: Gates) -> Pair:
    """Of two that may be compared."""
    one, other = two.readings
    (difference,) = stats.differences([other.launch_rates, one.launch_rates])
    ratio, p_value = difference.ratio, difference.p_value
    pair = replace(pair, ratio=ratio)
    if p_value is None:
        few = counted(ratio.launches, "launch", "launches")
        return replace(pair, because=f"{few}; at least {LAUNCHES_FOR_INTERVAL} of each are needed")
    because, losses = _equality(two, gates)
    return replace(pair, because=because, losses=losses, p_value=None if because else p_value)


def _equality(two: _Two, gates: Gates) -> tuple[str | None, str | None]:
    """(why the work is not shown to be equal, what the gates say of the losses). Both None: it is not the same work."""
    one, other = two.results
    outcomes = gates(one, other)
    failed = next((found for found in outcomes if found.holds is False), None)
    if failed is not None:
        return f"gate {failed.gate} between the two: {failed.sentence}", None
    losses = [found for found in outcomes if found.gate in _SAME_LOSSES]
    # Against whom is plain here: there are only two.
    held = next((found.sentence.partition(", against ")[0] for found in losses if found.holds), None)
    if held is not None or compare.key(one.trial) != compare.key(other.trial):
        return None, held
    open_ = next((found.sentence for found in losses if found.holds is None), "no gate shows that the work is equal")
    return open_, None


def _decided(pair: Pair, adjusted: float) -> Pair:
    if pair.ratio is None:
        raise ValueError("a pair with a p-value has a ratio")
    shown = adjusted <= 1 - CONFIDENCE
    faster: Outcome = "faster" if pair.ratio.point > 1 else "slower"
    return replace(pair, adjusted=adjusted, outcome=faster if shown else "not shown")
