"""The final table as plain text that fits 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.cells import cell_len

from reports.caveats import unsettled
from reports.fitting import fitted, shortened
from reports.ladder import climbs, sentence
from reports.launches import drift, launches
from reports.load import LoadedRun
from reports.precision import said, shared
from reports.quality import Quality, cautions
from reports.table import Row, rows
from reports.text import counted, interval, number, one_line, percent
from reports.verdict import equality, learners, not_compared, verdicts
from reports.verification import unverified

WIDTH = 80
_REASON = 400  # characters of a reason; the report has the whole
_VERDICTS = 6
_COLUMNS = (26, 3, 27, 21)  # with 1 blank between: 80
_HEADINGS = ("trial \u00d7replicas", "n", "samples/s (95 %)", "against bare (95 %)")
_LEGEND = "n: launches. 95 %: interval over launches. Against bare: per replica, over one device without a wrapper."
_BOLD, _RED, _DIM, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[2m", "\x1b[0m"


def render(run: LoadedRun, color: bool) -> str:
    """A line per trial with its speed, under it what to bear in mind with that; then why a trial shows no speed or no
    interval, and how it learned; the verdict last, where a terminal ends up. Ends with a line end."""
    found = rows(run)
    same = shared([row.compute for row in found], [row.wire for row in found])
    lines = [_paint(line, _BOLD, color) for line in [_line(_HEADINGS)]]
    above = None
    for row in found:
        lines += [_paint(line, "" if row.measured else _RED, color) for line in _lines(_cells(row), above)]
        lines += [_paint(_under("!", said), _RED, color) for said in _warnings(row)]
        lines += [] if same or row.mismatch or _told(row) else [_paint(_under(" ", _precision(row)), _DIM, color)]
        above = row.label
    paragraphs = [
        (_RED, [_reason(row) for row in found if row.reason]),
        ("", [sentence(climb) for climb in climbs(run, found)]),
        ("", _learned(found)),
        (_DIM, [*_notes(found), *_remarks(run, found), *([same] if same else []), _LEGEND]),
        (_BOLD, _judged(run, found)),
    ]
    for code, sentences in paragraphs:
        wrapped = [line for sentence in sentences for line in _wrap(sentence)]
        lines += ["", *(_paint(line, code, color) for line in wrapped)] if wrapped else []
    return "\n".join(lines) + "\n"


def _judged(run: LoadedRun, found: Sequence[Row]) -> list[str]:
    """Each verdict, with the work that it is about where there are several; then whether the work was equal."""
    judged = verdicts(run.result, found)
    told = [one.sentence if len(judged) == 1 else f"{one.work}: {one.sentence}" for one in judged[:_VERDICTS]]
    left = len(judged) - len(told)
    more = [f"The report has {counted(left, 'more verdict')}."] if left else []
    return [*told, *more, *not_compared(run.result, found), equality(run.result).sentence]


def _learned(found: Sequence[Row]) -> list[str]:
    return [*(_quality(row.label, row.quality) for row in found if row.quality), *cautions(learners(found))]


def _cells(row: Row) -> tuple[str, str, str, str]:
    name = f"{one_line(row.label)} \u00d7{row.trial.replicas}"
    if row.measured is None:
        return name, str(row.launches), row.status.replace("_", " "), "-"
    speed = row.measured.samples_per_second
    around = interval(speed)
    efficiency = percent(row.efficiency.point) if row.efficiency else "-"
    bounds = interval(row.efficiency, 100, 2)
    return (
        name,
        str(row.launches),
        f"{number(speed.point)} ({around})" if around else number(speed.point),
        "baseline" if row.mode == "bare" else f"{efficiency} ({bounds})" if bounds else efficiency,
    )


def _warnings(row: Row) -> list[str]:
    """What must be seen with the line above."""
    return [*([row.mismatch] if row.mismatch else []), *(str(caveat) for caveat in row.caveats)]


def _told(row: Row) -> bool:
    """Whether the label tells the precision already."""
    axes = (("compute", row.compute), ("wire", row.wire))
    return all(f"{name} {said(axis)}" in row.label for name, axis in axes)


def _precision(row: Row) -> str:
    return f"compute {said(row.compute)}; wire {said(row.wire)}"


def _under(mark: str, text: str) -> str:
    return f"{mark} {fitted(one_line(text), WIDTH - 2)}".rstrip()


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


def _notes(found: Sequence[Row]) -> list[str]:
    """Each distinct remark once, with the trials that it concerns when not all."""
    concerned: dict[str, list[str]] = {}
    for row in found:
        mismatch = f"another precision ran than was asked for: {row.mismatch}" if row.mismatch else None
        stopped = f"no further launches: {row.stopped}" if row.stopped else None
        remarks = (row.no_interval, row.baseline_note if row.mode != "bare" else None, mismatch)
        for remark in (*remarks, stopped, unsettled(row.warm_up)) if row.measured else remarks:
            if remark:
                concerned.setdefault(remark, []).append(f"{row.label} \u00d7{row.trial.replicas}")
    shown = sum(row.measured is not None for row in found)
    return [
        remark if len(labels) == shown else f"{one_line(', '.join(labels), 160)}: {remark}"
        for remark, labels in concerned.items()
    ]


def _remarks(run: LoadedRun, found: Sequence[Row]) -> list[str]:
    """About the run as a whole."""
    watched = [drift(run.result, launches(run.result, found)).sentence] if run.result.sentinel else []
    return [*watched, *(one_line(unproven, 300) for unproven in [unverified(found)] if unproven)]


def _reason(row: Row) -> str:
    name = f"{one_line(row.label, 80)}, {counted(row.trial.replicas, 'replica')}"
    return one_line(f"{name}: {row.status.replace('_', ' ')}, {row.reason}", _REASON)


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(one_line(text), WIDTH, subsequent_indent="  ", break_long_words=True)


def _lines(cells: tuple[str, str, str, str], above: str | None) -> list[str]:
    """One, or two where the name needs a line of its own, which it shares with the trial `above` of the same label."""
    name, *rest = cells
    if cell_len(name) <= _COLUMNS[0]:
        return [_line(cells)]
    label, _, replicas = name.rpartition(" ")
    own = [] if above is not None and one_line(above) == label else [shortened(label, WIDTH)]
    return [*own, _line((f"  {replicas}", *rest))]


def _line(cells: Sequence[str]) -> str:
    padded = [
        fitted(cell, width, right=place == 1) for place, (cell, width) in enumerate(zip(cells, _COLUMNS, strict=True))
    ]
    return " ".join(padded).rstrip()


def _paint(line: str, code: str, color: bool) -> str:
    return f"{code}{line}{_PLAIN}" if color and code else line
