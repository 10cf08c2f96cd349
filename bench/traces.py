"""A rank's trace as a file for ui.perfetto.dev (Chrome's JSON trace format, gzip), the figures in it, and all ranks of
a trial as one file.

Total communication is |union of communication|, exposed communication |union of communication minus union of compute|,
both within the traced windows. So they are of a timeline, and another definition than the ladder's difference between
steps with and without an exchange: what the exchange slows down while it is hidden is in that, and not in these.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.errors import TrialError
from bench.protocols import Span, Timeline
from bench.records import RankInfo, RankTrace, Window
from bench.storage import write_atomically

WINDOW = "window"
LEVEL = 5  # of gzip: the files are written while other ranks wait

Interval = tuple[int, int]


class RankFile(NamedTuple):
    """What is read back from a rank's file; times in nanoseconds after `began_ns` of that host's monotonic clock."""

    rank: int
    host: str
    source: str
    sees_exchange: bool
    began_ns: int
    events: list[dict[str, Any]]


# ---- arithmetic -------------------------------------------------------------------------------------------------


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same points of time in order, as intervals that neither overlap nor touch.

    >>> union([(5, 7), (0, 2), (1, 3), (3, 4), (6, 6)])
    [(0, 4), (5, 7)]
    """
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if end <= start:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def minus(intervals: Iterable[Interval], others: Iterable[Interval]) -> list[Interval]:
    """What of the first lies in none of the second.

    >>> minus([(0, 10)], [(2, 3), (5, 20)])
    [(0, 2), (3, 5)]
    """
    left: list[Interval] = []
    holes = union(others)
    place = 0
    for start, end in union(intervals):
        while place < len(holes) and holes[place][1] <= start:
            place += 1
        for hole_start, hole_end in holes[place:]:
            if hole_start >= end:
                break
            left.append((start, hole_start))
            start = hole_end
        left.append((start, end))
    return [(start, end) for start, end in left if start < end]


def within(intervals: Iterable[Interval], bounds: Iterable[Interval]) -> list[Interval]:
    """What of the first lies in the second."""
    whole = union(intervals)
    return minus(whole, minus(whole, bounds))


def length(intervals: Iterable[Interval]) -> int:
    """Of intervals that do not overlap."""
    return sum(end - start for start, end in intervals)


# ---- one rank ---------------------------------------------------------------------------------------------------


def write(path: Path, who: RankInfo, traced: Sequence[tuple[Window, Timeline]]) -> None:
    """The spans that reach into the traced windows, and the windows; microseconds after the first of them began."""
    began_ns = traced[0][0].start_ns
    threads: dict[str, int] = {}
    events = [_event(who.rank, threads, span, began_ns) for span in _in_lanes(_spans(traced))]
    named = [_metadata(who.rank, "process_name", 0, f"rank {who.rank} on {who.host}")]
    named += [_metadata(who.rank, "thread_name", number, name) for name, number in threads.items()]
    described = {
        "rank": who.rank,
        "host": who.host,
        "source": traced[0][1].source,
        "sees_exchange": all(timeline.sees_exchange for _, timeline in traced),
        "began_ns": began_ns,
        "clock": "microseconds after the first traced window began; began_ns is that on this host's monotonic clock",
    }
    _write(path, [*named, *events], described)


def _spans(traced: Sequence[tuple[Window, Timeline]]) -> Iterator[Span]:
    for window, timeline in traced:
        end_ns = window.start_ns + window.duration_ns
        yield Span(WINDOW, f"{window.steps} steps", "windows", window.start_ns, window.duration_ns)
        for span in timeline.spans:
            if span.start_ns < end_ns and span.start_ns + span.duration_ns > window.start_ns:
                yield span


def _in_lanes(spans: Iterable[Span]) -> Iterator[Span]:
    """Spans of one thread lie in each other or apart, or a viewer drops them: those that cross another get a lane of
    their own beside it."""
    ends_of: dict[tuple[str, int], list[int]] = {}
    for span in sorted(spans, key=lambda each: (each.start_ns, -each.duration_ns)):
        end_ns, lane = span.start_ns + span.duration_ns, 1
        while not _fits(ends_of.setdefault((span.thread, lane), []), span.start_ns, end_ns):
            lane += 1
        yield span if lane == 1 else span._replace(thread=f"{span.thread}, beside it {lane - 1}")


def _fits(ends: list[int], start_ns: int, end_ns: int) -> bool:
    """Into what is still open in a lane, whose ends are given from the outermost on; it is then open there too."""
    while ends and ends[-1] <= start_ns:
        ends.pop()
    if ends and ends[-1] < end_ns:
        return False
    ends.append(end_ns)
    return True


def _event(rank: int, threads: dict[str, int], span: Span, began_ns: int) -> dict[str, Any]:
    return {
        "ph": "X",
        "cat": span.kind,
        "name": span.name,
        "pid": rank,
        "tid": threads.setdefault(span.thread, len(threads)),
        "ts": (span.start_ns - began_ns) / 1e3,
        "dur": span.duration_ns / 1e3,
    }


def _metadata(rank: int, kind: str, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": rank, "tid": thread, "args": {"name": name}}


def _write(path: Path, events: Sequence[dict[str, Any]], described: dict[str, Any]) -> None:
    document = {"displayTimeUnit": "ms", "otherData": described, "traceEvents": events}
    write_atomically(path, gzip.compress(msgspec.json.encode(document), LEVEL, mtime=0))


def read(path: Path) -> RankFile:
    """Raises TrialError for a file that is not there or not whole."""
    try:
        document = msgspec.json.decode(gzip.decompress(path.read_bytes()))
        described = document["otherData"]
        names = ("rank", "host", "source", "sees_exchange", "began_ns")
        return RankFile(**{name: described[name] for name in names}, events=document["traceEvents"])
    except (OSError, EOFError, zlib.error, msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise TrialError(f"{path} is no trace of a rank: {error}") from None


def figures(found: RankFile, steps: int) -> RankTrace:
    """Of all its windows, which together made so many steps."""
    windows = union(_of_kind(found, WINDOW))
    communication = within(_of_kind(found, "communication"), windows)
    compute = within(_of_kind(found, "compute"), windows)
    return RankTrace(
        rank=found.rank,
        host=found.host,
        source=found.source,
        steps=steps,
        duration_ns=length(windows),
        communication_ns=length(communication) if found.sees_exchange else None,
        exposed_ns=length(minus(communication, compute)) if found.sees_exchange else None,
        compute_ns=length(compute),
    )


def _of_kind(found: RankFile, kind: str) -> Iterator[Interval]:
    for event in found.events:
        if event.get("cat") == kind:
            start = round(event["ts"] * 1e3)
            yield start, start + round(event["dur"] * 1e3)


# ---- all ranks --------------------------------------------------------------------------------------------------


def merge(path: Path, ranks: Sequence[RankFile]) -> None:
    """One file with a process for each rank. Ranks of one host share its clock; hosts are laid over each other where
    their first traced window began, which is just after all ranks had met at a barrier."""
    first = {found.host: found.began_ns for found in reversed(ranks)}
    events = [
        event if event["ph"] == "M" else {**event, "ts": event["ts"] + (found.began_ns - first[found.host]) / 1e3}
        for found in ranks
        for event in found.events
    ]
    described: dict[str, Any] = {"sources": {f"rank {found.rank}": found.source for found in ranks}}
    if len(first) > 1:
        described["clocks"] = "the hosts' clocks are laid over each other at a barrier: compare them with care"
    _write(path, events, described)
