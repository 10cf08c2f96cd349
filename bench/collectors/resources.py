"""CPU time, memory and network bytes of this process, read between windows: /proc on Linux, else psutil or None."""

from __future__ import annotations

import os
import resource
import socket
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

_STATM = Path("/proc/self/statm")
_DESCRIPTORS = Path("/proc/self/fd")
# struct tcp_info of linux/tcp.h (since Linux 4.1): 64-bit counters of payload acknowledged by the peer, and received.
_BYTES_ACKED, _BYTES_RECEIVED, _TCP_INFO_SIZE = 120, 128, 136


@dataclass(frozen=True, slots=True)
class Reading:
    """Cumulative but for `rss_bytes`. Network bytes are the payload of this process' open TCP connections."""

    cpu_ns: int
    rss_bytes: int | None
    received_bytes: int | None
    sent_bytes: int | None


def read() -> Reading:
    """This process and its finished children; well under 1 ms, so never inside a window."""
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
    """(received, sent) by TCP_INFO of every TCP socket among this process' descriptors, whichever library opened it.

    Each rank so counts its own traffic, whatever else the host does. What a closed connection carried is lost.
    """
    if not _DESCRIPTORS.exists() or not hasattr(socket, "TCP_INFO"):
        return None, None
    received = sent = 0
    for descriptor in _DESCRIPTORS.iterdir():
        info = _tcp_info(int(descriptor.name))
        if len(info) >= _TCP_INFO_SIZE:
            sent += int.from_bytes(info[_BYTES_ACKED : _BYTES_ACKED + 8], sys.byteorder)
            received += int.from_bytes(info[_BYTES_RECEIVED : _BYTES_RECEIVED + 8], sys.byteorder)
    return received, sent


def _tcp_info(descriptor: int) -> bytes:
    """Empty for what is no TCP connection, or has just been closed."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return b""
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            if connection.type != socket.SOCK_STREAM or connection.family not in (socket.AF_INET, socket.AF_INET6):
                return b""
            return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    except OSError:
        return b""
