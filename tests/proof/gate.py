"""How often the regression gate raises a false alarm, and how often it finds what was injected; simulated launches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench import regression
from tests.proof import simulate
from tests.proof.record import Experiment, Part
from tests.proof.simulate import CASES, Case, Floats

SLOWDOWNS = (0.0, 0.02, 0.05, 0.1)
THE_CASE = "normal, 1.5 %"


@dataclass(frozen=True)
class Setting:
    """`baseline`: its launches. `windows` of each launch."""

    case: str = THE_CASE
    baseline: int = 10
    windows: int = simulate.WINDOWS


SETTINGS = (
    Setting(),
    Setting(baseline=5),
    Setting(baseline=3),
    Setting(windows=5),
    Setting(windows=20),
    *(Setting(case=name) for name in CASES if name != THE_CASE),
)


def experiment(seed: int = 1, checks: int = 10_000, others: int = 2_000) -> Experiment:
    """`checks` of the gate's own setting, `others` of each setting beside it."""
    parts: dict[str, Part] = {
        f"{setting.case}; baseline of {setting.baseline}; {setting.windows} windows; {slower:.0%} slower": _part(
            setting, slower, checks if place == 0 else others
        )
        for place, setting in enumerate(SETTINGS)
        for slower in SLOWDOWNS
    }
    return Experiment(
        name="gate",
        about="share of `check --resolve` that regress, pass or stay open, with the 95 % interval of the first",
        proves=("bench/regression.py", "bench/stats/estimates.py", "tests/proof/gate.py", "tests/proof/simulate.py"),
        settings={"seed": seed, "checks": checks, "checks_of_other_settings": others},
        parts=parts,
    )


def _part(setting: Setting, slower: float, checks: int) -> Part:
    return lambda rng: outcomes(rng, CASES[setting.case], slower, checks, setting)


def outcomes(rng: np.random.Generator, case: Case, slower: float, checks: int, setting: Setting) -> dict[str, Any]:
    """Each check as a user makes it: three launches, then as many more as it asks for, ten at the most."""
    baselines = _rates(rng, case, (checks, setting.baseline), setting.windows)
    runs = _rates(rng, case, (checks, regression.BUDGET), setting.windows) / (1 + slower)
    ended = [check(run, baseline) for run, baseline in zip(runs.tolist(), baselines.tolist(), strict=True)]
    verdicts = [finding.verdict for finding in ended]
    low, high = simulate.wilson(verdicts.count("regress"), checks)
    return {
        "regress": round(verdicts.count("regress") / checks, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "pass": round(verdicts.count("pass") / checks, 4),
        "inconclusive": round(verdicts.count("inconclusive") / checks, 4),
        "launches": round(float(np.mean([finding.launches[0] for finding in ended])), 2),
    }


def check(rates: Sequence[float], baseline: Sequence[float]) -> regression.Finding:
    """bench.regression.resolve over a run that has these launches to give, three of them made."""
    made = [3]

    def look() -> list[regression.Finding]:
        return [regression.judge("trial", rates[: made[0]], baseline)]

    def more_launches(count: int) -> None:
        made[0] += count

    return regression.resolve(look, more_launches)[0]


def _rates(rng: np.random.Generator, case: Case, shape: tuple[int, int], windows: int) -> Floats:
    return np.asarray(1 / simulate.launches(rng, case, shape, windows).mean(axis=-1))
