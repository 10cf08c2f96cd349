"""One process, one framework: `python -P child.py SIDE FOLDER`. Reads FOLDER/plan.json, writes FOLDER/SIDE-RANK.pickle.

SIDE is one of the functions below: `bare`, `mirrored`, `horovod` run a backend, `reference` runs transformers and
torch.optim on the same checkpoint and the same batches.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
from given import (
    STEPS,
    TRAINED,
    UPDATES,
    Arrays,
    Seen,
    batch,
    gradients,
    in_two,
    joint,
    remade,
    share,
    trial,
    world,
)

from bench.protocols import Backend, World
from bench.records import LossScale, Optimizer

HUGE = 1e30  # as a loss weight: too much for float16


def values(backend: Backend, kind: str) -> dict[tuple[int, str], np.ndarray]:
    return {(tensor.replica, tensor.name): tensor.value.copy() for tensor in backend.tensors(kind)}


def reference(plan: Seen) -> Seen:
    from by_torch import reference as by_torch

    return by_torch(plan)


# ---- one device -------------------------------------------------------------------------------------------------


def bare(plan: Seen) -> Seen:
    from backends.tf_bare import Backend as Bare

    backend = Bare()
    backend.start(world(0, 1, 1))
    seen: Seen = {}
    for name, (optimizer, task) in TRAINED.items():
        backend.build(trial("tf_bare", optimizer, task), Path(plan[task]))
        seen |= {f"{name} {key}": value for key, value in twenty_steps(backend, task).items()}
    backend.build(trial("tf_bare", "plain_sgd", dropout=0.25), Path(plan["pretraining"]))
    seen["updated"] = {name: updated(backend, wanted, plan) for name, wanted in UPDATES.items()}
    seen["predicted with dropout"] = [backend.evaluate(batch("pretraining", 0)) for _ in range(2)]
    backend.step(batch("pretraining", 0), True)
    backend.optimizer.learning_rate.assign(0.5)
    backend.optimizer.decays[0] = 0.125
    backend.bindings[3].layer.epsilon = 0.25
    seen["changed facts"], seen["changed tensors"] = backend.facts(), backend.tensor_settings()
    backend.build(trial("tf_bare", "plain_sgd"), Path(plan["pretraining"]))
    backend.step(joint(batch("pretraining", 0, replicas=2)), True)
    seen["joint gradient"] = values(backend, "gradient")
    seen["compiled"] = compiled(backend, plan)
    backend.stop()
    return seen


def twenty_steps(backend: Any, task: str) -> Seen:
    seen: Seen = {"start": {tensor: value for (_, tensor), value in values(backend, "weight").items()}}
    seen["predicted"] = backend.evaluate(batch(task, 0))
    for step in range(STEPS):
        backend.step(batch(task, step), True)
    backend.fence()
    losses = backend.losses()
    scales = [[batch(task, step).global_weights[head] for head in losses.heads] for step in range(STEPS)]
    seen["first"] = losses.numerators[0, 0], losses.weights[0, 0]
    seen["losses"] = (losses.numerators[:, 0] / scales).sum(-1)
    seen["facts"], seen["tensors"] = backend.facts(), backend.tensor_settings()
    seen["exchanges"], seen["planted"] = backend.exchanges(), list(backend.planted([3.0]))
    seen["variables"] = len({id(binding.variable) for binding in backend.bindings})
    seen["traces"] = backend._functions[True].experimental_get_tracing_count()
    return seen


def updated(backend: Any, wanted: Optimizer, plan: Seen) -> Arrays:
    """The weights after three updates by given gradients."""
    from backends._tensorflow_keras import tf
    from backends._tensorflow_optimizer import build_optimizer
    from backends._tensorflow_step import Update
    from backends._tensorflow_weights import load

    load(backend.bindings, Path(plan["pretraining"]) / "model.safetensors")
    optimizer = build_optimizer(wanted, backend.bindings, backend.shapes)
    apply = tf.function(Update(optimizer, backend.bindings, wanted.clip_norm, None), autograph=False)
    for step in range(3):
        given = gradients(backend.shapes, step)
        rate = tf.constant(wanted.learning_rate_at(step), tf.float64)
        apply([tf.constant(binding.to_keras(given[binding.name])) for binding in backend.bindings], rate)
    return {tensor.name: tensor.value for tensor in backend.tensors("weight")}


def compiled(backend: Any, plan: Seen) -> Seen:
    """The gradients of the first batch in two microbatches, in float16."""
    changes = {"compute": "float16", "compile": True, "loss_scale": LossScale(initial=1024.0)}
    backend.build(trial("tf_bare", "plain_sgd", **changes), Path(plan["pretraining"]))
    backend.step(in_two(joint(batch("pretraining", 0, replicas=2))), True)
    backend.fence()
    return {"gradient": values(backend, "gradient"), "facts": backend.facts(), "losses": backend.losses()}


# ---- wrappers ---------------------------------------------------------------------------------------------------


def mirrored(plan: Seen) -> Seen:
    from backends.tf_mirrored import Backend as Mirrored

    return exchanging(Mirrored, world(0, 1, 2), plan, "bfloat16")


def horovod(plan: Seen) -> Seen:
    from backends.tf_horovod import Backend as Horovod

    return exchanging(Horovod, world(int(os.environ["HOROVOD_RANK"]), 2, 1), plan, "float16")


def exchanging(kind: type[Any], place: World, plan: Seen, wire: str) -> Seen:
    """A local and a full step of SGD from the same weights, and what reached the exchange."""
    from backends._tensorflow_graph import communication
    from backends._tensorflow_keras import tf

    reached: list[str] = []

    class Observed(kind):  # type: ignore[misc]
        def exchange(self, given: list[Any]) -> list[Any]:
            reached.extend(type(each).__name__ for each in given)
            return super().exchange(given)  # type: ignore[no-any-return]

    backend = Observed()
    backend.start(place)
    backend.build(trial(kind.__module__, "plain_sgd", replicas=2), Path(plan["pretraining"]))
    own = share(batch("pretraining", 0, replicas=2), place)
    seen: Seen = {"start": values(backend, "weight"), "exchanges before": backend.exchanges()}
    backend.snapshot()
    for name, exchange in (("local", False), ("full", True)):
        backend.step(own, exchange)
        backend.fence()
        seen[f"{name} gradient"], seen[name] = values(backend, "gradient"), values(backend, "weight")
        seen[f"{name} communication"] = communication(backend.traced[exchange].graph)
        backend.restore()
    inputs = {name: tf.constant(array[0, 0]) for name, array in own.arrays.items()}
    with tf.GradientTape() as tape:
        loss = tf.add_n(backend.model.losses(inputs)[0])
    embeddings = backend.model.encoder.get_layer("segment_embedding").embeddings.value
    seen["unconverted"] = type(tape.gradient(loss, embeddings)).__name__
    seen["reached"], seen["facts"], seen["exchanges"] = list(reached), backend.facts(), backend.exchanges()
    planted = [1.0, 4.0][place.rank : place.rank + place.local_replicas] if place.size == 2 else [1.0, 4.0]
    seen["planted"] = list(backend.planted(planted))
    seen["predicted"] = backend.evaluate(batch("pretraining", 0)) if place.rank == 0 else None
    seen["dishonest"] = dishonest(backend, kind)
    seen["scaled"] = scaled(backend, place, plan, wire)
    backend.stop()
    return seen


def dishonest(backend: Any, kind: type[Any]) -> Seen:
    """What is seen of an exchange, traced and never run, that has one tensor twice, one not, one sparse, one alien."""
    from backends._tensorflow_graph import Traced, exchanged_tensors
    from backends._tensorflow_keras import tf

    kept = backend.bindings
    bindings = twice, sparse, _, alien = kept[1:5]
    traced: list[Traced] = []

    def exchange(*given: tuple[Any, Any]) -> None:
        backend.bindings = [binding for binding, _ in given]
        kind.exchange(backend, [gradient for _, gradient in given])

    def replica(value: Any) -> Any:
        made = {binding.name: tf.fill(binding.variable.shape, value) for binding in bindings}
        made[sparse.name] = tf.IndexedSlices(made[sparse.name], tf.range(2), tf.constant([2, 128]))
        for name, gradient in made.items():
            traced[0].hand_over(name, gradient, backend.replica())
        exchange((twice, made[twice.name]), (sparse, made[sparse.name]), (alien, tf.exp(made[alien.name])))
        exchange((twice, made[twice.name]))
        return value

    def whole(value: Any) -> Any:
        traced[:] = [Traced(tf.compat.v1.get_default_graph())]
        return backend.launch(replica, value)

    tf.function(whole, autograph=False).get_concrete_function(tf.constant(1.0))
    backend.bindings = kept
    return {"names": [each.name for each in bindings], "tensors": exchanged_tensors(traced[0])}


def scaled(backend: Any, place: World, plan: Seen, wire: str) -> Seen:
    """Of a float16 trial: scale and weights after good steps, after one that overflows on replica 1, and after a
    restore. The batch is repeated."""
    settings = {"compute": "float16", "wire": wire, "loss_scale": LossScale(initial=1024.0, growth_steps=2)}
    backend.build(trial("tf", "adamw", "ner", replicas=2, **settings), Path(plan["ner"]))
    good = batch("ner", 0, replicas=2)
    weights = good.arrays["label_weights"].copy()
    weights[:, 1] *= HUGE
    bad = remade(good, arrays={**good.arrays, "label_weights": weights})
    seen: Seen = {}
    for name, given in (("one", good), ("two", good), ("overflow", bad), ("after", good)):
        if name == "overflow":
            backend.snapshot()
        backend.step(share(given, place), True)
        seen[name] = state(backend)
    backend.restore()
    seen["restored"] = state(backend)
    return {
        **seen,
        "exchanges": backend.exchanges(),
        "facts": backend.facts(),
        "planted": list(backend.planted([0.1] * 2)),
    }


def state(backend: Any) -> Seen:
    """On each local replica."""
    backend.fence()
    scale = backend.update.scale
    named = {"scale": scale.scale, "used": scale.used, "skipped": scale.skipped, "steps": backend.optimizer.steps}
    found = {name: [float(copy.numpy()) for copy in backend.local_values(value)] for name, value in named.items()}
    return {**found, "digests": digests(backend)}


def digests(backend: Any) -> list[str]:
    """One per local replica, over all weights."""
    hashes = [hashlib.sha256() for _ in range(backend.world.local_replicas)]
    for tensor in backend.tensors("weight"):
        hashes[tensor.replica].update(tensor.value.data)
    return [each.hexdigest() for each in hashes]


SIDES = {"bare": bare, "mirrored": mirrored, "horovod": horovod, "reference": reference}


def main(side: str, folder: Path) -> None:
    seen = SIDES[side](json.loads((folder / "plan.json").read_text()))
    out = folder / f"{side}-{os.environ.get('HOROVOD_RANK', '0')}.pickle"
    out.write_bytes(pickle.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
