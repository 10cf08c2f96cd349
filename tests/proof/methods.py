"""The interval methods that were compared: (window times, axes (study, launch, window)) -> log bounds, axis (study)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy import special

from bench import stats
from tests.proof.simulate import Floats

Bounds = tuple[Floats, Floats]
RESAMPLES = 999
LOW, HIGH = 0.025, 0.975


def students_t(times: Floats, rng: np.random.Generator) -> Bounds:
    """What bench.stats does: t on the logarithms of the launches' mean times."""
    return _student(np.log(times.mean(axis=-1)))


def t_on_medians(times: Floats, rng: np.random.Generator) -> Bounds:
    """The same on the launches' median windows: robust within a launch, but about another quantity."""
    return _student(np.log(np.median(times, axis=-1)))


def percentile(times: Floats, rng: np.random.Generator) -> Bounds:
    """Efron's percentile bootstrap over launches."""
    means = _resampled(np.log(times.mean(axis=-1)), rng).mean(axis=-1)
    return np.quantile(means, LOW, axis=-1), np.quantile(means, HIGH, axis=-1)


def studentised(times: Floats, rng: np.random.Generator) -> Bounds:
    """Bootstrap-t (Efron and Tibshirani 1993, chapter 12). A resample of one repeated launch has no spread: left out."""
    logs = np.log(times.mean(axis=-1))
    mean, error = logs.mean(axis=-1), _error(logs)
    drawn = _resampled(logs, rng)
    spread = _error(drawn)
    with np.errstate(divide="ignore", invalid="ignore"):
        pivots = np.where(spread > 1e-12, (drawn.mean(axis=-1) - mean[:, None]) / spread, np.nan)
    return mean - np.nanquantile(pivots, HIGH, axis=-1) * error, mean - np.nanquantile(pivots, LOW, axis=-1) * error


def bca(times: Floats, rng: np.random.Generator) -> Bounds:
    """Bias-corrected and accelerated bootstrap (Efron, JASA 82, 1987)."""
    logs = np.log(times.mean(axis=-1))
    mean = logs.mean(axis=-1)
    means = np.sort(_resampled(logs, rng).mean(axis=-1), axis=-1)
    below = np.clip((means < mean[:, None]).mean(axis=-1), 1 / RESAMPLES, 1 - 1 / RESAMPLES)
    bias = special.ndtri(below)
    left = mean[:, None] - logs
    acceleration = (left**3).sum(axis=-1) / (6 * (left**2).sum(axis=-1) ** 1.5)
    bounds = []
    for probability in (LOW, HIGH):
        z = bias + special.ndtri(probability)
        level = special.ndtr(bias + z / (1 - acceleration * z))
        place = np.clip((level * RESAMPLES).astype(int), 0, RESAMPLES - 1)
        bounds.append(np.take_along_axis(means, place[:, None], axis=-1)[:, 0])
    return bounds[0], bounds[1]


METHODS: Mapping[str, Callable[[Floats, np.random.Generator], Bounds]] = {
    "t": students_t,
    "t on medians": t_on_medians,
    "percentile": percentile,
    "studentised": studentised,
    "BCa": bca,
}


def _student(logs: Floats) -> Bounds:
    found = stats.contrast([logs], [1.0])
    return found.bound(LOW), found.bound(HIGH)


def _error(logs: Floats) -> Floats:
    return np.asarray(logs.std(axis=-1, ddof=1) / np.sqrt(logs.shape[-1]))


def _resampled(logs: Floats, rng: np.random.Generator) -> Floats:
    """Axes (study, resample, launch)."""
    studies, count = logs.shape
    places = rng.integers(0, count, (studies, RESAMPLES * count))
    return np.take_along_axis(logs, places, axis=-1).reshape(studies, RESAMPLES, count)
