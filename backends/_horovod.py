"""Horovod's knobs, for both front ends. No function of it tells them: they are what was asked, not what it did."""

from __future__ import annotations

import os

from backends._collective import refused
from bench.records import CollectiveRequest

# Defaults of Horovod 0.28.1, horovod/common/operations.cc.
FUSION_THRESHOLD_BYTES = 128 * 1024 * 1024
CYCLE_TIME_MS = 1.0

GLOO_RING = "Gloo's all-reduce, as Horovod calls it, has one algorithm for all sizes: a segmented ring"


def requested_knobs() -> dict[str, str | bool | int | float | None]:
    """From the variables that this rank was started with; with autotuning Horovod changes them as it runs."""
    return {
        "fusion_threshold_bytes_requested": int(os.environ.get("HOROVOD_FUSION_THRESHOLD", FUSION_THRESHOLD_BYTES)),
        "cycle_time_ms_requested": float(os.environ.get("HOROVOD_CYCLE_TIME", CYCLE_TIME_MS)),
        "autotune_requested": os.environ.get("HOROVOD_AUTOTUNE", "0") not in ("", "0"),
    }


def collective_algorithm(request: CollectiveRequest, ran: tuple[str, str]) -> tuple[str, str]:
    """(name, evidence) of an operation alone. `ran`: of the all-reduce of a step.

    Raises TrialError where it cannot be selected: what carries Horovod was chosen when the ranks were started.
    """
    if request.dtype == "bfloat16":
        raise refused("Horovod", request, "its messages have no such type")
    if request.collective != "all_reduce":
        ran = ("unknown", "what carries Horovod chooses by itself, and is not observed") if ran[0] != "none" else ran
    if request.algorithm not in ("auto", ran[0]) and ran[0] != "none":
        raise refused("Horovod", request, f"it was chosen when the ranks were started: {ran[1]}")
    return ran
