"""pytest-benchmark's JSON. Its seconds are those of one iteration of whatever was called.

How many samples a call trains is not in it, so a rate is known only where this project's own fixture wrote the file:
its seconds are seconds per sample. Its mean, and its `ops`, are over rounds; ours is total over total. Rounds of one
process are not launches: an interval needs several files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from bench.importers.rows import Training


class _Stats(msgspec.Struct):
    median: float
    total: float
    rounds: int
    data: list[float] = []


class _Benchmark(msgspec.Struct):
    fullname: str
    stats: _Stats
    extra_info: dict[str, Any] = {}


class _Document(msgspec.Struct):
    benchmarks: list[_Benchmark]


def claims(document: object) -> bool:
    """Whether the JSON is of this kind, right or wrong."""
    return isinstance(document, dict) and "benchmarks" in document and "machine_info" in document


def read(document: object) -> Iterator[Training]:
    """Raises ValueError or ValidationError for what is missing."""
    found = msgspec.convert(document, _Document)
    if not found.benchmarks:
        raise ValueError("there is no benchmark in it; were they all skipped or disabled?")
    return (_training(one) for one in found.benchmarks)


def _training(one: _Benchmark) -> Training:
    own = one.extra_info.get("paceline")
    if isinstance(own, dict):
        return Training(
            source="paceline's pytest fixture",
            label=one.fullname,
            framework=None,
            replicas=own.get("replicas"),
            model=own.get("model"),
            batch_per_replica=own.get("batch_per_replica"),
            launch_rates=own.get("launch_rates"),
            step_ms=[],
        )
    return Training(
        source="pytest-benchmark",
        label=one.fullname,
        framework=None,
        replicas=None,
        model=None,
        batch_per_replica=None,
        launch_rates=None,
        step_ms=[seconds * 1000 for seconds in one.stats.data],
        median_ms=None if one.stats.data else one.stats.median * 1000,
        note="milliseconds of one call; how many samples it trains is not recorded",
    )
