"""Who keeps the others waiting: when each rank is ready for the exchange, from windows that leave it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A rank is late in a window when it needs so much longer than the median of the others.
LATE = 0.05
# A rank that is late in so many of the windows is a chronic straggler; below it lateness comes and goes.
CHRONIC = 0.5
# Of fewer windows, half may be chance.
CHRONIC_WINDOWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Per step, over the windows of all launches.

    ready_ms      per rank, from the window's barrier: median over windows
    skew_ms       slowest less fastest rank: median over windows
    late_share    per rank, of the windows in which it was late (LATE)
    late_ms       per rank, how much longer than the median of the others it takes: median over windows
    windows       how many there were
    chronic       the ranks late in at least CHRONIC of the windows; none where these are fewer than CHRONIC_WINDOWS
    transient     of the windows in which some other rank was late, 0 to 1
    """

    ready_ms: tuple[float, ...]
    skew_ms: float
    late_share: tuple[float, ...]
    late_ms: tuple[float, ...]
    windows: int
    chronic: tuple[int, ...]
    transient: float


def readiness(ready_ms: Sequence[Sequence[float]] | Floats) -> Readiness | None:
    """`ready_ms`: axes (window, rank), milliseconds per step. None for fewer than two ranks, or no window.

    >>> readiness([[10.0, 13.0]] * 8).chronic
    (1,)
    """
    times = np.asarray(ready_ms, np.float64)
    if times.ndim != 2 or not len(times) or times.shape[1] < 2:
        return None
    others = _median_of_others(times)
    late = times > others * (1 + LATE)
    share = late.mean(axis=0)
    lasting = (share >= CHRONIC) & (len(times) >= CHRONIC_WINDOWS)
    return Readiness(
        ready_ms=tuple(np.median(times, axis=0).tolist()),
        skew_ms=float(np.median(times.max(axis=1) - times.min(axis=1))),
        late_share=tuple(share.tolist()),
        late_ms=tuple(np.median(times - others, axis=0).tolist()),
        windows=len(times),
        chronic=tuple(np.flatnonzero(lasting).tolist()),
        transient=float(late[:, ~lasting].any(axis=1).mean()),
    )


def _median_of_others(times: Floats) -> Floats:
    """Axes (window, rank), both ways: the median of the window's other ranks. Taking a value from a sorted row moves
    the middle by half a place, away from it: only the three values about the middle are ever needed.

    >>> _median_of_others(np.array([[1.0, 2.0, 4.0, 8.0]])).tolist()
    [[4.0, 4.0, 2.0, 2.0]]
    >>> _median_of_others(np.array([[1.0, 2.0, 4.0]])).tolist()
    [[3.0, 2.5, 1.5]]
    """
    ranks = times.shape[1]
    middle = ranks // 2
    about = [middle - 1, middle] if ranks % 2 == 0 else [middle - 1, middle, middle + 1]
    low, *rest = np.partition(times, about, axis=1)[:, about].T[:, :, None]
    if ranks % 2 == 0:
        of_even: Floats = np.where(times <= low, rest[0], low)
        return of_even
    centre, high = rest
    above = np.where(times == centre, (low + high) / 2, (low + centre) / 2)
    of_odd: Floats = np.where(times < centre, (centre + high) / 2, above)
    return of_odd
