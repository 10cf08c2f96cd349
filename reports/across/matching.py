"""Which trials of several runs belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports import compare
from reports.across.reading import RunReading, TrialReading
from reports.compare import Key

NAMED = 4  # keys that are spelled out; trials that differ in more are two trials
# Two trials that differ in one of these are never set side by side, unless asked for.
_APART = ("trial.backend", "trial.replicas")


@dataclass(frozen=True, slots=True)
class Line:
    """One trial: `cells` by run, None where that run has none like it."""

    label: str
    cells: tuple[TrialReading | None, ...]


def match(runs: Sequence[RunReading], across: Sequence[str] = ()) -> list[Line]:
    """Every trial of every run, the nearest ones in one line, in order of the first run that has it."""
    lines: list[list[TrialReading | None]] = []
    for place, run in enumerate(runs):
        taken = _nearest(lines, run.trials, across)
        for line, trial in zip(lines, taken, strict=True):
            line.append(trial)
        left = [trial for trial in run.trials if not any(trial is found for found in taken)]
        lines += [[None] * place + [trial] for trial in left]
    rivals = [_asked(trial) for run in runs for trial in run.trials]
    return [Line(_label(_first(line), rivals), tuple(line)) for line in lines]


def names(one: Key, other: Key) -> list[str]:
    """The keys in which the two disagree."""
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


def said(keys: Sequence[str], one: Key, other: Key) -> tuple[str, ...]:
    """ "key (value and value)" of each."""
    return tuple(f"{name} ({one.get(name)} and {other.get(name)})" for name in keys)


def listed(keys: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = len(keys) - NAMED
    return f"{', '.join(keys[:NAMED])}{f' and {more} more' if more > 0 else ''}"


def allowed(key: str, across: Sequence[str]) -> bool:
    """Whether `key` may differ: it is one of them, or begins with one of them up to a dot."""
    return any(key == one or key.startswith(f"{one.rstrip('.')}.") for one in across)


def _nearest(
    lines: Sequence[Sequence[TrialReading | None]], trials: Sequence[TrialReading], across: Sequence[str]
) -> list[TrialReading | None]:
    """For each line a trial that is like its first one, none twice; the most alike find each other first."""
    found: list[tuple[tuple[int, int], int, int]] = []
    for row, line in enumerate(lines):
        for column, trial in enumerate(trials):
            distance = _distance(_first(line), trial, across)
            if distance is not None:
                found.append((distance, row, column))
    taken: dict[int, int] = {}
    for _, row, column in sorted(found):
        if row not in taken and column not in taken.values():
            taken[row] = column
    return [trials[taken[row]] if row in taken else None for row in range(len(lines))]


def _distance(one: TrialReading, other: TrialReading, across: Sequence[str]) -> tuple[int, int] | None:
    """How many settings differ that should not, and how many that may; None: they are two trials."""
    differing = [name for name in names(one.fingerprint, other.fingerprint) if name.startswith("trial.")]
    unlike = [name for name in differing if not allowed(name, across)]
    if len(unlike) > NAMED or any(name in _APART for name in unlike):
        return None
    return len(unlike), len(differing) - len(unlike)


def _first(line: Sequence[TrialReading | None]) -> TrialReading:
    return next(trial for trial in line if trial is not None)


def _asked(trial: TrialReading) -> Key:
    return {
        name.removeprefix("trial."): value for name, value in trial.fingerprint.items() if name.startswith("trial.")
    }


def _label(trial: TrialReading, rivals: Sequence[Key]) -> str:
    """The backend, what tells it from others of that backend and replica count, and its replicas."""
    own = _asked(trial)
    alike = [rival for rival in rivals if all(rival.get(name) == own.get(name) for name in ("backend", "replicas"))]
    return f"{compare.called(own, alike)} \u00d7{trial.replicas}"
