"""The rows as CSV, JSON and Markdown: one flat set of columns, the same numbers in each."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from bench.errors import UserError
from bench.stats import Estimate
from reports.load import LoadedRun
from reports.measure import Measured
from reports.table import Row, finite, rows
from reports.text import DASH, interval, number, one_line, percent, size
from reports.verdict import equality, verdicts

SCHEMA = 1
SIGNIFICANT = 12  # more would show the rounding of the last bit, which differs between machines
Cell = str | int | float | None

_HEADINGS = (
    "backend", "replicas", "status", "samples/s", "95 % interval", "launches", "against bare", "95 % interval",
    "step median ms", "step p95 ms", "tokens/s real", "tokens/s padded", "input wait", "CPU cores", "RSS max",
    "sent per step", "first step s", "set-up s",
)  # fmt: skip


def render(run: LoadedRun, format: str) -> str:
    """`format` is "csv", "json" or "md". Raises UserError for another."""
    writers = {"csv": as_csv, "json": as_json, "md": as_markdown}
    if format not in writers:
        raise UserError(f"export format {format!r} is not known; allowed are {', '.join(writers)}")
    return writers[format](run)


def columns(row: Row) -> dict[str, Cell]:
    """One row, flat. Base units in the names; None is unknown; 12 significant digits."""
    trial = row.trial
    cells: dict[str, Cell] = {
        "trial_id": row.trial_id,
        "label": row.label,
        "backend": trial.backend,
        "framework": row.framework,
        "mode": row.mode,
        "replicas": trial.replicas,
        "launcher": trial.launcher,
        "task": trial.workload.task,
        "model": trial.workload.model,
        "sequence_length": trial.workload.sequence_length,
        "batch_per_replica": trial.workload.batch_per_replica,
        "compute": trial.compute,
        "wire": trial.wire,
        "allreduce": trial.allreduce,
        "status": row.status,
        "reason": row.reason,
        "launches": row.launches,
        "no_interval": row.no_interval,
    }
    cells.update(_measured(row.measured))
    cells.update(_spread("efficiency", row.efficiency))
    cells["baseline"] = row.baseline
    cells["baseline_note"] = row.baseline_note
    cells["loss_difference"] = row.loss_difference
    cells["loss_reference"] = row.loss_reference
    return {name: _plain(value) for name, value in cells.items()}


def as_json(run: LoadedRun) -> str:
    """Strict JSON: no NaN, no infinity."""
    return json.dumps(document(run, rows(run)), allow_nan=False, ensure_ascii=False, indent=2) + "\n"


def document(run: LoadedRun, found: Sequence[Row]) -> dict[str, Any]:
    """What `as_json` writes of the run's rows; the HTML report carries the same."""
    return {
        "schema": SCHEMA,
        "study": run.result.study,
        "created_utc": run.result.created_utc,
        "quick": run.result.quick,
        "equal_work": equality(run.result).sentence,
        "verdicts": [
            {"work": one.work, "outcome": one.outcome, "sentence": one.sentence} for one in verdicts(run.result, found)
        ],
        "rows": [columns(row) for row in found],
    }


def as_csv(run: LoadedRun) -> str:
    """RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe in front."""
    lines = [columns(row) for row in rows(run)]
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(lines[0] if lines else ())
    writer.writerows([_defused(cell) for cell in line.values()] for line in lines)
    return out.getvalue()


def as_markdown(run: LoadedRun) -> str:
    """A heading, the verdict, the table, and a line per reason."""
    found = rows(run)
    judged = verdicts(run.result, found)
    notes = [f"{row.label}: {row.no_interval}" for row in found if row.no_interval]
    notes += [f"{row.label}: {row.status.replace('_', ' ')}, {row.reason}" for row in found if row.reason]
    lines = [f"# {_escaped(run.result.study)}", ""]
    lines += [f"**{_escaped(one.sentence)}** ({_escaped(one.work)})\n" for one in judged]
    lines += [_escaped(equality(run.result).sentence), ""]
    lines += [_line(_HEADINGS), _line(["---"] * len(_HEADINGS))]
    lines += [_line([_escaped(cell) for cell in _texts(row)]) for row in found]
    lines += ["", *(f"- {_escaped(note)}" for note in notes)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _measured(found: Measured | None) -> dict[str, Cell]:
    """Every column of Measured, unknown where the row shows no speed."""
    cells: dict[str, Cell] = {}
    for name in ("samples_per_second", "tokens_real_per_second", "tokens_padded_per_second"):
        cells.update(_spread(name, getattr(found, name, None)))
    for name in Measured.__dataclass_fields__:
        if name not in cells and name != "launch_rates":
            cells[name] = getattr(found, name, None)
    return cells


def _spread(name: str, found: Estimate | None) -> dict[str, Cell]:
    point, low, high = (found.point, found.low, found.high) if found else (None, None, None)
    return {name: point, f"{name}_low": low, f"{name}_high": high}


def _plain(value: Cell) -> Cell:
    if isinstance(value, float):
        kept = finite(value)
        return None if kept is None else float(f"{kept:.{SIGNIFICANT}g}")
    return value


def _defused(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _texts(row: Row) -> Sequence[str]:
    found = row.measured
    head = [row.label, str(row.trial.replicas), row.status.replace("_", " ")]
    if found is None:
        return [*head, DASH, DASH, str(row.launches), *[DASH] * (len(_HEADINGS) - 6)]
    return [
        *head,
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


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Markdown reads nothing into it: one line, and no character that opens markup or HTML."""
    escaped = one_line(text).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for character in "|`*[]":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped
