"""A run as Markdown for a pull request: the verdicts and a table of speeds, and folded below them all the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from reports.caveats import unsettled
from reports.launches import drift, launches
from reports.load import LoadedRun
from reports.measure import Measured, no_p99
from reports.precision import Axis, said
from reports.quality import Quality, cautions
from reports.scaling import Against, Point, Scaling, scalings
from reports.table import IN_PROCESS, Row, rows
from reports.text import DASH, counted, interval, number, one_line, percent, size
from reports.verdict import equality, learners, not_compared, verdicts
from reports.verification import unverified

_SUMMARY = ("trial \u00d7replicas", "samples/s (95 %)", "against bare (95 %)", "n", "remarks")
_LEGEND = (
    "n: launches. 95 %: interval over launches. Against bare: samples/s per replica over those of one device without a "
    "wrapper."
)
_VERDICT, _LONGEST, _REASON = 1200, 500, 400  # characters: a comment holds 65,536
_EDGE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_OPENING = re.compile(r"^(?:[-+>#=]|\d+[.)])")
_HEADINGS = (
    "backend", "replicas", "status", "compute", "wire", "samples/s", "95 % interval", "launches", "against bare",
    "95 % interval", "caveats", "window median, ms per step", "step p95 ms", "step p99 ms", "outliers",
    "tokens/s real", "tokens/s padded", "input wait", "cores busy, all ranks",
    "memory (RSS) of one rank, max", "sent per step, all ranks", "first step s", "set-up s",
)  # fmt: skip
_SCALING_HEADINGS = (
    "backend", "replicas", "samples/s", "speed-up on bare", "efficiency against bare", "speed-up on itself alone",
    "efficiency against itself alone",
)  # fmt: skip
_QUALITY_HEADINGS = (
    "backend", "metric", "value", "validation loss", "samples", "target", "seconds to target", "95 % interval",
    "samples to target",
)  # fmt: skip


def as_markdown(run: LoadedRun) -> str:
    """For a pull request: verdict and speeds at once, the rest folded. Ends with one line end."""
    found = rows(run)
    paragraphs = [f"### {escaped(run.result.study)}"]
    paragraphs += [
        f"**{escaped(one.sentence, _VERDICT)}** ({escaped(one.work)})" for one in verdicts(run.result, found)
    ]
    plain = [*cautions(learners(found)), *not_compared(run.result, found), equality(run.result).sentence]
    plain += [remark for remark in [unverified(found)] if remark]
    paragraphs += [_paragraph(sentence) for sentence in plain]
    paragraphs.append(table(_SUMMARY, [_summary(row) for row in found], "lrrrl"))
    paragraphs.append("\n".join(f"- {escaped(reason)}" for reason in _reasons(found)))
    paragraphs.append(_LEGEND)
    for title, parts in _folded(run, found):
        shown = [part for part in parts if part]
        paragraphs += [f"<details><summary>{title}</summary>", *shown, "</details>"] if shown else []
    paragraphs.append(_paragraph(_made(run)))
    return "\n\n".join(part for part in paragraphs if part) + "\n"


def _folded(run: LoadedRun, found: Sequence[Row]) -> Iterator[tuple[str, list[str]]]:
    """Title and paragraphs of what few readers need at once."""
    yield "Every column", [table(_HEADINGS, [_cells(row) for row in found])]
    for scaling in scalings(run, found):
        yield scaling.title, _scaled(scaling)
    learned = [(row, row.quality) for row in found if row.quality]
    if learned:
        lines = [_quality_cells(row, quality) for row, quality in learned]
        yield "Quality on the validation data", [table(_QUALITY_HEADINGS, lines)]
    notes = "\n".join(f"- {escaped(note)}" for note in _notes(found))
    yield "Notes", [_paragraph(drift(run.result, launches(run.result, found)).sentence), notes]


def _summary(row: Row) -> list[str]:
    name, launched = f"{row.label} \u00d7{row.trial.replicas}", str(row.launches)
    remarks = "; ".join([*([row.mismatch] if row.mismatch else []), *map(str, row.caveats)])
    if row.measured is None:
        return [name, DASH, DASH, launched, row.status.replace("_", " ")]
    speed = row.measured.samples_per_second
    efficiency = percent(row.efficiency.point) if row.efficiency else DASH
    return [
        name,
        _around(number(speed.point), interval(speed)),
        "baseline" if row.mode == "bare" else _around(efficiency, interval(row.efficiency, 100, 2)),
        launched,
        remarks,
    ]


def _around(point: str, bounds: str | None) -> str:
    return f"{point} ({bounds})" if bounds else point


def _made(run: LoadedRun) -> str:
    where = run.result.environment
    revision = f" at {where.revision[:12]}" if where.revision else ""
    machine = f"{where.cpu or where.platform}, {counted(where.cores, 'core')}"
    return f"{run.result.created_utc}, {machine}, paceline {where.paceline}{revision}"


def _reasons(found: Sequence[Row]) -> Iterator[str]:
    for row in found:
        if row.reason:
            status = row.status.replace("_", " ")
            yield one_line(f"{row.label} \u00d7{row.trial.replicas}: {status}, {row.reason}", _REASON)


def _notes(found: Sequence[Row]) -> Iterator[str]:
    for row in found:
        if row.no_interval:
            yield f"{row.label}: {row.no_interval}"
        if row.mismatch:
            yield f"{row.label}: another precision ran than was asked for: {row.mismatch}"
        if row.measured and row.stopped:
            yield f"{row.label} \u00d7{row.trial.replicas}: no further launches: {row.stopped}"
        if row.measured and (sentence := unsettled(row.warm_up)):
            yield f"{row.label} \u00d7{row.trial.replicas}: {sentence}"


def _scaled(scaling: Scaling) -> list[str]:
    lines = [
        [series.label, str(point.replicas), number(point.rate), *_gain(point, "bare"), *_gain(point, "solo")]
        for series in scaling.series
        for point in series.points
    ]
    words = [f"- {escaped(f'{series.label}: {word}')}" for series in scaling.series for word in series.sentences]
    return [table(_SCALING_HEADINGS, lines), "\n".join(words)]


def _gain(point: Point, against: Against) -> list[str]:
    found = point.gain(against)
    if found is None:
        return [DASH, DASH]
    flags = "".join(f" ({caveat.word})" for caveat in point.caveats(against))
    speed_up = f"{number(found.speed_up.point, 3)} ({interval(found.speed_up, 1.0, 3) or 'no interval'})"
    around = interval(found.efficiency, 100, 2)
    bounds = f"{around} %" if around else "no interval"
    return [speed_up, f"{percent(found.efficiency.point)} ({bounds}){flags}"]


def _cells(row: Row) -> list[str]:
    head = [row.label, str(row.trial.replicas), row.status.replace("_", " ")]
    head += [_precision(row.compute), _precision(row.wire)]
    if row.measured is None:
        head += [DASH, DASH, str(row.launches)]
        return [*head, *[DASH] * (len(_HEADINGS) - len(head))]
    return [*head, *_speed_cells(row, row.measured)]


def _speed_cells(row: Row, found: Measured) -> list[str]:
    return [
        number(found.samples_per_second.point),
        interval(found.samples_per_second) or DASH,
        str(row.launches),
        percent(row.efficiency.point) if row.efficiency else row.baseline_note or DASH,
        f"{interval(row.efficiency, 100, 2)} %" if interval(row.efficiency) else DASH,
        "; ".join(map(str, row.caveats)) or DASH,
        number(found.step_ms_median),
        number(found.step_ms_p95),
        f"{DASH} ({reason})" if (reason := no_p99(found)) else number(found.step_ms_p99),
        f"{found.outliers} of {counted(found.windows, 'window')}",
        number(found.tokens_real_per_second.point if found.tokens_real_per_second else None),
        number(found.tokens_padded_per_second.point if found.tokens_padded_per_second else None),
        percent(found.input_wait_share),
        number(found.cpu_cores, 3),
        size(found.rss_bytes),
        IN_PROCESS if row.in_process else size(found.sent_bytes_per_step),
        number(found.first_step_s, 3),
        number(found.setup_s, 3),
    ]


def _quality_cells(row: Row, found: Quality) -> list[str]:
    seconds = found.seconds_to_target
    return [
        row.label,
        found.metric,
        number(found.value),
        number(found.loss),
        f"{found.samples:,.0f}",
        number(found.target, 3),
        number(seconds.point, 3) if seconds else found.not_reached or DASH,
        interval(seconds, digits=3) or DASH,
        DASH if found.samples_to_target is None else f"{found.samples_to_target:,.0f}",
    ]


def _precision(axis: Axis) -> str:
    return f"{said(axis)} (differs)" if axis.differs else said(axis)


def table(headings: Sequence[str], lines: Sequence[Sequence[str]], align: str = "") -> str:
    """Headings are ours, cells are escaped. `align`: l or r for each column, all to the left without."""
    rules = [{"r": "--:", "l": "---"}[side] for side in align] or ["---"] * len(headings)
    whole = [headings, rules, *([escaped(cell) for cell in cells] for cells in lines)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in whole)


def escaped(text: str, longest: int = _LONGEST) -> str:
    """Markdown reads nothing into it: one line, and no character that opens markup, HTML or mathematics, nor a name
    that tells somebody that they were mentioned."""
    plain = one_line(text, longest).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for character in "|`*[]~$":
        plain = plain.replace(character, f"\\{character}")
    # An underscore within a word opens nothing, and names are full of them.
    return _EDGE.sub(r"\_", plain).replace("@", "@<!-- -->")


def _paragraph(sentence: str) -> str:
    """Escaped, and not taken for a heading, a list or a quotation."""
    return _OPENING.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", escaped(sentence), count=1)
