"""One process: `python -P child.py SIDE FOLDER`. Reads FOLDER/plan.json, writes FOLDER/SIDE-RANK.pickle.

SIDE is one of the functions below, each of which runs a backend of its name.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
from given import Seen, batch, in_two, joint, share, trial, world

from bench.protocols import Backend, World
from bench.records import LossScale

STEPS = 4


def values(backend: Backend, kind: str) -> dict[str, np.ndarray]:
    """Of the first replica."""
    return {tensor.name: tensor.value.copy() for tensor in backend.tensors(kind) if tensor.replica == 0}


# ---- one device -------------------------------------------------------------------------------------------------


def bare(plan: Seen) -> Seen:
    from backends.tf_bare import Backend as Bare

    backend = Bare()
    backend.start(world(0, 1, 1))
    seen: Seen = {"loaded": {task: loaded(backend, plan, task) for task in ("ner", "classification", "pretraining")}}
    backend.step(joint(batch(0, replicas=2)), True)
    seen["gradient"] = values(backend, "gradient")
    for step in range(1, STEPS):
        backend.step(joint(batch(step, replicas=2)), True)
    seen["traces"] = backend._functions[True].experimental_get_tracing_count()
    seen["facts"], seen["tensors"] = backend.facts(), backend.tensor_settings()
    backend.optimizer.learning_rate.assign(0.5)
    backend.optimizer.decays[0] = 0.125
    backend.bindings[3].layer.epsilon = 0.25
    seen["changed facts"], seen["changed tensors"] = backend.facts(), backend.tensor_settings()
    seen["compiled"] = compiled(backend, plan)
    backend.stop()
    return seen


def loaded(backend: Any, plan: Seen, task: str) -> Seen:
    """What it built from the checkpoint of the task."""
    backend.build(trial("tf_bare", "adamw", task), Path(plan[task]))
    return {
        "weights": values(backend, "weight"),
        "variables": len({id(binding.variable) for binding in backend.bindings}),
        "parameters": backend.facts().parameter_elements,
    }


def compiled(backend: Any, plan: Seen) -> Seen:
    """The gradients of the first batch in two microbatches, in float16."""
    changes = {"compute": "float16", "compile": True, "loss_scale": LossScale(initial=1024.0)}
    backend.build(trial("tf_bare", "plain_sgd", **changes), Path(plan["pretraining"]))
    backend.step(in_two(joint(batch(0, replicas=2))), True)
    return {"gradient": values(backend, "gradient"), "facts": backend.facts()}


# ---- wrappers ---------------------------------------------------------------------------------------------------


def mirrored(plan: Seen) -> Seen:
    from backends.tf_mirrored import Backend as Mirrored

    return exchanging(Mirrored, world(0, 1, 2), plan)


def horovod(plan: Seen) -> Seen:
    from backends.tf_horovod import Backend as Horovod

    return exchanging(Horovod, world(int(os.environ["HOROVOD_RANK"]), 2, 1), plan)


def exchanging(kind: type[Any], place: World, plan: Seen) -> Seen:
    """What is in the graphs of a local and of a full step, and what reached the exchange."""
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
    own, seen = share(batch(0, replicas=2), place), {}
    for name, exchange in (("local", False), ("full", True)):
        backend.step(own, exchange)
        seen[name] = communication(backend.traced[exchange].graph)
    inputs = {name: tf.constant(array[0, 0]) for name, array in own.arrays.items()}
    with tf.GradientTape() as tape:
        loss = tf.add_n(backend.model.losses(inputs)[0])
    embeddings = backend.model.encoder.get_layer("segment_embedding").embeddings.value
    seen["unconverted"] = type(tape.gradient(loss, embeddings)).__name__
    seen["reached"], seen["facts"] = list(reached), backend.facts()
    seen["dishonest"] = dishonest(backend, kind)
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


SIDES = {"bare": bare, "mirrored": mirrored, "horovod": horovod}


def main(side: str, folder: Path) -> None:
    seen = SIDES[side](json.loads((folder / "plan.json").read_text()))
    out = folder / f"{side}-{os.environ.get('HOROVOD_RANK', '0')}.pickle"
    out.write_bytes(pickle.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
