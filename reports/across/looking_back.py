"""The history of all runs below a folder, rendered."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UserError
from reports.across import history, shelf

FORMATS = ("html", "text", "json")


def render(folder: Path, format: str) -> str:
    """One document over all studies. Raises UserError where no run can be read, or for another format."""
    if format not in FORMATS:
        raise UserError(f"a history is rendered as {', '.join(FORMATS)}, not as {format}")
    shelved = shelf.read_all(folder)
    if not any(one.reading for one in shelved):
        why = f"; {shelved[0].name}: {shelved[0].reason}" if shelved else ""
        raise UserError(f"below {folder} there is no run that can be read{why}")
    found, unread = history.histories(shelved), history.unread(shelved)
    if format == "html":
        from reports.across.history_page import render_page

        return render_page(found, unread)
    from reports.across import history_text

    return history_text.as_json(found, unread) if format == "json" else history_text.as_text(found, unread)
