"""A comparison of runs as a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.across import comparison_chart, comparison_text, pages
from reports.across import comparison_words as words
from reports.across.comparison import Compared, Comparison, Side
from reports.columns import Cell
from reports.text import DASH, interval

_CONTENTS = (
    ("verdict", "Verdict"),
    ("trials", "Trial by trial"),
    ("differences", "What is not the same"),
    ("notes", "How to read it"),
)


@dataclass(frozen=True, slots=True)
class _Cell:
    """One run's speed of a trial: `line` is number `at` of the exported trials; `text` stands where there is none."""

    run: str
    at: int
    line: Mapping[str, Cell]
    text: str
    interval: str | None


def render_page(found: Comparison) -> str:
    """The whole document."""
    document = comparison_text.document(found)
    backends = [next(cell.backend for cell in line.cells if cell) for line in found.lines]
    colors = pages.colors(backends)
    places = [colors[backend] for backend in backends]
    of_pairs = [place for line, place in zip(found.lines, places, strict=True) for _ in line.pairs]
    return pages.render(
        "comparison.html.jinja",
        "Runs compared: " + ", ".join(side.folder for side in found.sides),
        document,
        contents=_CONTENTS,
        sides=[_side(side) for side in found.sides],
        across=found.across,
        summary=document["summary"],
        hint=document["hint"],
        decided=any(pair.outcome in ("faster", "slower") for pair in found.pairs),
        outcomes=sorted({_outcome(line) for line in found.lines}),
        rows=[_row(found, document, place, color) for place, color in enumerate(places)],
        drawn=comparison_chart.figure(document["pairs"], [pair.ratio for pair in found.pairs], of_pairs),
        changes=[words.Change(one.key, tuple(map(words.shown, one.values))) for one in words.changes(found)],
        notes=document["notes"],
    )


def _side(side: Side) -> dict[str, Any]:
    host = side.reading.surroundings.get("hostname")
    return {
        "name": side.name,
        "folder": side.folder,
        "reading": side.reading,
        "host": DASH if host is None else str(host),
    }


def _row(found: Comparison, document: Mapping[str, Any], place: int, color: int) -> dict[str, Any]:
    line = found.lines[place]
    first, before = place * len(found.sides), sum(len(other.pairs) for other in found.lines[:place])
    cells = [
        _Cell(
            side.name,
            first + at,
            document["trials"][first + at],
            comparison_text.shown(cell, side),
            interval(words.speed(cell, side)) if cell else None,
        )
        for at, (cell, side) in enumerate(zip(line.cells, found.sides, strict=True))
    ]
    return {
        "label": line.label,
        "color": color,
        "outcome": _outcome(line),
        "cells": cells,
        "pairs": document["pairs"][before : before + len(line.pairs)],
        "ran": words.ran_otherwise(line, found),
    }


def _outcome(line: Compared) -> str:
    """What the row is filtered by."""
    return ", ".join(dict.fromkeys(pair.outcome for pair in line.pairs)) or "in one run only"
