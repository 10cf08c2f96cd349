"""The timelines of all traced trials as one file of Chrome's trace format: each trial's ranks below its name."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench.errors import UserError
from bench.storage import write_atomically
from reports import compare
from reports.load import LoadedRun
from reports.text import one_line

MERGED = "trace.json.gz"
RANKS = 100_000  # process ids of one trial begin at a multiple of it


def write(run: LoadedRun, target: Path) -> None:
    """Trials begin together at 0, whenever they ran."""
    named = compare.labels(run.result.trials)
    labels = {one.trial_id: f"{named[one.trial_id]} \u00d7{one.trial.replicas}" for one in run.result.trials}
    found = sorted((run.folder / "traces").glob(f"*/{MERGED}"))
    traced = [(path, labels[path.parent.name]) for path in found if path.parent.name in labels]
    if not traced:
        raise UserError(f"{run.folder} has no trace: `paceline trace {run.folder}` makes one")
    events = [event for place, (path, label) in enumerate(traced) for event in _events(path, label, place * RANKS)]
    content = msgspec.json.encode({"displayTimeUnit": "ms", "traceEvents": events})
    write_atomically(target, gzip.compress(content, mtime=0))


def _events(path: Path, label: str, first: int) -> Iterator[Mapping[str, Any]]:
    try:
        whole = msgspec.json.decode(gzip.decompress(path.read_bytes()))["traceEvents"]
        for event in whole:
            moved = {**event, "pid": first + event["pid"]}
            if event.get("name") == "process_name":
                moved["args"] = {"name": one_line(f"{label}: {event['args']['name']}", 200)}
            yield moved
    except (OSError, EOFError, zlib.error, msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no trace of paceline: {error}") from None
