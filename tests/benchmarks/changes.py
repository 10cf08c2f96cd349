"""What the rule of `paceline report --history` is worth: prints the table of docs/compare.md. About a minute."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench import stats

HISTORIES = 4000
RUNS = (6, 12, 24)
STEP = math.log(1.05)
SPREADS = (0.005, 0.01, 0.015, 0.02)


def quiet(rng: np.random.Generator, kind: str, runs: int) -> NDArray[np.float64]:
    """Log rates of histories in which nothing changes, axes (history, run)."""
    logs = rng.normal(0, 0.02, (HISTORIES, runs))
    if kind == "one run in ten with 5 times the spread":
        logs *= np.where(rng.random(logs.shape) < 0.1, 5, 1)
    if kind == "one run in ten 10 % slower":
        logs -= 0.1 * (rng.random(logs.shape) < 0.1)
    if kind == "each run half like the one before":
        for run in range(1, runs):
            logs[:, run] = 0.5 * logs[:, run - 1] + math.sqrt(0.75) * logs[:, run]
    return logs


def alarms(logs: NDArray[np.float64]) -> str:
    """Share of histories with a change, percent."""
    return f"{100 * float(np.mean([bool(stats.changes(history)) for history in np.exp(logs).tolist()])):.1f}"


def found(rng: np.random.Generator, spread: float, places: Sequence[int], comparisons: int) -> str:
    """Share of 12-run histories whose changes are found at these places, one run early or late; percent."""
    logs = rng.normal(0, spread, (HISTORIES // 4, 12))
    logs[:, places[0] : places[1] if len(places) > 1 else None] -= STEP
    hits = [_near(stats.changes(history, comparisons), places) for history in np.exp(logs).tolist()]
    return f"{100 * float(np.mean(hits)):.0f}"


def _near(given: Sequence[int], places: Sequence[int]) -> bool:
    return all(any(abs(one - place) <= 1 for one in given) for place in places)


def main() -> None:
    """Markdown."""
    rng = np.random.default_rng(20260101)
    print("| nothing changes, changes shown in percent of histories |", *(f"{runs} runs |" for runs in RUNS))
    print("| --- |" + " --- |" * len(RUNS))
    kinds = ("normal", "one run in ten with 5 times the spread", "one run in ten 10 % slower",
             "each run half like the one before")  # fmt: skip
    for kind in kinds:
        print(f"| {kind} |", *(f"{alarms(quiet(rng, kind, runs))} |" for runs in RUNS))
    print(
        "\n| 5 % in 12 runs, found in percent of histories; runs spread by |",
        *(f"{100 * one:g} % |" for one in SPREADS),
    )
    print("| --- |" + " --- |" * len(SPREADS))
    for name, places in (
        ("a step in the middle", [6]),
        ("a step three runs ago", [9]),
        ("slower for four runs", [4, 8]),
    ):
        for comparisons in (1, 6):
            cells = [f"{found(rng, spread, places, comparisons)} |" for spread in SPREADS]
            print(f"| {name}, {comparisons} {'trial' if comparisons == 1 else 'trials'} looked at |", *cells)


if __name__ == "__main__":
    main()
