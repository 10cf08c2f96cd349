"""One rank times collectives alone: the exchange without anything to hide behind.

A reading is [fence, barrier, clock, request x operations, fence, clock], as a window is: the operations are issued
back to back, as nccl-tests does it. How many they are is the same on every rank, because a rank that issues one more
waits for ever: rank 0 decides by its own clock and the others read its decision.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from bench.clock import Clock
from bench.errors import TrialError
from bench.journal import Journal
from bench.protocols import Backend, Batch, PreparedCollective, World
from bench.records import CollectiveRequest, CollectiveTimes, Phase, Trial

READINGS = 20
DROPPED_READINGS = 2  # warm-up at the full count, after the trials that the count comes from
TRIALS = 3
# A shorter reading would tell more of the clock and of how the barrier lets ranks go than of the operation.
READING_NS = 2_000_000
MOST_OPERATIONS = 1_000
HEARTBEAT_NS = 1_000_000_000


def time_all(
    backend: Backend,
    batch: Batch,
    requests: list[CollectiveRequest],
    world: World,
    journal: Journal,
    clock: Clock,
) -> None:
    """One full step, so that the backend knows its own buckets, then every request: one line each, in this order."""
    backend.step(batch, True)
    backend.fence()
    backend.losses()
    journal.write(Phase(name="windows", at_ns=clock()))
    for number, request in enumerate(requests):
        journal.write(_time(backend, world, request, str(number), journal, clock))


def time_standalone(backend: Backend, trial: Trial, world: World, journal: Journal, clock: Clock) -> CollectiveTimes:
    """The trial's own gradients, in the buckets and by the algorithm of its steps, exchanged alone. After a full step
    only, once a launch. Writes the line, and returns it."""
    own = CollectiveRequest(dtype=trial.wire, algorithm=trial.allreduce)
    times = _time(backend, world, own, "standalone", journal, clock)
    journal.write(times)
    return times


def _time(
    backend: Backend, world: World, request: CollectiveRequest, name: str, journal: Journal, clock: Clock
) -> CollectiveTimes:
    prepared, reason = _prepare(backend, world, request, name)
    if prepared is None:
        return CollectiveTimes(
            request=request, elements=[], algorithm="", evidence="", operations=0, duration_ns=[], exact=None,
            reason=reason,
        )  # fmt: skip

    def reading(operations: int) -> int:
        took_ns = _reading(backend, prepared, operations, clock)
        if took_ns > HEARTBEAT_NS:  # over a slow network a rank that writes nothing would count as hung
            journal.write(Phase(name="windows", at_ns=clock()))
        return took_ns

    operations = _agree(world, reading, name)
    durations = [reading(operations) for _ in range(DROPPED_READINGS + READINGS)]
    return CollectiveTimes(
        request=request,
        elements=list(prepared.elements),
        algorithm=prepared.algorithm,
        evidence=prepared.evidence,
        operations=operations,
        duration_ns=durations[DROPPED_READINGS:],
        exact=prepared.exact(),
    )


def _prepare(
    backend: Backend, world: World, request: CollectiveRequest, name: str
) -> tuple[PreparedCollective | None, str | None]:
    """None with the reason where any rank cannot: the others would wait for it for ever. Memory may be short on one."""
    prepared, reason = None, ""
    try:
        prepared = backend.collective(request)
    except TrialError as error:
        reason = str(error)
    except Exception as error:
        reason = f"rank {world.rank} cannot prepare it: {type(error).__name__}: {error}"
    world.rendezvous.publish(f"prepared-{name}-{world.rank}", reason)
    reasons = [world.rendezvous.wait_for(f"prepared-{name}-{rank}") for rank in range(world.size)]
    first = next((each for each in reasons if each), None)
    return (None, first) if first else (prepared, None)


def _agree(world: World, reading: Callable[[int], int], name: str) -> int:
    """Operations of a reading: as many as take READING_NS at rank 0's fastest trial. The first run is not one: it
    traces, allocates and connects."""
    trials = [reading(1) for _ in range(1 + TRIALS)][1:]
    if world.rank == 0:
        operations = min(MOST_OPERATIONS, max(1, math.ceil(READING_NS / max(1, min(trials)))))
        world.rendezvous.publish(f"operations-{name}", str(operations))
        return operations
    return int(world.rendezvous.wait_for(f"operations-{name}"))


def _reading(backend: Backend, prepared: PreparedCollective, operations: int, clock: Clock) -> int:
    """Nanoseconds of so many operations on this rank. Nothing else happens between the two readings of the clock."""
    backend.fence()
    backend.barrier()
    start_ns = clock()
    for _ in range(operations):
        prepared.run()
    backend.fence()
    return clock() - start_ns
