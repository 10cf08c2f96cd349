"""The regression gate: is a run slower than its baseline? Pass, regress, or inconclusive; numbers in, findings out.

Looking again after every launch until something is found would find something in every run. So there are at most
three looks, at fixed numbers of launches, and the error allowed to the gate is dealt out among them (Bonferroni; no
assumption about how the looks depend on each other). docs/statistics.md has the measured error rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.stats import LAUNCHES_FOR_INTERVAL, Contrast, Estimate, contrast
from bench.stats.estimates import logarithms

Verdict = Literal["pass", "regress", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One look, from so many launches on. One-sided levels: `regress` of a false alarm, `passing` of a miss."""

    launches: int
    regress: float
    passing: float


# False alarms 4 % in all, misses of the slowdown to rule out 7 % in all; most is kept for the last look.
STAGES = (Stage(3, 0.002, 0.005), Stage(6, 0.008, 0.015), Stage(10, 0.03, 0.05))
BUDGET = STAGES[-1].launches


@dataclass(frozen=True, slots=True)
class Rule:
    """Slowdowns, as shares of time. A measured one below `minimum_effect` never fails a run, however sure it is; a
    run passes when a slowdown of `rule_out` is ruled out."""

    minimum_effect: float = 0.02
    rule_out: float = 0.05


@dataclass(frozen=True, slots=True)
class Spread:
    """How much whole runs of the same work differ beyond what their launches explain: the variance of a run's mean
    log rate, and how many degrees of freedom that figure has."""

    variance: float
    freedom: float


@dataclass(frozen=True, slots=True)
class Finding:
    """Of one trial.

    slowdown   baseline rate / rate: 1.05 is 5 % slower. Its bounds are those that decide, at the stage's levels
    threshold  the smallest slowdown that this look would have called a regression, as a share
    launches   of the run, of the baseline
    """

    trial_id: str
    verdict: Verdict
    slowdown: Estimate | None
    threshold: float | None
    launches: tuple[int, int]
    sentence: str


def judge(
    trial_id: str,
    rates: Sequence[float],
    baseline_rates: Sequence[float],
    spread: Spread | None = None,
    comparisons: int = 1,
    rule: Rule = Rule(),
) -> Finding:
    """One trial against its baseline, launch rates of both. `comparisons`: trials that the check judges in all; the
    false alarms of the whole check are kept, so each gets its share (passing needs none: all must pass)."""
    launches = (len(rates), len(baseline_rates))
    if min(launches) < LAUNCHES_FOR_INTERVAL:
        side = "the run" if launches[0] <= launches[1] else "the baseline"
        few = f"{min(launches)} {'launch' if min(launches) == 1 else 'launches'}"
        sentence = f"{side} has {few} and at least {LAUNCHES_FOR_INTERVAL} are needed"
        return Finding(trial_id, "inconclusive", None, None, launches, sentence)
    stage = stage_of(len(rates))
    found = slowdown(logarithms(rates), logarithms(baseline_rates), spread)
    regresses, passes = decide(found, stage, comparisons, rule)
    low, high = float(found.bound(stage.regress / comparisons)), float(found.bound(1 - stage.passing))
    estimate = Estimate(math.exp(found.point), math.exp(low), math.exp(high), min(launches))
    threshold = max(rule.minimum_effect, math.expm1(float(found.point) - low))
    verdict: Verdict = "regress" if regresses else "pass" if passes else "inconclusive"
    return Finding(trial_id, verdict, estimate, threshold, launches, _sentence(verdict, estimate, threshold, rule))


def undecided(trial_id: str, sentence: str) -> Finding:
    """Of a trial that there is nothing to judge by."""
    return Finding(trial_id, "inconclusive", None, None, (0, 0), sentence)


def slowdown(logs: NDArray[np.float64], baseline_logs: NDArray[np.float64], spread: Spread | None = None) -> Contrast:
    """Log rates, axes (study, launch): baseline minus run. Both runs deviate by `spread`."""
    extra = [(2 * spread.variance, spread.freedom)] if spread else []
    return contrast([baseline_logs, logs], [1.0, -1.0], extra)


