"""The final table as plain text that fits 80 columns."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

from reports.precision import said
from reports.quality import Quality, cautions
from reports.table import Row
from reports.text import counted, interval, number, one_line, percent
from reports.verdict import learners
from reports.verification import unverified

WIDTH = 80
_REASON = 400  # characters of a reason; the report has the whole
_COLUMNS = (24, 8, 25, 20)  # with 1 blank between: 80
_HEADINGS = ("backend", "replicas", "samples/s (95 %)", "against bare (95 %)")
_BOLD, _RED, _DIM, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[2m", "\x1b[0m"


def render(rows: Sequence[Row], color: bool) -> str:
    """Two lines per trial, its speed and its precision, then why a trial shows no speed or no interval, and how it
    learned. Ends with a line end."""
    lines = [_paint(_line(_HEADINGS), _BOLD, color)]
    for row in rows:
        lines.append(_paint(_line(_cells(row)), "" if row.measured else _RED, color))
        lines.append(_paint(_precision(row), _RED if row.mismatch else _DIM, color))
    reasons = [line for row in rows if row.reason for line in _wrap(_reason(row))]
    learned = [line for row in rows if row.quality for line in _wrap(_quality(row.label, row.quality))]
    learned += [line for caution in cautions(learners(rows)) for line in _wrap(caution)]
    notes = [line for note in _notes(rows) for line in _wrap(note)]
    lines += ["", *(_paint(line, _RED, color) for line in reasons)] if reasons else []
    lines += ["", *learned] if learned else []
    lines += ["", *(_paint(line, _DIM, color) for line in notes)] if notes else []
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> tuple[str, str, str, str]:
    replicas = str(row.trial.replicas)
    if row.measured is None:
        return row.label, replicas, row.status.replace("_", " "), "-"
    speed = row.measured.samples_per_second
    around = interval(speed)
    efficiency = percent(row.efficiency.point) if row.efficiency else "-"
    bounds = interval(row.efficiency, 100, 2)
    return (
        row.label,
        replicas,
        f"{number(speed.point)} ({around})" if around else number(speed.point),
        "baseline" if row.mode == "bare" else f"{efficiency} ({bounds})" if bounds else efficiency,
    )


def _precision(row: Row) -> str:
    """Marked with an exclamation mark where it is not what was asked for."""
    mark = "!" if row.mismatch else " "
    text = f"compute {said(row.compute)}; wire {said(row.wire)}"
    return f"{mark} {_fit(text, WIDTH - 2, right=False)}".rstrip()


def _quality(label: str, found: Quality) -> str:
    loss = f", validation loss {number(found.loss)}" if found.loss is not None else ""
    text = f"{label}: {found.metric} {number(found.value)}{loss} after {found.samples:,.0f} samples"
    if found.target is None:
        return text
    seconds = found.seconds_to_target
    if seconds is None:
        return f"{text}; {number(found.target, 3)} {found.not_reached}"
    around = interval(seconds, digits=3)
    spread = f" (95 % interval {around})" if around else ""
    return f"{text}; {number(found.target, 3)} reached in {number(seconds.point, 3)} s of training{spread}"


def _notes(rows: Sequence[Row]) -> list[str]:
    """Each distinct remark once, with the trials that it concerns when not all."""
    concerned: dict[str, list[str]] = {}
    for row in rows:
        mismatch = f"another precision ran than was asked for: {row.mismatch}" if row.mismatch else None
        remarks = (row.no_interval, row.baseline_note if row.mode != "bare" else None, mismatch)
        for remark in remarks:
            if remark:
                concerned.setdefault(remark, []).append(row.label)
    shown = sum(row.measured is not None for row in rows)
    return [
        remark if len(labels) == shown else f"{one_line(', '.join(labels), 160)}: {remark}"
        for remark, labels in concerned.items()
    ] + ([one_line(unproven, 300)] if (unproven := unverified(rows)) else [])


def _reason(row: Row) -> str:
    name = f"{one_line(row.label, 80)}, {counted(row.trial.replicas, 'replica')}"
    return one_line(f"{name}: {row.status.replace('_', ' ')}, {row.reason}", _REASON)


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(one_line(text), WIDTH, subsequent_indent="  ", break_long_words=True)


def _line(cells: Sequence[str]) -> str:
    padded = [
        _fit(cell, width, right=place == 1) for place, (cell, width) in enumerate(zip(cells, _COLUMNS, strict=True))
    ]
    return " ".join(padded).rstrip()


def _fit(text: str, width: int, right: bool) -> str:
    """Padded to `width` terminal cells, cut with an ellipsis: names may be wide, long or hostile."""
    flat = one_line(text)
    if _cells_of(flat) > width:
        kept = ""
        for character in flat:
            if _cells_of(kept + character) > width - 1:
                break
            kept += character
        flat = kept + "…"
    blank = " " * (width - _cells_of(flat))
    return blank + flat if right else flat + blank


def _cells_of(text: str) -> int:
    return sum(_cell(character) for character in text)


def _cell(character: str) -> int:
    if unicodedata.combining(character) or character in "\u200c\u200d\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _paint(line: str, code: str, color: bool) -> str:
    return f"{code}{line}{_PLAIN}" if color and code else line
