"""Imported results as text, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bench.importers.rows import Cell, Imported, columns


def render(found: Sequence[Imported], kind: str) -> str:
    """`kind` "csv", "json" or "text"; trainings and collectives have columns of their own."""
    from reports.text import csv_table

    rows = [columns(one) for one in found]
    if kind == "json":
        return json.dumps({"rows": rows}, allow_nan=False, indent=2) + "\n"
    tables = [[row for row in rows if ("message_bytes" in row) is of_collectives] for of_collectives in (False, True)]
    return "\n".join(csv_table(table) if kind == "csv" else _text(table) for table in tables if table)


def _text(table: Sequence[dict[str, Cell]]) -> str:
    """One column per name that is known anywhere; unknown is a dash."""
    known = [name for name in table[0] if any(row[name] is not None for row in table) and name != "note"]
    cells = [known, *([_shown(row[name]) for name in known] for row in table)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(known))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    from reports.text import one_line

    notes = dict.fromkeys(one_line(f"note: {row['note']}") for row in table if row["note"])
    return "\n".join([*lines, *notes]) + "\n"


def _shown(cell: Cell) -> str:
    from reports.text import DASH, number, one_line

    if cell is None:
        return DASH
    return one_line(cell) if isinstance(cell, str) else str(cell) if isinstance(cell, int) else number(cell)
