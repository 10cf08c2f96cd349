"""The summary as the page shows it: what stands in the place of each exported number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.stats import Estimate
from reports import chart, columns, compare
from reports.measure import Measured, no_p99
from reports.quality import Quality
from reports.table import IN_PROCESS, Row
from reports.text import DASH, counted, difference, interval, number, one_line, percent, size

LABEL_LETTERS = 60


@dataclass(frozen=True, slots=True)
class Bar:
    """Places on a scale of 0 to 100, for the small bar beside a speed."""

    point: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """One row as the page shows it. `at` in the exported rows; `cells` are its numbers, `text` what stands in their
    place. `how` it was launched."""

    at: int
    row: Row
    cells: Mapping[str, columns.Cell]
    text: Mapping[str, str]
    short: str
    color: int
    bar: Bar | None
    precision: str
    how: str


def lines(found: Sequence[Row], exported: Sequence[Mapping[str, columns.Cell]]) -> list[Line]:
    """`exported`: the rows of the JSON export, in the order of `found`. As the chart has them, fastest first."""
    places = chart.colors(found)
    speeds = [row.measured.samples_per_second for row in found if row.measured]
    reach = max((speed.high or speed.point for speed in speeds), default=1.0)
    made = [
        Line(
            at,
            row,
            cells,
            _texts(row, row.measured) | _quality_texts(row.quality) if row.measured else {},
            one_line(row.label, LABEL_LETTERS),
            places[row.trial.backend],
            _bar(row.measured.samples_per_second, reach) if row.measured else None,
            compare.precision(row.trial),
            how(row),
        )
        for at, (row, cells) in enumerate(zip(found, exported, strict=True))
    ]
    order = {row.trial_id: place for place, row in enumerate(chart.ordered(found))}
    return sorted(made, key=lambda line: order[line.row.trial_id])


def how(row: Row) -> str:
    """ "2 replicas in 1 process, started by horovodrun"."""
    kind = {"bare": "bare (no wrapper), ", "solo": "alone, "}.get(row.mode, "")
    replicas = row.trial.replicas
    shared = "" if row.processes in (None, replicas) else f" in {counted(row.processes, 'process', 'processes')}"
    by = "paceline itself" if row.trial.launcher == "local" else row.trial.launcher
    return f"{kind}{counted(replicas, 'replica')}{shared}, started by {by}"


def choices(found: Sequence[Line]) -> dict[str, list[str]]:
    """What the summary can be filtered by: attribute of a line to its values, where there are several."""
    values = {
        "backend": [one_line(line.row.trial.backend, LABEL_LETTERS) for line in found],
        "precision": [line.precision for line in found],
        "status": [line.row.status.replace("_", " ") for line in found],
    }
    return {name: several for name, all_ in values.items() if len(several := list(dict.fromkeys(all_))) > 1}


def _texts(row: Row, found: Measured) -> dict[str, str]:
    """Column of `export.columns` to what the page shows for it."""
    texts = {
        "samples_per_second": number(found.samples_per_second.point),
        "step_ms_median": number(found.step_ms_median),
        "step_ms_p95": number(found.step_ms_p95),
        "step_ms_p99": number(found.step_ms_p99),
        "no_p99": no_p99(found) or "",
        "skew_ms_median": number(found.skew_ms_median, 3),
        "input_wait_share": percent(found.input_wait_share),
        "cpu_cores": number(found.cpu_cores, 3),
        "rss_bytes": size(found.rss_bytes),
        "sent_bytes_per_step": IN_PROCESS if row.in_process else size(found.sent_bytes_per_step),
        "received_bytes_per_step": size(found.received_bytes_per_step),
        "first_step_s": number(found.first_step_s, 3),
        "setup_s": number(found.setup_s, 3),
        "efficiency": percent(row.efficiency.point if row.efficiency else None),
        "loss_difference": "reference" if row.loss_reference == row.trial_id else difference(row.loss_difference),
    }
    for name in ("tokens_real_per_second", "tokens_padded_per_second"):
        estimate: Estimate | None = getattr(found, name)
        texts[name] = number(estimate.point if estimate else None)
    texts["launches"] = str(row.launches)
    texts["samples_interval"] = interval(found.samples_per_second) or ""
    bounds = interval(row.efficiency, 100, 2)
    texts["efficiency_interval"] = f"{bounds} %" if bounds else ""
    return texts


def _quality_texts(found: Quality | None) -> dict[str, str]:
    """The same for the table of quality; empty where nothing was evaluated."""
    if found is None:
        return {}
    seconds = found.seconds_to_target
    return {
        "metric_value": number(found.value),
        "validation_loss": number(found.loss),
        "evaluated_steps": f"{found.steps:,.0f}",
        "evaluated_samples": f"{found.samples:,.0f}",
        "target": number(found.target, 3),
        "seconds_to_target": number(seconds.point if seconds else None, 3),
        "seconds_interval": interval(seconds, digits=3) or "",
        "steps_to_target": DASH if found.steps_to_target is None else f"{found.steps_to_target:,.0f}",
        "samples_to_target": DASH if found.samples_to_target is None else f"{found.samples_to_target:,.0f}",
    }


def _bar(speed: Estimate, reach: float) -> Bar:
    low, high = (None if bound is None else round(100 * bound / reach, 2) for bound in (speed.low, speed.high))
    return Bar(round(100 * speed.point / reach, 2), low, high)
