"""A comparison of runs for the terminal, for Markdown, and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from reports.across import comparison_words as words
from reports.across.comparison import Compared, Comparison, Pair, Side
from reports.across.reading import TrialReading
from reports.columns import Cell, plain, spread
from reports.markdown import escaped, table
from reports.text import DASH, interval, number, one_line, when

SCHEMA = 1
WIDTH = 80
MISSING = "no such trial"
_LABEL, _CELL = 300, 400  # letters
_HEADINGS = ("trial", "runs", "samples/s", "95 % interval", "launches", "samples/s", "95 % interval", "launches")


def as_text(found: Comparison) -> str:
    """Fits 80 columns; ends with a line end."""
    hinted = words.hint(found)
    paragraphs = [[_legend(side) for side in found.sides], [words.summary(found), *([hinted] if hinted else [])]]
    paragraphs += [_trial(line, found) for line in found.lines]
    changed = [f"{one.key}: {_values(one, found)}" for one in words.changes(found)]
    paragraphs.append(["Not the same in all runs:", *(f"  {line}" for line in changed)] if changed else [])
    paragraphs += [[note] for note in words.notes(found)]
    blocks = ["\n".join(wrapped(line) for line in lines) for lines in paragraphs if lines]
    return "\n\n".join(blocks) + "\n"


def as_markdown(found: Comparison) -> str:
    """Ends with one line end."""
    lines = [
        [line.label, *_names(pair, found), *_cells(line, pair.one, found), *_cells(line, pair.other, found)]
        for line in found.lines
        for pair in line.pairs
    ]
    told = [f"{line.label}: {sentence}" for line in found.lines for sentence in _sentences(line, found)]
    heads = ["not the same", *(side.name for side in found.sides)]
    changed = [[one.key, *(words.shown(value) for value in one.values)] for one in words.changes(found)]
    parts = [
        "# Runs compared",
        "\n".join(f"- {escaped(_legend(side))}" for side in found.sides),
        f"**{escaped(words.summary(found))}**",
        escaped(words.hint(found) or ""),
        table(_HEADINGS, lines) if lines else "",
        "\n".join(f"- {escaped(one)}" for one in told),
        table(heads, changed) if changed else "",
        "\n\n".join(escaped(note) for note in words.notes(found)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_json(found: Comparison) -> str:
    """Strict JSON: no NaN, no infinity."""
    return json.dumps(document(found), allow_nan=False, ensure_ascii=False, indent=2) + "\n"


def document(found: Comparison) -> dict[str, Any]:
    """What `as_json` writes; the page carries the same."""
    return {
        "schema": SCHEMA,
        "runs": [
            {
                "name": side.name,
                "folder": side.folder,
                "study": side.reading.study,
                "created_utc": side.reading.created_utc,
                "quick": side.reading.quick,
            }
            for side in found.sides
        ],
        "across": list(found.across),
        "summary": words.summary(found),
        "hint": words.hint(found),
        "claims": found.claims,
        "trials": [line for one in found.lines for line in trial_lines(one, found)],
        "pairs": [pair_line(line, pair, found) for line in found.lines for pair in line.pairs],
        "changes": [
            {"key": one.key, "values": [_plain(value) for value in one.values]} for one in words.changes(found)
        ],
        "notes": words.notes(found),
    }


def trial_lines(line: Compared, found: Comparison) -> list[dict[str, Cell]]:
    """Of each run what it has of this trial."""
    return [
        {
            "label": line.label,
            "run": side.name,
            "trial_id": cell.trial_id if cell else None,
            "status": cell.status if cell else None,
            "reason": cell.reason if cell else MISSING,
            "launches": len(cell.launch_rates) if cell else None,
            **_plain_spread("samples_per_second", words.speed(cell, side) if cell else None),
        }
        for cell, side in zip(line.cells, found.sides, strict=True)
    ]


def pair_line(line: Compared, pair: Pair, found: Comparison) -> dict[str, Cell]:
    """One verdict."""
    return {
        "label": line.label,
        "one": found.sides[pair.one].name,
        "other": found.sides[pair.other].name,
        "outcome": pair.outcome,
        "sentence": words.sentence(pair, found),
        "because": pair.because,
        "keys": "; ".join(pair.keys) or None,
        "across": "; ".join(pair.across) or None,
        **_plain_spread("ratio", pair.ratio),
        "p_value": plain(pair.p_value),
        "adjusted": plain(pair.adjusted),
        "losses": pair.losses,
    }


def shown(cell: TrialReading | None, side: Side) -> str:
    """A speed with its interval, or why there is none."""
    if cell is None:
        return MISSING
    found = words.speed(cell, side)
    if found is None:
        return one_line(f"{cell.status.replace('_', ' ')}: {cell.reason}", _CELL)
    around = interval(found)
    return f"{number(found.point)} ({around})" if around else number(found.point)


def _trial(line: Compared, found: Comparison) -> list[str]:
    rows = [one_line(line.label, _LABEL)]
    for cell, side in zip(line.cells, found.sides, strict=True):
        launches = f", n = {len(cell.launch_rates)}" if cell and cell.launch_rates else ""
        unit = " samples/s" if cell and cell.launch_rates else ""
        rows.append(f"  {side.name}: {shown(cell, side)}{unit}{launches}")
    return rows + [f"  {sentence}" for sentence in _sentences(line, found)]


def _sentences(line: Compared, found: Comparison) -> Iterator[str]:
    yield from (words.sentence(pair, found) for pair in line.pairs)
    yield from words.ran_otherwise(line, found)


def _legend(side: Side) -> str:
    read = side.reading
    quick = ", a quick run" if read.quick else ""
    host = one_line(str(read.surroundings.get("hostname") or DASH), 60)
    begun = f"{one_line(read.study, 80)}, {when(read.created_utc)} on {host}"
    return f"{side.name} = {one_line(side.folder, 120)}: {begun}{quick}"


def _values(change: words.Change, found: Comparison) -> str:
    values = zip(found.sides, change.values, strict=True)
    return "; ".join(f"{side.name} {words.shown(value)}" for side, value in values)


def _names(pair: Pair, found: Comparison) -> list[str]:
    return [f"{found.sides[pair.one].name}, {found.sides[pair.other].name}"]


def _cells(line: Compared, place: int, found: Comparison) -> list[str]:
    cell, side = line.cells[place], found.sides[place]
    speed = words.speed(cell, side) if cell else None
    if cell is None or speed is None:
        return [shown(cell, side), DASH, DASH]
    return [number(speed.point), interval(speed) or DASH, str(speed.launches)]


def _plain_spread(name: str, found: Any) -> dict[str, Cell]:
    return {key: plain(value) for key, value in spread(name, found).items()}


def _plain(value: Any) -> Any:
    return plain(value) if isinstance(value, float) else value


def wrapped(text: str) -> str:
    """Keeps how far the text stands in; what is continued stands in further."""
    body = text.lstrip()
    before = " " * (len(text) - len(body))
    lines = textwrap.wrap(one_line(body), WIDTH - len(before), subsequent_indent="   ", break_long_words=True)
    return "\n".join(f"{before}{line}" for line in lines)