def stage_of(launches: int) -> Stage:
    """The look that so many launches make; at least three."""
    return [stage for stage in STAGES if stage.launches <= launches][-1]


def decide(
    found: Contrast, stage: Stage, comparisons: int = 1, rule: Rule = Rule()
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(regresses, passes), axis (study); neither: inconclusive.

    Regress: the one-sided lower bound is above no slowdown, and the point at least the minimum effect. Pass: the
    one-sided upper bound is below the slowdown to rule out.
    """
    surely = found.bound(stage.regress / comparisons) > 0
    regresses = np.asarray(surely & (found.point >= math.log1p(rule.minimum_effect)))
    passes = np.asarray((found.bound(1 - stage.passing) < math.log1p(rule.rule_out)) & ~regresses)
    return regresses, passes


def recorded_spread(history: Sequence[Sequence[float]]) -> Spread | None:
    """From saved runs of the same work in order of time, launch rates of each; None below three runs.

    Neighbours are A/A comparisons: half the mean squared successive difference of their mean logs (von Neumann,
    Ann. Math. Statistics 12, 1941, insensitive to slow drift), less what the launches within the runs explain, with
    2 (m - 1)^2 / (3 m - 4) degrees of freedom.
    """
    if len(history) < 3 or any(len(rates) < 2 for rates in history):
        return None
    logs = [logarithms(rates) for rates in history]
    within = np.array([np.var(run, ddof=1) / len(run) for run in logs])
    successive = np.diff([np.mean(run) for run in logs]) ** 2 / 2 - (within[1:] + within[:-1]) / 2
    runs = len(history)
    return Spread(max(0.0, float(np.mean(successive))), 2 * (runs - 1) ** 2 / (3 * runs - 4))


def verdict(findings: Sequence[Finding]) -> Verdict:
    """Of the whole check: one regression is one too many, and what could not be judged has not passed."""
    verdicts = [finding.verdict for finding in findings]
    if "regress" in verdicts:
        return "regress"
    return "pass" if verdicts and set(verdicts) == {"pass"} else "inconclusive"


def launches_wanted(findings: Sequence[Finding]) -> int:
    """How many more launches of each trial the next look needs; 0 when every trial is decided or at the budget."""
    return max((_missing(finding) for finding in findings if finding.verdict == "inconclusive"), default=0)


def resolve(look: Callable[[], list[Finding]], more_launches: Callable[[int], None]) -> list[Finding]:
    """Adds launches, stage by stage, until every trial is decided or the budget is spent.

    `more_launches(n)` makes n more of every trial, `look` judges what there is now. What one look has decided stands:
    a later look must not overturn it, or the levels would not hold.
    """
    findings = look()
    while (wanted := launches_wanted(findings)) > 0:
        more_launches(wanted)
        decided = {finding.trial_id: finding for finding in findings if finding.verdict != "inconclusive"}
        before = {finding.trial_id: finding.launches for finding in findings}
        findings = [decided.get(finding.trial_id, finding) for finding in look()]
        if before == {finding.trial_id: finding.launches for finding in findings}:
            return [_without_more(finding) for finding in findings]
    return findings


def _missing(finding: Finding) -> int:
    """To the next stage; 0 where more launches of the run cannot help."""
    own, baseline = finding.launches
    if own == 0 or baseline < LAUNCHES_FOR_INTERVAL:
        return 0
    return next((stage.launches - own for stage in STAGES if stage.launches > own), 0)


def _without_more(finding: Finding) -> Finding:
    if finding.verdict != "inconclusive":
        return finding
    return replace(finding, sentence=f"{finding.sentence}; further launches gave no number")


def _sentence(verdict: Verdict, found: Estimate, threshold: float, rule: Rule) -> str:
    change = found.point - 1
    measured = f"{abs(change):.1%} {'slower' if change >= 0 else 'faster'}"
    if verdict == "regress":
        return f"{measured}, and this check calls {threshold:.1%} a regression"
    if verdict == "pass":
        return f"{measured}; a slowdown of {rule.rule_out:.0%} is ruled out"
    return f"{measured}; neither a regression (from {threshold:.1%}) nor is a slowdown of {rule.rule_out:.0%} ruled out"
