"""The report: one HTML file that needs nothing else, runs nothing but its own script and asks no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from bench.stats import Estimate
from reports import caveats, chart, columns, compare, curve, evidence, export, ladder_chart, page, scaling_page, traces
from reports.caveats import unsettled
from reports.ladder import climbs, stragglers
from reports.launches import drift, launches
from reports.load import LoadedRun
from reports.measure import Measured, no_p99
from reports.quality import Quality, cautions
from reports.scaling import scalings
from reports.table import Row, rows
from reports.text import DASH, counted, interval, number, one_line, percent, size
from reports.verdict import equality, learners, not_compared, verdicts
from reports.verification import proofs

LABEL_LETTERS = 60


@dataclass(frozen=True, slots=True)
class Bar:
    """Places on a scale of 0 to 100, for the small bar beside a speed."""

    point: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """One row as the page shows it. `cells` are the exported numbers, `text` what stands in their place."""

    row: Row
    cells: Mapping[str, columns.Cell]
    text: Mapping[str, str]
    short: str
    color: int
    bar: Bar | None


def render_html(run: LoadedRun) -> str:
    """The whole document."""
    style, script = page.asset("report.css"), page.asset("report.js")
    return (
        page.environment()
        .get_template("report.html.jinja")
        .render(style=Markup(style), script=Markup(script), policy=page.policy(style, script), **_context(run))
    )


def _context(run: LoadedRun) -> dict[str, Any]:
    found = rows(run)
    labels = compare.labels(run.result.trials)
    names, settings = evidence.effective(run.result, labels)
    made = launches(run.result, found)
    return {
        "run": run,
        "result": run.result,
        "verdicts": verdicts(run.result, found),
        "cautions": cautions(learners(found)),
        "not_compared": not_compared(run.result, found),
        "equality": equality(run.result),
        "counts": _counts(found),
        "lines": _lines(found),
        "without": [row for row in found if row.measured is None],
        "notes": _notes(found),
        "caveats": caveats.among([(f"{row.label} \u00d7{row.trial.replicas}", row.caveats) for row in found]),
        "scaling": scaling_page.views(scalings(run, found), chart.colors(found)),
        "ladder": ladder_chart.views(climbs(run, found), chart.colors(found)),
        "traces": traces.view(run, found, climbs(run, found)),
        "stragglers": stragglers,
        "launches": made,
        "drift": drift(run.result, made),
        "chart": _charts(found),
        "curves": [_curves(found, metric) for metric in curve.metrics(found)],
        "evaluations": [(row, point) for row in found for point in columns.evaluations(row)],
        "proofs": proofs(run.result, found, labels),
        "gates": evidence.gate_lines(run.result, labels),
        "environment": evidence.environment(run.result),
        "commands": evidence.commands(run.result, labels),
        "effective": {"names": names, "settings": settings},
        "document": export.document(run, found),
        "number": number,
        "percent": percent,
        "unsettled": unsettled,
        "interval": interval,
        "one_line": one_line,
    }


def _lines(found: Sequence[Row]) -> list[Line]:
    places = chart.colors(found)
    speeds = [row.measured.samples_per_second for row in found if row.measured]
    reach = max((speed.high or speed.point for speed in speeds), default=1.0)
    return [
        Line(
            row,
            columns.columns(row),
            _texts(row, row.measured) | _quality_texts(row.quality) if row.measured else {},
            one_line(row.label, LABEL_LETTERS),
            places[row.trial.backend],
            _bar(row.measured.samples_per_second, reach) if row.measured else None,
        )
        for row in found
    ]


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
        "sent_bytes_per_step": size(found.sent_bytes_per_step),
        "received_bytes_per_step": size(found.received_bytes_per_step),
        "first_step_s": number(found.first_step_s, 3),
        "setup_s": number(found.setup_s, 3),
        "efficiency": percent(row.efficiency.point if row.efficiency else None),
        "loss_difference": _difference(row.loss_difference),
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


def _difference(value: float | None) -> str:
    return DASH if value is None else f"{value:.1e}" if value else "0"


def _bar(speed: Estimate, reach: float) -> Bar:
    low, high = (None if bound is None else round(100 * bound / reach, 2) for bound in (speed.low, speed.high))
    return Bar(round(100 * speed.point / reach, 2), low, high)


def _counts(found: Sequence[Row]) -> str:
    with_speed = sum(row.measured is not None for row in found)
    parts = [f"{with_speed} of {counted(len(found), 'trial')} with a speed"]
    for status in ("failed", "withheld", "not_selectable"):
        count = sum(row.status == status for row in found)
        if count:
            parts.append(f"{count} {status.replace('_', ' ')}")
    return ", ".join(parts)


def _notes(found: Sequence[Row]) -> list[str]:
    """Why there is no interval: one sentence when it is the same everywhere."""
    reasons = {row.no_interval for row in found if row.measured}
    if len(reasons) == 1:
        return [reason for reason in reasons if reason]
    return [f"{row.label}: {row.no_interval}" for row in found if row.no_interval]


def _charts(found: Sequence[Row]) -> dict[str, Markup] | None:
    if not any(row.measured for row in found):
        return None
    return {
        name: Markup(chart.draw(found, width))  # serialised by ElementTree, which escapes
        for name, width in (("wide", page.WIDE_INCHES), ("narrow", page.NARROW_INCHES))
    }


def _curves(found: Sequence[Row], metric: str) -> dict[str, Markup]:
    return {
        name: Markup(curve.draw(found, metric, width))
        for name, width in (("wide", page.WIDE_INCHES), ("narrow", page.NARROW_INCHES))
    }
