"""Along whole runs of the same work: where their level changed, for good or for a while."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.stats.estimates import CONFIDENCE, LAUNCHES_FOR_INTERVAL, PRACTICAL_DIFFERENCE, Contrast, Floats, logarithms

SHORTEST_LEVEL = LAUNCHES_FOR_INTERVAL
RUNS_FOR_CHANGE = 2 * SHORTEST_LEVEL


def changes(values: Sequence[float], comparisons: int = 1) -> list[int]:
    """Places of the runs with which a new level begins; `values` are the rates of whole runs in order of time.

    Circular binary segmentation (Olshen et al., Biostatistics 5, 2004): of all stretches of runs the one that differs
    most from the runs around it, by Student's t on log rates with pooled variance; n - 2 degrees of freedom, p-value
    times the number of stretches (Bonferroni). It is a change when p is at most 5 % / `comparisons` (histories that
    are looked at together) and its size at least PRACTICAL_DIFFERENCE; then each part is searched in the same way.
    A level is SHORTEST_LEVEL runs at least, so that one slow run is none.

    The unit is the run: how much runs differ by themselves is seen in the runs. They are taken to be independent; a
    machine whose moods last for several runs has changes that nobody made. docs/compare.md has the measured rates.
    """
    return sorted(_levels(logarithms(values), 0, (1 - CONFIDENCE) / comparisons))


def _levels(logs: Floats, offset: int, level: float) -> Iterator[int]:
    if len(logs) < RUNS_FOR_CHANGE:
        return
    first, end, size, p_value = _most_different(logs)
    if p_value > level or size < math.log1p(PRACTICAL_DIFFERENCE):
        return
    edges = sorted({0, first, end, len(logs)})
    yield from (offset + place for place in edges[1:-1])
    for begin, stop in itertools.pairwise(edges):
        yield from _levels(logs[begin:stop], offset + begin, level)


def _most_different(logs: Floats) -> tuple[int, int, float, float]:
    """First and end of the stretch, the size of its difference in logs, and its p-value."""
    count = len(logs)
    first, end = _stretches(count)
    centred = logs - logs.mean()
    summed = np.concatenate([[0.0], np.cumsum(centred)])
    inside, own = summed[end] - summed[first], (end - first).astype(np.float64)
    size = inside / own + inside / (count - own)  # the sum over all is 0
    weight = own * (count - own) / count
    explained = size**2 * weight
    best = int(np.argmax(explained))
    left = max(0.0, float(centred @ centred - explained[best]))
    error = math.sqrt(left / (count - 2) / float(weight[best]))
    found = Contrast(np.asarray(abs(size[best])), np.asarray(error), np.asarray(float(count - 2)))
    p_value = min(1.0, 2 * float(found.tail(0.0)) * len(first))
    return int(first[best]), int(end[best]), abs(float(size[best])), p_value


def _stretches(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every stretch that leaves a whole level before it, and after it a whole level or nothing. (One that begins at
    the first run is told by what follows it.)"""
    places = np.arange(count + 1)
    first, end = (grid.ravel() for grid in np.meshgrid(places, places, indexing="ij"))
    whole = (first >= SHORTEST_LEVEL) & (end - first >= SHORTEST_LEVEL)
    kept = whole & ((end == count) | (count - end >= SHORTEST_LEVEL))
    return first[kept], end[kept]
