"""Launches by the thousand, with the truth known: what the statistics are proven on. Axes (study, launch)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]

WINDOWS = 10
WINDOW_SPREAD = 0.05
CORRELATION = 0.5
LAUNCH_SPREAD = 0.015


@dataclass(frozen=True)
class Case:
    """`draw` gives a launch's own level, mean time per window without window noise; `mean_log` is E log of it."""

    draw: Draw
    mean_log: float


def log_normal(spread: float) -> Case:
    return Case(lambda rng, shape: np.exp(spread * rng.standard_normal(shape)), 0.0)


def normal(spread: float) -> Case:
    return Case(lambda rng, shape: 1 + spread * rng.standard_normal(shape), mean_log_of_normal(spread))


def bimodal(gap: float, spread: float) -> Case:
    """Half of the launches are slower by `gap`: another NUMA node, another route."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        return np.exp(np.log1p(gap) * (rng.random(shape) < 0.5) + spread * rng.standard_normal(shape))

    return Case(draw, 0.5 * float(np.log1p(gap)))


def contaminated(wider: float, spread: float) -> Case:
    """Tukey's contaminated normal, on logs: 10 % of the launches have `wider` times the spread."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        return np.exp(spread * np.where(rng.random(shape) < 0.1, wider, 1.0) * rng.standard_normal(shape))

    return Case(draw, 0.0)


def disturbed(slower: float, spread: float) -> Case:
    """10 % of the launches are slower by `slower`: one-sided contamination, a neighbour at work."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        return np.exp(np.log1p(slower) * (rng.random(shape) < 0.1) + spread * rng.standard_normal(shape))

    return Case(draw, 0.1 * float(np.log1p(slower)))


def launches(rng: np.random.Generator, case: Case, shape: tuple[int, int], windows: int = WINDOWS) -> Floats:
    """Window times, axes (study, launch, window): the launch's level times 1 + autoregressive noise."""
    return case.draw(rng, shape)[..., None] * (1 + window_noise(rng, shape, windows))


def window_noise(rng: np.random.Generator, shape: tuple[int, int], windows: int) -> Floats:
    """First-order autoregressive, stationary: spread WINDOW_SPREAD, lag-one correlation CORRELATION."""
    fresh = rng.standard_normal((*shape, windows))
    noise = np.empty_like(fresh)
    noise[..., 0] = fresh[..., 0]
    for window in range(1, windows):
        noise[..., window] = CORRELATION * noise[..., window - 1] + np.sqrt(1 - CORRELATION**2) * fresh[..., window]
    return WINDOW_SPREAD * noise


def truth(case: Case, windows: int = WINDOWS) -> float:
    """E log of a launch's mean window time: that of its level, and that of a normal mean of windows about 1."""
    lags = np.arange(1, windows)
    together = windows + 2 * float(np.sum((windows - lags) * CORRELATION**lags))
    return case.mean_log + mean_log_of_normal(WINDOW_SPREAD * np.sqrt(together) / windows)


def mean_log_of_normal(spread: float) -> float:
    """E log X of X normal about 1, by Gauss and Hermite's quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    return float(weights @ np.log1p(spread * nodes) / weights.sum())


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson, JASA 22, 1927)."""
    z, share = 1.959964, successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return float(centre - half), float(centre + half)


CASES: Mapping[str, Case] = {
    "normal, 1.5 %": normal(LAUNCH_SPREAD),
    "lognormal, 10 %": log_normal(0.10),
    "bimodal, half 5 % slower": bimodal(0.05, LAUNCH_SPREAD),
    "bimodal, half 20 % slower": bimodal(0.20, LAUNCH_SPREAD),
    "10 % contaminated, 3 x wider": contaminated(3.0, LAUNCH_SPREAD),
    "10 % contaminated, 10 x wider": contaminated(10.0, LAUNCH_SPREAD),
    "10 % disturbed, 10 % slower": disturbed(0.10, LAUNCH_SPREAD),
    "10 % disturbed, 50 % slower": disturbed(0.50, LAUNCH_SPREAD),
}
