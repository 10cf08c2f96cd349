"""A row as one flat set of columns: what CSV and JSON write, and the numbers behind the page."""

from __future__ import annotations

from bench.records import Verified, Worst
from bench.stats import Estimate
from reports.measure import Measured
from reports.quality import Quality
from reports.table import Row, finite

SIGNIFICANT = 12  # more would show the rounding of the last bit, which differs between machines
Cell = str | int | float | None


def columns(row: Row) -> dict[str, Cell]:
    """Base units in the names; None is unknown; 12 significant digits."""
    cells = _asked(row)
    cells.update(_measured(row.measured))
    cells.update(_spread("efficiency", row.efficiency))
    cells["baseline"] = row.baseline
    cells["baseline_note"] = row.baseline_note
    cells["loss_difference"] = row.loss_difference
    cells["loss_reference"] = row.loss_reference
    cells.update(_learned(row.quality))
    cells.update(_verified(row.verified))
    return {name: _plain(value) for name, value in cells.items()}


def evaluations(row: Row) -> list[dict[str, Cell]]:
    """Every evaluation of a row that shows its quality, launch by launch."""
    curves = row.quality.curves if row.quality else ()
    return [
        {
            "trial_id": row.trial_id,
            "launch": launch,
            "steps": found.step,
            "samples": found.samples,
            "train_s": _plain(found.train_ns / 1e9),
            "metric": found.metric,
            "value": _plain(found.value),
            "validation_loss": _plain(found.loss),
            "reached": found.reached,
        }
        for launch, curve in enumerate(curves)
        for found in curve
    ]


def _asked(row: Row) -> dict[str, Cell]:
    trial = row.trial
    return {
        "trial_id": row.trial_id,
        "label": row.label,
        "backend": trial.backend,
        "framework": row.framework,
        "mode": row.mode,
        "replicas": trial.replicas,
        "launcher": trial.launcher,
        "task": trial.workload.task,
        "model": trial.workload.model,
        "sequence_length": trial.workload.sequence_length,
        "batch_per_replica": trial.workload.batch_per_replica,
        "accumulation": trial.workload.accumulation,
        "optimizer": trial.optimizer.name,
        "compile": trial.compile,
        "allreduce": trial.allreduce,
        "compute": row.compute.asked,
        "compute_effective": row.compute.ran,
        "wire": row.wire.asked,
        "wire_effective": row.wire.ran,
        "precision_mismatch": row.mismatch,
        "status": row.status,
        "reason": row.reason,
        "launches": row.launches,
        "no_interval": row.no_interval,
    }


def _measured(found: Measured | None) -> dict[str, Cell]:
    """Every column of Measured, unknown where the row shows no speed."""
    cells: dict[str, Cell] = {}
    for name in ("samples_per_second", "tokens_real_per_second", "tokens_padded_per_second"):
        cells.update(_spread(name, getattr(found, name, None)))
    for name in Measured.__dataclass_fields__:
        if name not in cells and name != "launch_rates":
            cells[name] = getattr(found, name, None)
    return cells


def _learned(found: Quality | None) -> dict[str, Cell]:
    return {
        "metric": found.metric if found else None,
        "metric_value": found.value if found else None,
        "validation_loss": found.loss if found else None,
        "evaluated_steps": found.steps if found else None,
        "evaluated_samples": found.samples if found else None,
        "target": found.target if found else None,
        "target_launches": found.reached if found and found.target else None,
        "steps_to_target": found.steps_to_target if found else None,
        "samples_to_target": found.samples_to_target if found else None,
        **_spread("seconds_to_target", found.seconds_to_target if found else None),
        "target_note": found.not_reached if found else None,
    }


def _verified(found: Verified | None) -> dict[str, Cell]:
    """The worst of each comparison, and how many gates of the verification failed."""
    return {
        "verified_utc": found.created_utc if found else None,
        "verified_steps": found.steps if found else None,
        "verified_against": found.reference if found else None,
        "verified_error": found.error if found else None,
        **_worst("verified_loss", found.losses if found else None),
        **_worst("verified_gradient", found.gradients if found else None),
        **_worst("verified_update", found.updates if found else None),
        "verified_gates_failed": sum(gate.holds is False for gate in found.gates) if found else None,
    }


def _worst(name: str, found: Worst | None) -> dict[str, Cell]:
    return {
        f"{name}_difference": found.difference if found else None,
        f"{name}_allowed": found.allowed if found else None,
        f"{name}_where": found.where if found else None,
    }


def _spread(name: str, found: Estimate | None) -> dict[str, Cell]:
    point, low, high = (found.point, found.low, found.high) if found else (None, None, None)
    return {name: point, f"{name}_low": low, f"{name}_high": high}


def _plain(value: Cell) -> Cell:
    if isinstance(value, float):
        kept = finite(value)
        return None if kept is None else float(f"{kept:.{SIGNIFICANT}g}")
    return value
