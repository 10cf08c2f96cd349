"""Charts drawn ahead, in as many processes as there are cores: drawing takes much of the time of a page with dozens."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Sequence

from reports.svg import Chart

Picture = tuple[Chart, float]  # a chart and its width in inches

_WORTH = 16  # charts that take longer than starting a process for them
_LONGEST_S = 60.0
_asked: list[Picture] = []


def ahead(wanted: Sequence[Picture]) -> None:
    """So that `Chart.inline` has each at hand. Where charts are few, cores are one or a process is lost, they are drawn
    when they are asked for, with the same bytes."""
    processes = min(len(os.sched_getaffinity(0)), len(wanted) // _WORTH) if sys.platform == "linux" else 1
    if processes < 2:
        return
    try:
        # Forked, so that nothing is imported or pickled twice: what paints holds the whole run. Python 3.12 warns that
        # a thread may hold a lock just then; what draws needs none of them, and is not waited for forever.
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            pool = multiprocessing.get_context("fork").Pool(processes, _begin, (wanted,))
        with pool:
            made = pool.map_async(_draw, range(len(wanted)), chunksize=4).get(_LONGEST_S)
    except (multiprocessing.TimeoutError, OSError):
        return
    for (chart, width_inches), text in zip(wanted, made, strict=True):
        chart.made[width_inches] = text


def _begin(wanted: Sequence[Picture]) -> None:
    """In a new process, which is not to do what the command does on a signal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _asked[:] = wanted


def _draw(place: int) -> str:
    chart, width_inches = _asked[place]
    return chart.inline(width_inches)
