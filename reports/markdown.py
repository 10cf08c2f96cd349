"""A run as Markdown: the verdicts, one table of speeds, one of quality, and a line per reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reports.caveats import unsettled
from reports.launches import drift, launches
from reports.load import LoadedRun
from reports.measure import Measured, no_p99
from reports.precision import Axis, said
from reports.quality import Quality, cautions
from reports.scaling import Against, Point, Scaling, scalings
from reports.table import Row, rows
from reports.text import DASH, counted, interval, number, one_line, percent, size
from reports.verdict import equality, learners, not_compared, verdicts
from reports.verification import unverified

_HEADINGS = (
    "backend", "replicas", "status", "compute", "wire", "samples/s", "95 % interval", "launches", "against bare",
    "95 % interval", "caveats", "step median ms", "step p95 ms", "step p99 ms", "outliers",
    "tokens/s real", "tokens/s padded", "input wait", "CPU cores",
    "RSS max", "sent per step", "first step s", "set-up s",
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
    """Ends with one line end."""
    found = rows(run)
    paragraphs = [f"# {_escaped(run.result.study)}"]
    paragraphs += [f"**{_escaped(one.sentence)}** ({_escaped(one.work)})" for one in verdicts(run.result, found)]
    plain = [*cautions(learners(found)), *not_compared(run.result, found), equality(run.result).sentence]
    plain += [remark for remark in [unverified(found)] if remark]
    paragraphs += [_escaped(sentence) for sentence in plain]
    paragraphs.append(_table(_HEADINGS, [_cells(row) for row in found]))
    for scaling in scalings(run, found):
        paragraphs += [f"**{scaling.title}**", *_scaled(scaling)]
    learned = [(row, row.quality) for row in found if row.quality]
    if learned:
        paragraphs.append(_table(_QUALITY_HEADINGS, [_quality_cells(row, quality) for row, quality in learned]))
    paragraphs.append(_escaped(drift(run.result, launches(run.result, found)).sentence))
    paragraphs.append("\n".join(f"- {_escaped(note)}" for note in _notes(found)))
    return "\n\n".join(part for part in paragraphs if part) + "\n"


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
        if row.reason:
            yield f"{row.label}: {row.status.replace('_', ' ')}, {row.reason}"


def _scaled(scaling: Scaling) -> list[str]:
    lines = [
        [series.label, str(point.replicas), number(point.rate), *_gain(point, "bare"), *_gain(point, "solo")]
        for series in scaling.series
        for point in series.points
    ]
    words = [f"- {_escaped(f'{series.label}: {word}')}" for series in scaling.series for word in series.sentences]
    return [_table(_SCALING_HEADINGS, lines), "\n".join(words)]


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
        size(found.sent_bytes_per_step),
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


def _table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Headings are ours, cells are escaped."""
    whole = [headings, ["---"] * len(headings), *([_escaped(cell) for cell in cells] for cells in lines)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in whole)


def _escaped(text: str) -> str:
    """Markdown reads nothing into it: one line, and no character that opens markup or HTML."""
    escaped = one_line(text).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for character in "|`*[]":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped
