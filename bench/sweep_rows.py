"""From the readings of a sweep's launches to its rows, lines and crossovers: pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench import collectives, stats
from bench.records import (
    ITEM_BYTES,
    Collective,
    CollectiveLaunch,
    CollectiveLine,
    CollectiveRequest,
    CollectiveRow,
    CollectiveTimes,
    Crossover,
    Trial,
)


@dataclass(frozen=True, slots=True)
class Swept:
    """One request of one trial in all launches that finished it. `times`: axes (launch, rank)."""

    trial: Trial
    request: CollectiveRequest
    repeats: list[int]
    times: list[list[CollectiveTimes]]

    @property
    def elements(self) -> list[int]:
        """Per tensor, as they were exchanged."""
        return next((ranks[0].elements for ranks in self.times if ranks[0].elements), self.request.elements)

    def per_operation_ns(self) -> list[NDArray[np.float64]]:
        """Per launch, axes (rank, reading)."""
        return [np.array([rank.duration_ns for rank in ranks]) / ranks[0].operations for ranks in self.times]


def swept(
    trials: Sequence[Trial], requests: Mapping[str, list[CollectiveRequest]], launches: Sequence[CollectiveLaunch]
) -> list[Swept]:
    """Every request of every trial, in order; `requests` by trial id."""
    found = []
    for trial in trials:
        own = [launch for launch in launches if launch.trial_id == trial.id and launch.times]
        for number, request in enumerate(requests[trial.id]):
            finished = [launch for launch in own if number < len(launch.times[0])]
            times = [[of_rank[number] for of_rank in launch.times] for launch in finished]
            found.append(Swept(trial, request, [launch.repeat for launch in finished], times))
    return found


def row(found: Swept, link_bits_per_s: float | None = None) -> CollectiveRow:
    """Its number, or the reason why there is none. `link_bits_per_s`: of each rank's own link, where it is known."""
    last = found.times[-1][0] if found.times else None
    empty = CollectiveRow(
        trial_id=found.trial.id,
        request=found.request,
        elements=found.elements,
        algorithm=last.algorithm if last else "",
        evidence=last.evidence if last else "",
        ranks=found.trial.replicas,
        launches=len(found.times),
        size_bytes=_size_bytes(found),
        exact=_exact(found),
    )
    reason = _why_none(found)
    if reason is not None:
        return msgspec.structs.replace(empty, reason=reason)
    wire_ns = _wire_ns(empty, link_bits_per_s)
    return msgspec.structs.replace(empty, wire_ns=wire_ns, **_numbers(found))


def _size_bytes(found: Swept) -> int | None:
    bytes_per_rank = sum(found.elements) * ITEM_BYTES[found.request.dtype]
    return collectives.operation_bytes(found.request.collective, found.trial.replicas, bytes_per_rank) or None


def _wire_ns(row: CollectiveRow, link_bits_per_s: float | None) -> float | None:
    if link_bits_per_s is None or row.size_bytes is None:
        return None
    return collectives.wire_ns(row.request.collective, row.ranks, row.size_bytes, link_bits_per_s)


def _exact(found: Swept) -> bool | None:
    """False as soon as one result was wrong; None where some, or all, were not checked."""
    said = [rank.exact for ranks in found.times for rank in ranks]
    if False in said:
        return False
    return None if None in said or not said else True


def _why_none(found: Swept) -> str | None:
    """The reason that a rank gave, or who returned a wrong result; None where the times count."""
    if not found.times:
        return "no launch of this trial is whole"
    for repeat, ranks in zip(found.repeats, found.times, strict=True):
        for rank, times in enumerate(ranks):
            if times.reason is not None:
                return f"not selectable, because {times.reason}"
            if times.exact is False:
                return (
                    f"withheld: {found.trial.backend}: the result on rank {rank} is wrong (launch {repeat}, "
                    f"{times.algorithm} {found.request.collective.replace('_', '-')})"
                )
    return None if min(medians(found)) > 0 else "withheld: it took less than the clock can tell"


def _numbers(found: Swept) -> dict[str, object]:
    """The fields of a CollectiveRow that are None without numbers."""
    launches = found.per_operation_ns()
    slowest = [readings.max(axis=0) for readings in launches]
    pooled = np.concatenate(slowest)
    estimate = stats.over_launches(medians(found))
    size, ranks = _size_bytes(found), found.trial.replicas
    assert estimate is not None and size is not None
    return {
        "time_ns": estimate.point,
        "low_ns": estimate.low,
        "high_ns": estimate.high,
        "min_ns": float(pooled.min()),
        "median_ns": stats.quantile(pooled, 0.5),
        "p95_ns": stats.quantile(pooled, 0.95),
        "max_ns": float(pooled.max()),
        "rank_median_ns": np.median(np.concatenate(launches, axis=1), axis=1).tolist(),
        "algorithm_gb_per_s": collectives.algorithm_bandwidth(size, estimate.point),
        "bus_gb_per_s": collectives.bus_bandwidth(found.request.collective, ranks, size, estimate.point),
    }


def medians(found: Swept) -> list[float]:
    """Per launch, ns of one operation: the median over readings of the slowest rank."""
    return [float(np.median(readings.max(axis=0))) for readings in found.per_operation_ns()]


def lines(rows: Sequence[CollectiveRow]) -> list[CollectiveLine]:
    """One per trial and collective with enough sizes. The model's own buckets are not among them: they are several
    operations, with their own latencies."""
    points: dict[tuple[str, Collective], list[tuple[int, float]]] = {}
    for one in rows:
        if one.time_ns is not None and one.size_bytes is not None and len(one.request.elements) == 1:
            points.setdefault((one.trial_id, one.request.collective), []).append((one.size_bytes, one.time_ns))
    return [
        _line(trial_id, collective, sizes)
        for (trial_id, collective), sizes in points.items()
        if len({size for size, _ in sizes}) >= collectives.LEAST_SIZES
    ]


def _line(trial_id: str, collective: Collective, sizes: list[tuple[int, float]]) -> CollectiveLine:
    line = collectives.fit(sizes)
    return CollectiveLine(
        trial_id=trial_id,
        collective=collective,
        sizes=len(sizes),
        latency_ns=line.latency_ns,
        ns_per_byte=line.ns_per_byte,
        worst_ratio=line.worst_ratio,
    )


def crossovers(
    trials: Sequence[Trial], all_swept: Sequence[Swept], fitted: Sequence[CollectiveLine]
) -> list[Crossover]:
    """Tree against ring for each stack whose two trials differ in nothing else and have their lines."""
    by_id = {
        line.trial_id: collectives.Line(line.latency_ns, line.ns_per_byte, line.worst_ratio)
        for line in fitted
        if line.collective == "all_reduce"
    }
    return [
        _crossover(tree, ring, collectives.crossover_bytes(by_id[tree.id], by_id[ring.id]), all_swept)
        for tree, ring in _pairs(trials)
        if tree.id in by_id and ring.id in by_id
    ]


def _pairs(trials: Sequence[Trial]) -> Iterator[tuple[Trial, Trial]]:
    known = {trial.id: trial for trial in trials}
    for tree in (trial for trial in trials if trial.allreduce == "tree"):
        ring = known.get(msgspec.structs.replace(tree, allreduce="ring").id)
        if ring is not None:
            yield tree, ring


def _crossover(tree: Trial, ring: Trial, size_bytes: float | None, all_swept: Sequence[Swept]) -> Crossover:
    own = {found.trial.id: found for found in all_swept if not found.request.elements and _why_none(found) is None}
    both = [medians(own[trial.id]) for trial in (tree, ring) if trial.id in own]
    ratio = stats.ratio(*both) if len(both) == 2 else None
    of_ring = own.get(ring.id)
    item = ITEM_BYTES[ring.wire]
    return Crossover(
        tree_id=tree.id,
        ring_id=ring.id,
        size_bytes=size_bytes,
        bucket_bytes=[elements * item for elements in of_ring.elements] if of_ring else [],
        own_ratio=ratio.point if ratio else None,
        own_low=ratio.low if ratio else None,
        own_high=ratio.high if ratio else None,
    )
