"""The ends of the logs of launches that failed: the one other thing that is read of a run folder, and only shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.records import Repeat, Result
from bench.redaction import redacted
from reports.table import Row
from reports.text import clean, counted

LINES, LETTERS = 30, 4_000
MOST_TRIALS = 40
_TAIL_BYTES = 64_000
_NAMED = re.compile(r"\(log: [^)]*?(log-\d+\.txt|launcher\.txt)\)")
_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The end of one file of one launch. `cut`: what is not shown of it, in words."""

    name: str
    launch: int
    cut: str
    text: str


def excerpts(result: Result, rows: Sequence[Row], folder: Path) -> dict[str, list[Excerpt]]:
    """Trial id to the ends of its failed launch's logs, of those that lie in the run folder and hold anything."""
    results = {trial.trial_id: trial for trial in result.trials}
    failed = [row for row in rows if row.status == "failed"][:MOST_TRIALS]
    found = {row.trial_id: list(_of_trial(folder, row, results[row.trial_id].repeats)) for row in failed}
    return {trial_id: told for trial_id, told in found.items() if told}


def _of_trial(folder: Path, row: Row, repeats: Sequence[Repeat]) -> Iterator[Excerpt]:
    """The log that the reason names, then the launcher's."""
    broken = [repeat for repeat in repeats if repeat.error] or list(repeats)[-1:]
    for repeat in broken[:1]:
        named = _NAMED.findall(f"{repeat.error or ''} {row.reason or ''}")
        for name in dict.fromkeys([*named[:1], "launcher.txt"]):
            excerpt = _excerpt(folder, Path(row.trial_id, str(repeat.repeat), name), repeat.repeat)
            if excerpt:
                yield excerpt


def _excerpt(folder: Path, place: Path, launch: int) -> Excerpt | None:
    path = folder / place
    try:
        # A result.json from elsewhere must not make the report show another file of this machine.
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            return None
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            content = file.read(_TAIL_BYTES)
    except (OSError, ValueError):
        return None
    lines = _lines(content)
    kept = "\n".join(lines[-LINES:])[-LETTERS:]
    whole = size <= _TAIL_BYTES and len(lines) <= LINES and len("\n".join(lines)) <= LETTERS
    cut = "" if whole else f"the last {counted(kept.count(chr(10)) + 1, 'line')} of {size:,} bytes"
    return Excerpt(place.name, launch, cut, kept) if kept.strip() else None


def _lines(content: bytes) -> list[str]:
    """As a terminal would show them at the end: without colours, and of a line that was written over the last."""
    text = _ESCAPE.sub("", content.decode("utf-8", "replace")).replace("\r\n", "\n")
    shown = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return [clean(redacted(line)).rstrip() for line in shown if line.strip()]
