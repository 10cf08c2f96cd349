"""nccl-tests' JSON (`all_reduce_perf -J FILE`, formats 1 and 2, which agree in what is read here).

time is in microseconds, of one call, the mean over the iterations; over ranks it is the mean too, unless `-a 3` (the
slowest, as this project counts) was given. alg_bw and bus_bw are in 1e9 bytes per second with six decimals, so
bandwidths are computed again from bytes and time. `size` is theirs: for an all-gather or a reduce-scatter the larger
buffer. One file is one launch. The file also holds the whole environment of the run: it is not read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import msgspec

from bench.importers.rows import Collective
from bench.quoting import quoted

FORMATS = (1, 2)
SLOWEST = 3  # of -a, --average: 0 rank 0, 1 mean (their default), 2 fastest, 3 slowest


class _Body(msgspec.Struct):
    alg_bw: float | str
    bus_bw: float | str
    time: float | None = None
    cpu_time: float | None = None
    nwrong: float | str | None = None


class _Line(msgspec.Struct):
    size: int
    count: int
    type: str
    redop: str
    out_of_place: _Body | None = None
    in_place: _Body | None = None


class _Config(msgspec.Struct):
    nthreads: int
    ngpus: int
    devices: list[dict[str, Any]] = []


class _Document(msgspec.Struct):
    version: int
    args: list[str]
    config: _Config
    results: list[_Line]


def claims(document: object) -> bool:
    """Whether the JSON is of this kind, right or wrong."""
    return isinstance(document, dict) and "nccl_version" in document


def read(document: object) -> Iterator[Collective]:
    """Two records a line: out of place and in place. Raises ValueError or ValidationError for what is missing."""
    version = document.get("version") if isinstance(document, dict) else None
    if version not in FORMATS:
        raise ValueError(f"nccl-tests' JSON of format {quoted(version)}; known are {' and '.join(map(str, FORMATS))}")
    found = msgspec.convert(document, _Document)
    if not found.results:
        raise ValueError("there is no result in it; the run ended before its first size")
    for line in found.results:
        for in_place, body in ((False, line.out_of_place), (True, line.in_place)):
            if body is not None and line.size > 0:
                yield _collective(found, line, body, in_place)


def _collective(document: _Document, line: _Line, body: _Body, in_place: bool) -> Collective:
    config = document.config
    return Collective(
        source="nccl-tests",
        label=PurePosixPath(document.args[0]).name.removesuffix("_perf") if document.args else "unknown",
        message_bytes=line.size,
        elements=line.count,
        dtype=line.type,
        operation=None if line.redop == "none" else line.redop,
        # each process reports its first device only
        ranks=len(config.devices) * config.nthreads * config.ngpus or None,
        in_place=in_place,
        seconds=[body.time / 1e6] if body.time else None,
        bus_factor=_factor(body),
        wrong_elements=int(body.nwrong) if isinstance(body.nwrong, float) else None,
        note=_note(document, body),
    )


def _note(document: _Document, body: _Body) -> str | None:
    if body.time is None:
        return "CPU time was recorded, not the time of the collective"
    arguments = " ".join(document.args).replace("=", " ").split()
    chosen = [after for flag, after in itertools.pairwise(arguments) if flag in ("-a", "--average")]
    slowest = f"-a{SLOWEST}" in arguments or chosen[-1:] == [str(SLOWEST)]
    return None if slowest else "not the slowest rank's time: run with -a 3 for that"


def _factor(body: _Body) -> float | None:
    """To the digits that the rounding of both leaves; small messages have too few of them."""
    if not isinstance(body.alg_bw, float) or not isinstance(body.bus_bw, float) or body.alg_bw < 1e-3:
        return None
    return round(body.bus_bw / body.alg_bw, 3)
