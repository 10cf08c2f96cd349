"""Results in, documents out: reads `result.json` and `windows.parquet` of a run folder, and never runs anything.

Importing this package loads no plotting or table library: `render` imports what its format needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UserError

if TYPE_CHECKING:
    import pandas

SWEEP = "collectives.json"
FORMATS = ("html", "csv", "json", "md", "text", "terminal")


def render(run_folder: Path, format: str) -> str | bytes:
    """The document of one run. "terminal" is the table for 80 columns in colour, "text" without. Raises UserError.

    Every format is text; the caller writes it as UTF-8 with line ends as they are (CSV has its own).
    """
    if format not in FORMATS:
        raise UserError(f"format {format!r} is not known; allowed are {', '.join(FORMATS)}")
    if is_sweep(run_folder):
        return _render_sweep(run_folder, format)
    from reports.load import load

    run = load(run_folder)
    if format == "html":
        from reports.html import render_html

        return render_html(run)
    if format in ("text", "terminal"):
        from reports.terminal import render as render_text

        return render_text(run, color=format == "terminal")
    from reports.export import render as render_export

    return render_export(run, format)


def frames(run_folder: Path) -> dict[str, pandas.DataFrame]:
    """A run for a notebook: every list of the JSON export by its name there, and "windows", the raw ones of all ranks.

    An unknown is <NA>, whole numbers stay whole. Raises UserError.
    """
    from reports.exports import tables
    from reports.load import load

    return tables.frames(load(run_folder))


def is_sweep(folder: Path) -> bool:
    """Whether `paceline collectives` made it, and not `paceline run`."""
    return (folder / SWEEP).is_file()


def _render_sweep(folder: Path, format: str) -> str:
    from reports import collectives
    from reports.collectives_page import render_page

    sweep = collectives.load(folder)
    if format == "html":
        return render_page(sweep)
    if format in ("text", "terminal"):
        return collectives.render_text(sweep, color=format == "terminal")
    if format == "csv":
        return collectives.as_csv(sweep)
    raise UserError(f"{folder} holds collectives: there is html, csv and text of them, and {SWEEP} is JSON already")
