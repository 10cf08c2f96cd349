"""A row as one flat set of columns: what CSV and JSON write, and the numbers behind the page."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.records import Verified, Worst
from bench.stats import Estimate
from reports.launches import Drift
from reports.measure import Measured
from reports.quality import Quality
from reports.scaling import Gain, Scaling
from reports.schema.sections import Launch
from reports.table import Row, finite

SIGNIFICANT = 12  # more would show the rounding of the last bit, which differs between machines
Cell = str | int | float | None


def columns(row: Row) -> dict[str, Cell]:
    """Base units in the names; None is unknown; 12 significant digits."""
    cells = _asked(row)
    cells.update(_measured(row.measured))
    cells.update(spread("efficiency", row.efficiency))
    cells["scaling"] = row.scaling
    cells["baseline"] = row.baseline
    cells["baseline_note"] = row.baseline_note
    cells.update(_conduct(row))
    cells["loss_difference"] = row.loss_difference
    cells["loss_reference"] = row.loss_reference
    cells.update(_learned(row.quality))
    cells.update(_verified(row.verified))
    return {name: plain(value) for name, value in cells.items()}


def evaluations(row: Row) -> list[dict[str, Cell]]:
    """Every evaluation of a row that shows its quality, launch by launch."""
    curves = row.quality.curves if row.quality else ()
    return [
        {
            "trial_id": row.trial_id,
            "launch": launch,
            "steps": found.step,
            "samples": found.samples,
            "train_s": plain(found.train_ns / 1e9),
            "metric": found.metric,
            "value": plain(found.value),
            "validation_loss": plain(found.loss),
            "reached": found.reached,
        }
        for launch, curve in enumerate(curves)
        for found in curve
    ]


def scaling_points(found: Sequence[Scaling]) -> list[dict[str, Cell]]:
    """Every point of every series, against both baselines."""
    return [
        {
            "scaling": scaling.kind,
            "batch": scaling.batch,
            "label": series.label,
            "trial_id": point.row.trial_id,
            "replicas": point.replicas,
            "samples_per_second": plain(point.rate),
            **_gain("bare", point.bare),
            **_gain("solo", point.solo),
            "oversubscribed": point.row.oversubscribed.clause if point.row.oversubscribed else None,
        }
        for scaling in found
        for series in scaling.series
        for point in series.points
    ]


def scaling_curves(found: Sequence[Scaling]) -> list[dict[str, Cell]]:
    """The fitted curves of every series."""
    return [
        {
            "scaling": scaling.kind,
            "batch": scaling.batch,
            "label": series.label,
            "amdahl_single_ms_per_sample": plain(amdahl.single) if amdahl else None,
            "amdahl_serial": plain(amdahl.serial) if amdahl else None,
            "ring_alone_ms": plain(ring.alone) if ring else None,
            "ring_latency_ms": plain(ring.latency) if ring else None,
            "ring_message_ms": plain(ring.message) if ring else None,
            "sentences": "; ".join(series.curves.words),
        }
        for scaling in found
        for series in scaling.series
        for amdahl, ring in [(series.curves.amdahl, series.curves.latency_bandwidth)]
    ]


def launched(found: Sequence[Launch]) -> list[dict[str, Cell]]:
    """Every launch in order."""
    return [{name: plain(cell) for name, cell in msgspec.structs.asdict(launch).items()} for launch in found]


def drifted(found: Drift) -> dict[str, Cell]:
    """What the sentinel showed."""
    estimate = {name: plain(value) for name, value in spread("drift", found.found).items()}
    return {"sentence": found.sentence, "shown": found.shown, "span_s": plain(found.span_s), **estimate}


def _gain(name: str, found: Gain | None) -> dict[str, Cell]:
    cells: dict[str, Cell] = {f"baseline_{name}": found.baseline if found else None}
    cells.update(spread(f"speed_up_{name}", found.speed_up if found else None))
    cells.update(spread(f"efficiency_{name}", found.efficiency if found else None))
    cells[f"suspect_{name}"] = found.suspect.clause if found and found.suspect else None
    return {column: plain(value) for column, value in cells.items()}


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
        "allreduce_effective": row.allreduce.ran,
        "allreduce_evidence": row.allreduce_evidence,
        "status": row.status,
        "reason": row.reason,
        "launches": row.launches,
        "no_interval": row.no_interval,
    }


def _measured(found: Measured | None) -> dict[str, Cell]:
    """Every column of Measured, unknown where the row shows no speed."""
    cells: dict[str, Cell] = {}
    for name in ("samples_per_second", "tokens_real_per_second", "tokens_padded_per_second"):
        cells.update(spread(name, getattr(found, name, None)))
    for name in Measured.__dataclass_fields__:
        if name not in cells and name != "launch_rates":
            cells[name] = getattr(found, name, None)
    return cells


def _conduct(row: Row) -> dict[str, Cell]:
    """What to bear in mind with the numbers, and how they came about."""
    warm_up = row.warm_up
    return {
        "oversubscribed": row.oversubscribed.clause if row.oversubscribed else None,
        "suspect": row.suspect.clause if row.suspect else None,
        "stopped": row.stopped,
        "warmup_windows_most": max(warm_up.windows) if warm_up else None,
        "launches_unsettled": len(warm_up.unsettled) if warm_up else None,
    }


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
        **spread("seconds_to_target", found.seconds_to_target if found else None),
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


def spread(name: str, found: Estimate | None) -> dict[str, Cell]:
    """Three columns: the point, and `_low` and `_high` of its interval."""
    point, low, high = (found.point, found.low, found.high) if found else (None, None, None)
    return {name: point, f"{name}_low": low, f"{name}_high": high}


def plain(value: Cell) -> Cell:
    """With SIGNIFICANT digits, and None for what is not finite."""
    if isinstance(value, float):
        kept = finite(value)
        return None if kept is None else float(f"{kept:.{SIGNIFICANT}g}")
    return value
