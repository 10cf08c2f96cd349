"""The page's sections with figures, and all figures of a run in the order in which the page argues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports import (
    cells,
    chart,
    curve,
    devices,
    distribution_chart,
    export,
    ladder_chart,
    panels,
    ranks_chart,
    resources_chart,
    scaling_page,
    traces,
)
from reports.figures import Figure
from reports.ladder import climbs
from reports.load import LoadedRun
from reports.scaling import scalings
from reports.table import Row

# Every section, in the order of the argument: the key of the context without which it is left out, and its heading.
SECTIONS = {
    "verdict": ("", "Verdict"),
    "table": ("", "Summary"),
    "chart": ("", "Samples per second"),
    "scaling": ("scaling", "Scaling"),
    "ladder": ("ladder", "Where the time goes"),
    "traces": ("traces", "From traces"),
    "panels": ("panels", "Only one thing different"),
    "quality": ("curves", "Quality: what was learned"),
    "distributions": ("distributions", "Step times"),
    "ranks": ("ranks", "Ranks"),
    "resources": ("resources", "Resources"),
    "devices": ("devices", "Devices"),
    "gates": ("", "Was the work equal?"),
    "without": ("without", "Trials without a speed"),
    "launches": ("", "How it was measured"),
    "asked": ("", "What was asked"),
    "ran": ("", "What ran"),
    "commands": ("", "Commands"),
    "environment": ("", "Environment"),
    "formulas": ("", "How each number is made"),
}


def drawn(run: LoadedRun, found: Sequence[Row], document: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates of these sections need, each under its key; empty or None where there is nothing to show.

    `document` is the JSON export of the same rows: the tables show its lines.
    """
    places, climbed = chart.colors(found), climbs(run, found)
    lines = cells.lines(found, document["rows"])
    return {
        "lines": lines,
        "choices": cells.choices(lines),
        "chart": chart.figure(found, document["rows"]),
        "scaling": scaling_page.views(scalings(run, found), places, document["scaling"]),
        "ladder": ladder_chart.views(climbed, places),
        "traces": traces.view(run, found, climbed),
        "panels": panels.views(panels.panels(run.result, found), places, document["panels"]),
        "curves": curve.figures(found, document["evaluations"]),
        "distributions": distribution_chart.views(run, found, places),
        "ranks": ranks_chart.views(run, found, places, climbed),
        "resources": resources_chart.views(run, found, places),
        "devices": devices.view(run, found),
    }


def all_figures(run: LoadedRun, found: Sequence[Row]) -> list[Figure]:
    """In the order of the page."""
    made = drawn(run, found, export.document(run, found))
    figures = [made["chart"]] if made["chart"] else []
    figures += [figure for view in made["scaling"] for _, figure in view.figures]
    figures += [view.figure for view in (*made["ladder"], *made["panels"])]
    figures += made["curves"]
    return figures + [view.figure for name in ("distributions", "ranks", "resources") for view in made[name]]
