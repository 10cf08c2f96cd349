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
from reports.drawing import Picture
from reports.figures import Figure
from reports.ladder import climbs
from reports.load import LoadedRun
from reports.page import NARROW_INCHES, WIDE_INCHES
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
    return [figure for figure, _ in _shown(drawn(run, found, export.document(run, found)))]


def pictures(made: Mapping[str, Any]) -> list[Picture]:
    """Every chart of what `drawn` made, at each width at which the page has it."""
    return [
        (figure.chart, width_inches)
        for figure, is_alone in _shown(made)
        for width_inches in ((WIDE_INCHES, NARROW_INCHES) if is_alone else (NARROW_INCHES,))
    ]


def _shown(made: Mapping[str, Any]) -> list[tuple[Figure, bool]]:
    """In the order of the page; and whether a figure stands alone, not in a grid with one for each trial."""
    return [
        *([(made["chart"], True)] if made["chart"] else []),
        *((figure, True) for view in made["scaling"] for _, figure in view.figures),
        *((view.figure, False) for view in made["ladder"]),
        *((view.figure, True) for view in made["panels"]),
        *((figure, True) for figure in made["curves"]),
        *((view.figure, False) for name in ("distributions", "ranks", "resources") for view in made[name]),
    ]
