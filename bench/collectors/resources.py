"""CPU time, memory and network bytes, read between windows. Linux's /proc where it exists, else psutil or None."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

import psutil

_STATM = Path("/proc/self/statm")
_NETWORK = Path("/proc/self/net/dev")


@dataclass(frozen=True, slots=True)
class Reading:
    """Cumulative but for `rss_bytes`. Network bytes are those of every interface of this host (or namespace)."""

    cpu_ns: int
    rss_bytes: int | None
    received_bytes: int | None
    sent_bytes: int | None


def read() -> Reading:
    """This process and its finished children; about 0.1 ms, so never inside a window."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    received, sent = _network()
    return Reading(
        cpu_ns=round((own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime) * 1e9),
        rss_bytes=_rss(),
        received_bytes=received,
        sent_bytes=sent,
    )


def _rss() -> int | None:
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return int(psutil.Process().memory_info().rss)


def _network() -> tuple[int | None, int | None]:
    """Sums over interfaces of /proc/self/net/dev: after the colon, the first field is received, the ninth sent."""
    if not _NETWORK.exists():
        return None, None
    rows = [line.partition(":")[2].split() for line in _NETWORK.read_text().splitlines() if ":" in line]
    return sum(int(row[0]) for row in rows), sum(int(row[8]) for row in rows)
