"""Horovod's knobs, for both front ends. No function of it tells them: they are what was asked, not what it did."""

from __future__ import annotations

import os

# Defaults of Horovod 0.28.1, horovod/common/operations.cc.
FUSION_THRESHOLD_BYTES = 128 * 1024 * 1024
CYCLE_TIME_MS = 1.0


def requested_knobs() -> dict[str, str | bool | int | float | None]:
    """From the variables that this rank was started with; with autotuning Horovod changes them as it runs."""
    return {
        "fusion_threshold_bytes_requested": int(os.environ.get("HOROVOD_FUSION_THRESHOLD", FUSION_THRESHOLD_BYTES)),
        "cycle_time_ms_requested": float(os.environ.get("HOROVOD_CYCLE_TIME", CYCLE_TIME_MS)),
        "autotune_requested": os.environ.get("HOROVOD_AUTOTUNE", "0") not in ("", "0"),
    }
