"""How long a launch may stand still, per phase, before it counts as hung: pure functions of the study and of what was
seen so far."""

from __future__ import annotations

from bench.records import Trial
from bench.timed_collectives import DROPPED_READINGS, READINGS, TRIALS
from bench.workload.models import model_config

# Seconds. A framework's import over a cold shared file system, and the ranks' meeting, take minutes at worst.
START_S = 180.0
BUILD_S = 120.0
FIRST_STEP_S = 300.0  # tracing and compiling are in it
FINISH_S = 120.0
STOP_S = 60.0
# A window may take so many times the longest one seen before it, but is never given less than the floor.
WINDOW_FACTOR = 20.0
WINDOW_FLOOR_S = 30.0
# Loading, exchanging and hashing weights: seconds per trained element, a tenth of a slow disk's pace.
PER_ELEMENT_S = 1e-6


def deadline_s(trial: Trial, phase: str | None, windows_ns: list[int], patience: float) -> float:
    """Seconds without any rank writing a line after which the launch is hung.

    phase       of the rank that has come least far; None: it has not started
    windows_ns  durations of the windows measured so far, the first step first, local ones among them
    patience    the study's own factor
    """
    size = _elements(trial) * PER_ELEMENT_S
    allowed = {
        None: START_S,
        "start": START_S,
        "build": BUILD_S + size,
        "finish": FINISH_S + size,
        "stop": STOP_S,
        "end": STOP_S,
    }.get(phase)
    if allowed is None:
        allowed = _window_s(trial, windows_ns) + _evaluation_s(trial, windows_ns) + _standalone_s(trial, windows_ns)
    return allowed * patience


def _window_s(trial: Trial, windows_ns: list[int]) -> float:
    if not windows_ns:
        return FIRST_STEP_S
    first, *later = windows_ns
    longest = max(later, default=first * trial.timing.steps_per_window) / 1e9
    return max(WINDOW_FLOOR_S, WINDOW_FACTOR * longest)


def _evaluation_s(trial: Trial, windows_ns: list[int]) -> float:
    """One rank evaluates while the others wait: a sample counts as a trained one of the slowest window."""
    if not trial.quality.samples or not windows_ns:
        return 0.0
    steps = trial.quality.samples / trial.workload.batch_per_replica
    return WINDOW_FACTOR * steps * windows_ns[0] / 1e9


def _standalone_s(trial: Trial, windows_ns: list[int]) -> float:
    """After the last window the exchange is timed alone, and no line is written before its last reading. Over a slow
    network a step is little else than its exchange: a reading then takes as long as a step."""
    timing = trial.timing
    local = 2 * (1 + timing.warmup_windows + timing.windows)  # full and local ones, the first step's included
    if not timing.local_windows or (len(windows_ns) < local and not trial.quality.target):
        return 0.0
    return 2 * (1 + TRIALS + DROPPED_READINGS + READINGS) * max(windows_ns, default=0) / 1e9


def _elements(trial: Trial) -> float:
    config = model_config(trial.workload)
    layer = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    return float(config.vocab_size * config.hidden_size + config.num_hidden_layers * layer)
