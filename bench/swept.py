"""Where something ran; what `paceline collectives` leaves of its launches, and what it makes of them. Part of the file
format; import it from bench.records.

Durations are of one operation (of all of a request's tensors), on the slowest rank.
"""

from __future__ import annotations

import msgspec

from bench.exchanged import Collective, CollectiveRequest, CollectiveTimes
from bench.trial import Record, Trial


class Environment(Record, frozen=True, kw_only=True):
    """Where it ran. Captured by allow-list; None is unknown.

    emulated_hosts   the hosts were emulated on this one machine, so many with links of this rate, as in "4@1gbit";
                     None: they were not
    """

    hostname: str
    platform: str
    python: str
    cpu: str | None
    cores: int
    memory_bytes: int | None
    load_average: float | None
    governor: str | None
    paceline: str
    revision: str | None
    packages: dict[str, str]
    variables: dict[str, str]
    emulated_hosts: str | None = None


class CollectiveLaunch(Record, frozen=True, kw_only=True):
    """One launch of a sweep. `times`: axes (rank, request); where `error` says why it failed, of the first requests
    that all ranks had finished. One that failed and was resumed is several, of which each timed what was lacking."""

    trial_id: str
    repeat: int
    started_utc: str
    wall_ns: int
    command: list[str]
    error: str | None
    times: list[list[CollectiveTimes]]


class CollectiveRow(Record, frozen=True, kw_only=True):
    """One request of one trial over its launches: its number, or the reason why there is none.

    ranks           that take part: model copies, also where one process holds several
    size_bytes      as nccl-tests counts an operation (bench.collectives.operation_bytes), all tensors together
    time_ns         geometric mean over launches of each launch's median, with its 95 % interval from 3 launches on
    min_ns to max_ns  over the readings of all launches; `rank_median_ns` of each rank by itself
    *_gb_per_s      as nccl-tests defines algbw and busbw, of time_ns
    wire_ns         the least time over links of a known rate (bench.collectives.wire_ns); None: the rate is not known
    exact           on every rank of every launch; None: some were not checked
    reason          withheld, or not selectable: all numbers are None then
    """

    trial_id: str
    request: CollectiveRequest
    elements: list[int]
    algorithm: str
    evidence: str
    ranks: int
    launches: int
    size_bytes: int | None = None
    time_ns: float | None = None
    low_ns: float | None = None
    high_ns: float | None = None
    min_ns: float | None = None
    median_ns: float | None = None
    p95_ns: float | None = None
    max_ns: float | None = None
    rank_median_ns: list[float] = msgspec.field(default_factory=list)
    algorithm_gb_per_s: float | None = None
    bus_gb_per_s: float | None = None
    wire_ns: float | None = None
    exact: bool | None = None
    reason: str | None = None


class CollectiveLine(Record, frozen=True, kw_only=True):
    """bench.collectives.Line, fitted through the sizes of one trial: time = latency_ns + size x ns_per_byte."""

    trial_id: str
    collective: Collective
    sizes: int
    latency_ns: float
    ns_per_byte: float
    worst_ratio: float


class Crossover(Record, frozen=True, kw_only=True):
    """Tree against ring in one stack, from their lines and at this model's own buckets.

    size_bytes      below it the tree is the faster one; None: their lines do not cross so
    bucket_bytes    of each bucket that the ring's trial exchanges in a step, in order; empty where not known
    own_ratio       the tree's time of all own buckets over the ring's, with its 95 % interval; None where not measured
    """

    tree_id: str
    ring_id: str
    size_bytes: float | None
    bucket_bytes: list[int]
    own_ratio: float | None
    own_low: float | None
    own_high: float | None


class Sweep(Record, frozen=True, kw_only=True):
    """`collectives.json` of a sweep's folder. `rejected` as in Plan; `requests` by trial id; `order` of the launches,
    of which those that were made are in `launches`; rows, lines and crossovers are derived from them."""

    study: str
    study_yaml: str
    created_utc: str
    environment: Environment
    trials: list[Trial]
    rejected: list[tuple[Trial, str]]
    order: list[tuple[str, int]]
    launches: list[CollectiveLaunch]
    rows: list[CollectiveRow]
    lines: list[CollectiveLine]
    crossovers: list[Crossover]
    schema: int
    requests: dict[str, list[CollectiveRequest]] = msgspec.field(default_factory=dict)
