"""Horovod's timeline as spans. Its coordinator, rank 0, alone writes one, and only where it was allowed before the
ranks joined. Each tensor of a fused operation has the whole of it there, all at once: here it is one span.

The tool's own timeline of a step: NEGOTIATE_... until every rank has the tensor; then of what is fused, one after the
other, MEMCPY_IN_FUSION_BUFFER, GLOO_ALLREDUCE (or MPI_, NCCL_), MEMCPY_OUT_FUSION_BUFFER.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from backends._unix_clock import unix_ahead_ns
from bench.errors import TrialError
from bench.protocols import Span, Timeline, World

SOURCE = (
    "Horovod's timeline; communication: its all-reduces, each from when every rank has its tensors, so that waiting "
    "for the other ranks is not in it, nor packing; of rank 0 only, which alone writes it"
)
CARRIED = ("GLOO_", "MPI_", "NCCL_", "CCL_")
WRITTEN_S = 10.0


def allow_timeline(world: World) -> None:
    """Before Horovod starts: its timeline can then be started and stopped."""
    if world.traced:
        os.environ["HOROVOD_TIMELINE"] = "DYNAMIC"


@contextmanager
def with_timeline(framework: AbstractContextManager[Timeline], hvd: Any) -> Iterator[Timeline]:
    """What the framework's own tools see, and Horovod's timeline. `hvd`: the front end's module."""
    with tempfile.TemporaryDirectory(prefix="paceline-trace-") as folder:
        path = Path(folder) / "timeline.json"
        with framework as timeline:
            hvd.start_timeline(str(path))
            try:
                yield timeline
            finally:
                hvd.stop_timeline()
        # On a GPU every rank's profiler sees NCCL's kernels: then they are the communication.
        seen = any(span.kind == "communication" for span in timeline.spans)
        timeline.sees_exchange = seen or hvd.rank() == 0 or hvd.size() == 1
        timeline.source += f"; {SOURCE}"
        if hvd.rank() == 0 and hvd.size() > 1:
            timeline.spans.extend(spans(_written(path), unix_ahead_ns(), communication="other" if seen else None))


def spans(events: Sequence[Mapping[str, Any]], ahead_ns: int, communication: str | None = None) -> list[Span]:
    """One for each operation, whatever it was fused of. `communication`: another kind for what carries the tensors.

    Operations of one name run one after the other; only the tensors of one operation overlap.
    """
    began_ns = next(event["args"]["start_time_since_epoch_in_micros"] for event in events if _is_start(event)) * 1_000
    merged = []
    for name, intervals in _activities(events).items():
        kind = (communication or "communication") if name.startswith(CARRIED) else "other"
        for start, end, tensors in _together(intervals):
            counted = f"{name}, {tensors} tensors" if tensors > 1 else name
            start_ns = began_ns + start * 1_000 - ahead_ns
            merged.append(Span(kind, counted, f"Horovod {name}", start_ns, (end - start) * 1_000))
    return merged


def _is_start(event: Mapping[str, Any]) -> bool:
    return "start_time_since_epoch_in_micros" in event.get("args", {})


def _activities(events: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[int, int]]]:
    """By name the (start, end) of every tensor, microseconds after the timeline's start: a tensor's events are nested,
    and those that end what began before the timeline are left out."""
    open_of: dict[int, list[tuple[str, int]]] = {}
    found: dict[str, list[tuple[int, int]]] = {}
    for event in events:
        if event.get("ph") == "B":
            open_of.setdefault(event["pid"], []).append((event["name"], event["ts"]))
        elif event.get("ph") == "E" and open_of.get(event["pid"]):
            name, start = open_of[event["pid"]].pop()
            found.setdefault(name, []).append((start, event["ts"]))
    return found


def _together(intervals: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """(start, end, how many) of those that overlap."""
    current: tuple[int, int, int] | None = None
    for start, end in sorted(intervals):
        if current is not None and start < current[1]:
            current = (current[0], max(end, current[1]), current[2] + 1)
            continue
        if current is not None:
            yield current
        current = (start, end, 1)
    if current is not None:
        yield current


def _written(path: Path) -> list[dict[str, Any]]:
    """The events, when Horovod's own thread has written the last of them."""
    until = time.monotonic() + WRITTEN_S
    while True:
        try:
            events: list[dict[str, Any]] = json.loads(path.read_bytes())
        except (OSError, json.JSONDecodeError):
            if time.monotonic() > until:
                raise TrialError(f"Horovod wrote no whole timeline within {WRITTEN_S:g} s") from None
            time.sleep(0.02)
            continue
        return events
