"""How often a 95 % interval holds the truth: by method, by kind of launch, by number of launches."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench import stats
from tests.proof import simulate
from tests.proof.methods import METHODS, Bounds
from tests.proof.record import Experiment, Part
from tests.proof.simulate import CASES, Case, Floats

LAUNCHES = (3, 4, 5, 6, 7, 8, 9, 10)
CHOSEN = "t"
AT_ONCE = 1000  # studies; a bootstrap holds this many x resamples x launches numbers
RULES = ((3, 0.03), (5, 0.03), (3, 0.02), (5, 0.02))


def experiment(seed: int = 1, studies: int = 20_000, others: int = 4_000) -> Experiment:
    """`studies` per case and launch count for the chosen method and the ratio, `others` for the methods set beside it."""
    parts: dict[str, Part] = {f"interval, {name}": _of_methods(case, studies, others) for name, case in CASES.items()}
    parts |= {f"ratio, {name}": _of_ratio(case, studies) for name, case in CASES.items()}
    parts["stopping, normal, 1.5 %"] = lambda rng: stopping(rng, CASES["normal, 1.5 %"], others)
    return Experiment(
        name="coverage",
        about="share of studies whose 95 % interval holds the geometric mean launch time, and its 95 % interval",
        proves=(
            "bench/stats/estimates.py",
            "bench/stats/sequence.py",
            "tests/proof/coverage.py",
            "tests/proof/methods.py",
            "tests/proof/simulate.py",
        ),
        settings={"seed": seed, "studies": studies, "studies_of_other_methods": others},
        parts=parts,
    )


def _of_methods(case: Case, studies: int, others: int) -> Part:
    def part(rng: np.random.Generator) -> Any:
        return {
            method: {str(count): interval(rng, case, method, count, amount) for count in LAUNCHES}
            for method in METHODS
            for amount in [studies if method == CHOSEN else others]
        }

    return part


def _of_ratio(case: Case, studies: int) -> Part:
    return lambda rng: {str(count): ratio(rng, case, count, studies) for count in LAUNCHES}


def interval(rng: np.random.Generator, case: Case, method: str, count: int, studies: int) -> dict[str, Any]:
    """Of one launch count."""
    truth = simulate.truth(case)
    pieces = []
    for _ in range(0, studies, AT_ONCE):
        times = simulate.launches(rng, case, (min(AT_ONCE, studies), count))
        pieces.append(METHODS[method](times, rng))
    return summary((np.concatenate([low for low, _ in pieces]), np.concatenate([high for _, high in pieces])), truth)


def ratio(rng: np.random.Generator, case: Case, count: int, studies: int) -> dict[str, Any]:
    """Two trials of the same launches; the truth is no difference."""
    sides = [np.log(simulate.launches(rng, case, (studies, count)).mean(axis=-1)) for _ in range(2)]
    found = stats.contrast(sides, [1.0, -1.0])
    return summary((found.bound(0.025), found.bound(0.975)), 0.0)


def stopping(rng: np.random.Generator, case: Case, studies: int) -> dict[str, Any]:
    """Studies that stop by stats.stopping, at 10 launches at the latest: what is left of the coverage."""
    times = simulate.launches(rng, case, (studies, 10)).mean(axis=-1)
    truth = simulate.truth(case)
    found = {}
    for fewest, target in RULES:
        counts = [_stops_at(study, target, fewest) for study in times]
        estimates = [stats.over_launches(study[:count].tolist()) for study, count in zip(times, counts, strict=True)]
        bounds = [(one.low, one.high) for one in estimates if one is not None]
        logs = np.log(np.asarray(bounds, np.float64))
        name = f"from {fewest} launches on, target {target:.0%}"
        found[name] = summary((logs[:, 0], logs[:, 1]), truth) | {"launches": round(float(np.mean(counts)), 2)}
    return found


def _stops_at(study: Floats, target: float, fewest: int) -> int:
    return next(n for n in range(1, 11) if stats.stopping(study[:n].tolist(), target, fewest, 10) != "go on")


def summary(bounds: Bounds, truth: float) -> dict[str, Any]:
    """Coverage with its 95 % interval, and the median half-width of the intervals, all shares."""
    low, high = bounds
    covered = int(np.sum((low <= truth) & (truth <= high)))
    least, most = simulate.wilson(covered, len(low))
    return {
        "coverage": round(covered / len(low), 4),
        "low": round(least, 4),
        "high": round(most, 4),
        "half_width": round(float(np.expm1(np.median(high - low) / 2)), 4),
    }
