"""Run folders compared: read, matched and judged; then rendered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import reports
from bench.errors import UserError
from reports import load, table
from reports.across import reading
from reports.across.comparison import Comparison, Gates, Side, compare_runs


def compare_folders(folders: Sequence[Path], across: Sequence[str], gates: Gates) -> Comparison:
    """Raises UserError: fewer than two, one given twice, not a run, a sweep, damaged, or an unknown key."""
    if len(folders) < 2:
        raise UserError(f"there is nothing to compare {folders[0]} with; give two run folders or more")
    real = [folder.resolve() for folder in folders]
    twice = next((folder for place, folder in enumerate(folders) if real[place] in real[:place]), None)
    if twice is not None:
        raise UserError(f"{twice} is given twice: a run does not differ from itself")
    return compare_runs([_side(place, folder) for place, folder in enumerate(folders)], across, gates)


def render(found: Comparison, format: str) -> str:
    """ "text", "md", "json" or "html"."""
    if format == "html":
        from reports.across.comparison_page import render_page

        return render_page(found)
    from reports.across import comparison_text

    writers = {"text": comparison_text.as_text, "md": comparison_text.as_markdown, "json": comparison_text.as_json}
    return writers[format](found)


def _side(place: int, folder: Path) -> Side:
    if reports.is_sweep(folder):
        raise UserError(f"{folder} holds collectives timed alone; only runs of trials are compared")
    run = load.load(folder)
    name = chr(ord("A") + place) if place < 26 else f"R{place + 1}"
    trials = {trial.trial_id: trial for trial in run.result.trials}
    return Side(name, folder.resolve().name, reading.read(run, table.rows(run)), trials)
