"""A run as Markdown: the verdicts, one table of speeds, one of quality, and a line per reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reports.load import LoadedRun
from reports.measure import Measured
from reports.precision import Axis, said
from reports.quality import Quality, cautions
from reports.table import Row, rows
from reports.text import DASH, interval, number, one_line, percent, size
from reports.verdict import equality, learners, not_compared, verdicts
from reports.verification import unverified

_HEADINGS = (
    "backend", "replicas", "status", "compute", "wire", "samples/s", "95 % interval", "launches", "against bare",
    "95 % interval", "step median ms", "step p95 ms", "tokens/s real", "tokens/s padded", "input wait", "CPU cores",
    "RSS max", "sent per step", "first step s", "set-up s",
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
    learned = [(row, row.quality) for row in found if row.quality]
    if learned:
        paragraphs.append(_table(_QUALITY_HEADINGS, [_quality_cells(row, quality) for row, quality in learned]))
    paragraphs.append("\n".join(f"- {_escaped(note)}" for note in _notes(found)))
    return "\n\n".join(part for part in paragraphs if part) + "\n"


def _notes(found: Sequence[Row]) -> Iterator[str]:
    for row in found:
        if row.no_interval:
            yield f"{row.label}: {row.no_interval}"
        if row.mismatch:
            yield f"{row.label}: another precision ran than was asked for: {row.mismatch}"
        if row.reason:
            yield f"{row.label}: {row.status.replace('_', ' ')}, {row.reason}"


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
        number(found.step_ms_median),
        number(found.step_ms_p95),
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
