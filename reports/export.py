"""A run as CSV, JSON and Markdown: the same numbers in each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bench.errors import UserError
from reports.columns import columns, drifted, evaluations, launched, plain, scaling_curves, scaling_points, spread
from reports.ladder import as_columns, climbs
from reports.launches import drift, launches
from reports.load import LoadedRun
from reports.markdown import as_markdown
from reports.quality import cautions
from reports.scaling import scalings
from reports.schema import SCHEMA
from reports.table import Row, rows
from reports.text import csv_table
from reports.traces import as_columns as traced_columns
from reports.traces import traced_rows
from reports.verdict import Verdict, alone, equality, learners, verdicts


def render(run: LoadedRun, format: str) -> str:
    """`format` is "csv", "json" or "md". Raises UserError for another."""
    writers = {"csv": as_csv, "json": as_json, "md": as_markdown}
    if format not in writers:
        raise UserError(f"export format {format!r} is not known; allowed are {', '.join(writers)}")
    return writers[format](run)


def as_json(run: LoadedRun) -> str:
    """Strict JSON: no NaN, no infinity."""
    return json.dumps(document(run, rows(run)), allow_nan=False, ensure_ascii=False, indent=2) + "\n"


def document(run: LoadedRun, found: Sequence[Row]) -> dict[str, Any]:
    """What `as_json` writes of the run's rows; the HTML report carries the same."""
    from reports import devices, distribution, panels, ranks, relative, resources  # some of them draw, too

    made, scaled, climbed = launches(run.result, found), scalings(run, found), climbs(run, found)
    traced = [line for row in traced_rows(run, found, climbed) for line in traced_columns(row)]
    return {
        "schema": SCHEMA,
        "study": run.result.study,
        "created_utc": run.result.created_utc,
        "quick": run.result.quick,
        "equal_work": equality(run.result).sentence,
        "verdicts": [_verdict(one) for one in verdicts(run.result, found)],
        "not_compared": [row.label for row in alone(run.result, found)],
        "cautions": cautions(learners(found)),
        "rows": [columns(row) for row in found],
        "relative": relative.lines(found, run.result.quick),
        "panels": panels.lines(panels.panels(run.result, found)),
        "ladder": [as_columns(climb) for climb in climbed],
        **({"traces": traced} if traced else {}),
        "distributions": distribution.lines(distribution.distributions(run, found)),
        "ranks": ranks.lines(ranks.strips(run, found, climbed)),
        "resources": resources.lines(resources.usages(run, found)),
        "devices": devices.lines(run, found),
        "evaluations": [point for row in found for point in evaluations(row)],
        "scaling": scaling_points(scaled),
        "scaling_curves": scaling_curves(scaled),
        "drift": drifted(drift(run.result, made)),
        "launches": launched(made),
    }


def _verdict(found: Verdict) -> dict[str, Any]:
    return {
        "work": found.work,
        "outcome": found.outcome,
        "sentence": found.sentence,
        "fastest": found.fastest,
        "work_difference": plain(found.work_difference),
        "pairs": [
            {"other": pair.other}
            | {name: plain(cell) for name, cell in spread("ratio", pair.ratio).items()}
            | {"shown": pair.shown}
            for pair in found.pairs
        ],
    }


def as_csv(run: LoadedRun) -> str:
    """RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe in front."""
    return csv_table([columns(row) for row in rows(run)])
