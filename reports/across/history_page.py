"""The history of studies as a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.across import history_chart, pages
from reports.across import history_words as words
from reports.across.history import History
from reports.figures import Figure
from reports.text import interval, number


@dataclass(frozen=True, slots=True)
class _Row:
    """One trial in the table on top, and its section below."""

    anchor: str
    study: str
    name: str
    color: int
    runs: int
    last: str | None
    last_interval: str | None
    line: Mapping[str, Any]
    drawn: Figure | None


def render_page(found: Sequence[History], unread: Sequence[tuple[str, str]], title: str = "History") -> str:
    """The whole document, all studies in it."""
    document = words.document(found, unread)
    rows = [row for place, one in enumerate(found) for row in _rows(one, place, document["studies"][place])]
    for_all = [("changes", "Changes"), ("trials", "Trials")]
    contents = [*for_all, *((row.anchor, row.name) for row in rows), *([("unread", "Not read")] if unread else [])]
    return pages.render(
        "history.html.jinja",
        title,
        document,
        contents=contents if len(contents) <= 60 else for_all,
        studies=document["studies"],
        rows=rows,
        several_studies=len(found) > 1,
        unread=unread,
        rule=words.RULE,
        how_to_read=history_chart.HOW_TO_READ,
    )


def _rows(found: History, place: int, document: Mapping[str, Any]) -> list[_Row]:
    colors = pages.colors([series.backend for series in found.series])
    rows, begun = [], 0
    for at, series in enumerate(found.series):
        own = list(enumerate(document["points"]))[begun : begun + len(series.points)]
        begun += len(series.points)
        anchor, color = f"trial-{place}-{at}", colors[series.backend]
        last = series.measured[-1].speed if series.measured else None
        row = _Row(
            anchor=anchor,
            study=found.study,
            name=words.name(series),
            color=color,
            runs=len(series.measured),
            last=number(last.point) if last else None,
            last_interval=interval(last),
            line=document["series"][at],
            drawn=history_chart.figure(series, anchor, (f"studies.{place}.points", own), color),
        )
        rows.append(row)
    return rows
