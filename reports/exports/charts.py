"""Every chart of the report as an SVG and a PNG, with the colours of a light page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import UserError
from bench.records import Sweep
from bench.storage import write_atomically
from reports.figures import Figure, all_figures
from reports.load import LoadedRun
from reports.page import WIDE_INCHES
from reports.table import rows


def write(run: LoadedRun, target: Path) -> None:
    """`target`/NAME.svg and NAME.png; a chart's name is ours, never a label of the study."""
    figures = all_figures(run, rows(run))
    if not figures:
        raise UserError(f"{run.folder} has no chart: no trial of it has a speed")
    _write(figures, target)


def write_sweep(sweep: Sweep, target: Path) -> None:
    """The same of `paceline collectives`."""
    from reports import collectives_chart

    figures = collectives_chart.figures(sweep, collectives_chart.points(sweep))
    if not figures:
        raise UserError(f"{sweep.study}: no chart, because nothing of it has a time")
    _write(figures, target)


def _write(figures: Sequence[Figure], target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for figure in figures:
        write_atomically(target / f"{figure.chart.name}.svg", figure.chart.standalone(WIDE_INCHES).encode())
        write_atomically(target / f"{figure.chart.name}.png", figure.chart.png(WIDE_INCHES))
