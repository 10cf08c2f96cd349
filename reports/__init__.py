"""Results in, documents out: reads `result.json` and `windows.parquet` of a run folder, and never runs anything.

Importing this package loads no plotting or table library: `render` imports what its format needs.
"""

from __future__ import annotations

from pathlib import Path

from bench.errors import UserError

FORMATS = ("html", "csv", "json", "md", "text", "terminal")


def render(run_folder: Path, format: str) -> str | bytes:
    """The document of one run. "terminal" is the table for 80 columns in colour, "text" without. Raises UserError.

    Every format is text; the caller writes it as UTF-8 with line ends as they are (CSV has its own).
    """
    if format not in FORMATS:
        raise UserError(f"format {format!r} is not known; allowed are {', '.join(FORMATS)}")
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
