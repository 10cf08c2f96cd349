"""What the ranks used over the windows of each launch: of the rank with most of it, and of the median one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.columns import plain
from reports.load import LoadedRun, once
from reports.table import Row
from reports.windows import LaunchWindows

Floats = NDArray[np.float64]

LINES = 240  # of a run: its launches share them
_FEWEST, _MOST = 2, 24  # parts of one launch


@dataclass(frozen=True, slots=True)
class Quantity:
    """`of`: axes (rank, window), None where any rank does not know."""

    column: str
    title: str
    of: Callable[[LaunchWindows], Floats | None]


def _per_step(name: str) -> Callable[[LaunchWindows], Floats | None]:
    def of(launch: LaunchWindows) -> Floats | None:
        found = launch.optional(name)
        return None if found is None else found / launch.steps

    return of


def _cores(launch: LaunchWindows) -> Floats:
    cores: Floats = launch.column("cpu_ns") / launch.column("duration_ns")
    return cores


def _memory(launch: LaunchWindows) -> Floats | None:
    found = launch.optional("rss_bytes")
    return None if found is None else found.astype(np.float64)


# What a device tells of its windows belongs here too, one entry a quantity.
QUANTITIES = (
    Quantity("cpu_cores", "cores busy, one rank", _cores),
    Quantity("rss_bytes", "memory (RSS), one rank", _memory),
    Quantity("sent_bytes_per_step", "sent per step, one rank", _per_step("sent_bytes")),
    Quantity("received_bytes_per_step", "received per step, one rank", _per_step("received_bytes")),
)


@dataclass(frozen=True, slots=True)
class Part:
    """Neighbouring windows of one launch, their places counted through the launch. `most`, `middle`: of each quantity
    the greatest value of any rank, and the median over windows of the median rank's; None: unknown."""

    launch: int
    warmup: bool
    places: range
    windows: tuple[int, int]
    most: tuple[float | None, ...]
    middle: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """One trial with a speed; `parts` launch by launch."""

    row: Row
    ranks: int
    parts: tuple[Part, ...]


@once
def usages(run: LoadedRun, rows: Sequence[Row]) -> list[Usage]:
    """Of every trial that shows a speed, in the order of the study."""
    results = {result.trial_id: result for result in run.result.trials}
    shown = [row for row in rows if row.measured]
    launches = sum(len(results[row.trial_id].repeats) for row in shown)
    pieces = min(_MOST, max(_FEWEST, LINES // max(launches, 1)))
    found = []
    for row in shown:
        parts: list[Part] = []
        ranks = 0
        for repeat in results[row.trial_id].repeats:
            launch = run.windows.launch(row.trial_id, repeat.repeat)
            parts += _parts(repeat.repeat, launch.where(launch.exchange), pieces)
            ranks = launch.ranks
        found.append(Usage(row, ranks, tuple(parts)))
    return found


def _parts(repeat: int, launch: LaunchWindows, pieces: int) -> list[Part]:
    """Warm-up as one, and the windows that count in `pieces` of equal length."""
    series = [_series(quantity.of(launch)) for quantity in QUANTITIES]
    warmup = np.flatnonzero(launch.warmup)
    cut = [own for own in np.array_split(np.flatnonzero(~launch.warmup), pieces) if len(own)]
    return [
        Part(
            launch=repeat,
            warmup=bool(launch.warmup[own[0]]),
            places=range(int(own[0]), int(own[-1]) + 1),
            windows=(int(launch.index[own[0]]), int(launch.index[own[-1]])),
            most=tuple(None if known is None else float(known[0][own].max()) for known in series),
            middle=tuple(None if known is None else float(np.median(known[1][own])) for known in series),
        )
        for own in ([warmup] if len(warmup) else []) + cut
    ]


def _series(of_ranks: Floats | None) -> tuple[Floats, Floats] | None:
    """The greatest and the median rank's, axis (window)."""
    return None if of_ranks is None else (of_ranks.max(axis=0), np.median(of_ranks, axis=0))


def lines(found: Sequence[Usage]) -> list[dict[str, Any]]:
    """What JSON writes of all of them."""
    return [line for one in found for line in as_columns(one)]


def as_columns(found: Usage) -> list[dict[str, Any]]:
    """A line a part, `_max` of any rank and any of its windows, `_median` over its windows of the median rank's."""
    return [_line(found, part) for part in found.parts]


def _line(found: Usage, part: Part) -> dict[str, Any]:
    line: dict[str, Any] = {
        "trial_id": found.row.trial_id,
        "label": found.row.label,
        "replicas": found.row.trial.replicas,
        "ranks": found.ranks,
        "launch": part.launch,
        "kind": "warm-up" if part.warmup else "measured",
        "first_window": part.windows[0],
        "last_window": part.windows[1],
    }
    for quantity, most, middle in zip(QUANTITIES, part.most, part.middle, strict=True):
        line[f"{quantity.column}_max"] = plain(most)
        line[f"{quantity.column}_median"] = plain(middle)
    return line
