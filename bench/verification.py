"""One rank under `paceline verify`: does the study's own steps, notes what the gates need, and measures nothing.

Rank 0 leaves the gradients of the first step and the weights after the last one, of its first replica, beside its
journal: the parent compares them with other stacks' and removes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bench import evidence
from bench.clock import Clock
from bench.journal import Journal
from bench.protocols import Backend, Batch, Losses, NamedTensor, World
from bench.records import DataDigest, Phase, PlantedTensor, Rehearsal
from bench.workload.batches import Batches

GRADIENTS = "gradients.safetensors"
WEIGHTS = "weights.safetensors"
REPEATED_STEPS = 6
# Of a loss scale: more than from the largest float16 down to the smallest.
MOST_HALVINGS = 40


def rehearse(backend: Backend, batches: Batches, world: World, steps: int, journal: Journal, clock: Clock) -> None:
    """Planted gradients, `steps` steps with all that a launch leaves, then one batch repeated, and undone."""
    keeps = world.rank == 0
    planted = plant(backend, world)
    fed = [batches.batch(step) for step in range(steps)]
    backend.step(fed[0], True)
    backend.fence()
    parts = [backend.losses()]
    _save(_first_gradients(backend, fed[0]), journal.folder / GRADIENTS, keeps)
    journal.write(Phase(name="windows", at_ns=clock()))
    for batch in fed[1:]:
        backend.step(batch, True)
    backend.fence()
    parts.append(backend.losses())
    losses = Losses(
        heads=parts[0].heads,
        numerators=np.concatenate([part.numerators for part in parts]),
        weights=np.concatenate([part.weights for part in parts]),
    )
    journal.write(Phase(name="finish", at_ns=clock()))
    _save(backend.tensors("weight"), journal.folder / WEIGHTS, keeps)
    digests = [batches.digest(batch) for batch in fed]
    journal.write(evidence.step_losses(0, losses, fed))
    journal.write(DataDigest(samples=sum(batch.samples for batch in fed), digest=sum(digests) % 2**64))
    kept = {(each.name, each.replica): each.sha256 for each in evidence.leave(backend, journal).tensors}
    backend.snapshot()
    repeated = _repeat(backend, batches, steps)
    backend.restore()
    lost = [each.name for each in evidence.digests(backend) if kept[each.name, each.replica] != each.sha256]
    shares = [[[evidence.finite(value) for value in heads] for heads in step] for step in losses.numerators]
    journal.write(Rehearsal(planted=planted, shares=shares, digests=digests, repeated=repeated, not_restored=lost))


def _first_gradients(backend: Backend, batch: Batch) -> list[NamedTensor]:
    """After a step on `batch`, of local replica 0.

    In float16 that step is left out where the loss scale was too large for it. Then it is repeated until the scale is
    not, and all that undone; every rank has the same gradients, and so repeats as often.
    """
    found = _of_first_replica(backend.tensors("gradient"))
    if backend.facts().loss_scale is None or _finite(found):
        return found
    backend.snapshot()
    for _ in range(MOST_HALVINGS):
        backend.step(batch, True)
        backend.fence()
        found = _of_first_replica(backend.tensors("gradient"))
        if _finite(found):
            break
    backend.losses()
    backend.restore()
    return found


def _finite(tensors: Iterable[NamedTensor]) -> bool:
    return all(bool(np.isfinite(tensor.value).all()) for tensor in tensors)


def _of_first_replica(tensors: Iterable[NamedTensor]) -> list[NamedTensor]:
    first: dict[str, NamedTensor] = {}
    for tensor in tensors:
        first.setdefault(tensor.name, tensor)
    return list(first.values())


def plant(backend: Backend, world: World) -> list[PlantedTensor]:
    """Replica r of the world gives r + 1 everywhere: all must get the mean, whatever the tensor."""
    first = world.rank * world.local_replicas
    values = [float(first + replica + 1) for replica in range(world.local_replicas)]
    return [
        PlantedTensor(
            name=tensor.name,
            replica=tensor.replica,
            least=evidence.finite(tensor.value.min()),
            largest=evidence.finite(tensor.value.max()),
        )
        for tensor in backend.planted(values)
    ]


def _repeat(backend: Backend, batches: Batches, step: int) -> list[list[float | None]]:
    """Numerators of the batch of `step`, per time and head, over the local replicas."""
    batch = batches.batch(step)
    for _ in range(REPEATED_STEPS):
        backend.step(batch, True)
    backend.fence()
    return evidence.step_losses(1, backend.losses(), [batch] * REPEATED_STEPS).numerators


def _save(tensors: Iterable[NamedTensor], path: Path, keeps: bool) -> None:
    """Of the first local replica, in the checkpoint's names and shapes; nothing unless this rank `keeps`."""
    if not keeps:
        return
    from safetensors.numpy import save_file

    save_file({each.name: np.ascontiguousarray(each.value) for each in _of_first_replica(tensors)}, path)
