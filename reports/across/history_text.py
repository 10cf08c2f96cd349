"""The history of studies for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from reports.across import history_words as words
from reports.across.comparison_text import wrapped
from reports.across.history import History, Point, Series
from reports.across.matching import listed
from reports.text import one_line, when


def as_text(found: Sequence[History], unread: Sequence[tuple[str, str]]) -> str:
    """Fits 80 columns; ends with a line end."""
    blocks = [block for one in found for block in _study(one)]
    blocks.append([f"Cannot be read: {run}: {reason}" for run, reason in unread])
    blocks.append([words.RULE])
    return "\n\n".join("\n".join(wrapped(line) for line in lines) for lines in blocks if lines) + "\n"


def as_json(found: Sequence[History], unread: Sequence[tuple[str, str]]) -> str:
    """Strict JSON: no NaN, no infinity."""
    return json.dumps(words.document(found, unread), allow_nan=False, ensure_ascii=False, indent=2) + "\n"


def _study(found: History) -> Iterator[list[str]]:
    yield [f"{one_line(found.study, 60)}: {words.summary(found)}"]
    for series in found.series:
        yield list(_trial(series))
    yield [f"Left out: {run}: {reason}" for run, reason in found.left_out]


def _trial(series: Series) -> Iterator[str]:
    yield one_line(words.name(series), 300)
    begins = {step.run: step for step in series.steps}
    for point in series.points:
        if point.run in begins:
            yield "  ---- another level ----"
        yield f"  {_point(point)}"
    yield from (f"  {sentence}" for sentence in words.sentences(series))


def _point(point: Point) -> str:
    speed = f"{words.speed(point)}{f' samples/s, n = {len(point.launch_rates)}' if point.speed else ''}"
    changed = f"; changed: {listed(point.changed)}" if point.changed else ""
    return f"{when(point.created_utc)} {one_line(point.run, 60)}: {speed}{changed}"
