"""How long a study will take: from earlier runs of the same trial where there are any, else a rough guess."""

from __future__ import annotations

import statistics
from pathlib import Path

from bench import catalog
from bench.records import Plan, Repeat, Trial
from bench.storage import Damaged, unseal
from bench.workload.models import model_config

# Seconds before the first step, and GFLOP/s per thread: medians seen on two-core machines, right within a factor of 3.
START_S = {"torch": 8.0, "tensorflow": 16.0, "none": 1.0}
GFLOPS_PER_THREAD = 20.0


def launch_s(trial: Trial, runs: Path) -> tuple[float, bool]:
    """(seconds of one launch, measured?). Measured: the median wall time of this very trial in `runs`."""
    walls = [wall for path in runs.glob(f"*/{trial.id}/*/repeat.json") if (wall := _wall_s(path)) is not None]
    if walls:
        return statistics.median(walls), True
    row = catalog.entry(trial.backend)
    start_s = START_S.get(row.framework, 10.0)
    if row.framework == "none":
        return start_s, False
    return start_s + steps(trial) * _step_s(trial), False


def study_s(plan: Plan, runs: Path) -> tuple[float, bool]:
    """(seconds, whether every part was measured before)."""
    parts = {trial.id: launch_s(trial, runs) for trial in plan.trials}
    return sum(parts[trial_id][0] for trial_id, _ in plan.order), all(measured for _, measured in parts.values())


def steps(trial: Trial) -> int:
    """All steps of one launch: the first alone, then warm-up and measured windows, local ones beside them."""
    once = 1 + (trial.timing.warmup_windows + trial.timing.windows) * trial.timing.steps_per_window
    return once * 2 if trial.timing.local_windows else once


def _step_s(trial: Trial) -> float:
    """6 FLOPs per encoder weight and token, plus the vocabulary projection of 15 % of the tokens."""
    config = model_config(trial.workload)
    encoder = config.num_hidden_layers * (4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size)
    tokens = trial.workload.batch_per_replica * trial.workload.sequence_length
    projection = 0.15 * config.vocab_size * config.hidden_size if trial.workload.task == "pretraining" else 0.0
    return 6 * tokens * (encoder + projection) / (GFLOPS_PER_THREAD * 1e9 * trial.threads_per_replica)


def _wall_s(path: Path) -> float | None:
    try:
        repeat = unseal(path.read_bytes(), Repeat)
    except (OSError, Damaged):
        return None
    return repeat.wall_ns / 1e9 if repeat.error is None else None
