"""One rank of a contract launch: `python -P ranks.py FOLDER`. Calls the members of bench.protocols.Backend, only those.

FOLDER holds trial.json (an Assignment) and plan.json: a list of {scenario, trial, data, checkpoint, ...}. All scenarios
run in this one process, one build each. Each rank writes rank-N.json: {scenario name: what it saw, or its error}.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from arithmetic import Values, adamw_step, largest_deviation, relative_errors, remade, sgd_step, split

from backends import BACKENDS
from bench.launch.world import find_world
from bench.protocols import Backend, Batch, World
from bench.records import Assignment, Trial
from bench.workload.batches import Batches

FRAMEWORKS = ("torch", "tensorflow", "keras", "keras_hub", "jax", "mxnet")
STEPS = 20
DETOUR = 3

Seen = dict[str, Any]


class Run:
    """One built backend and its batches."""

    def __init__(self, backend: Backend, world: World, plan: Seen) -> None:
        self.backend, self.world, self.plan = backend, world, plan
        self.trial = msgspec.convert(plan["trial"], Trial)
        self.batches = Batches(
            Path(plan["data"]),
            self.trial.workload,
            world.rank * world.local_replicas,
            world.local_replicas,
            world.replicas,
        )
        backend.build(self.trial, Path(plan["checkpoint"]))

    def batch(self, step: int) -> Batch:
        return self.batches.batch(step)

    def train(self, batches: list[Batch], exchange: bool = True) -> Seen:
        """Steps, then a fence. Numerators and weights: (step, local replica, head); bytes: all interfaces, received."""
        self.backend.fence()
        self.backend.barrier()
        before = received_bytes()
        for batch in batches:
            self.backend.step(batch, exchange)
        self.backend.fence()
        self.backend.barrier()
        received = received_bytes() - before
        losses = self.backend.losses()
        return {
            "heads": list(losses.heads),
            "numerators": losses.numerators.tolist(),
            "weights": losses.weights.tolist(),
            "global_weights": [[batch.global_weights[head] for head in losses.heads] for batch in batches],
            "received_bytes": received,
        }

    def values(self, kind: str) -> Values:
        """By (replica, name)."""
        return {(tensor.replica, tensor.name): np.array(tensor.value) for tensor in self.backend.tensors(kind)}

    def digests(self) -> list[str]:
        """One per local replica, over names and bits of all weights."""
        hashes = [hashlib.sha256() for _ in range(self.world.local_replicas)]
        replicas: dict[int, int] = {}
        for (replica, name), value in sorted(self.values("weight").items()):
            digest = hashes[replicas.setdefault(replica, len(replicas))]
            digest.update(name.encode() + str(value.shape).encode() + np.ascontiguousarray(value).tobytes())
        return [digest.hexdigest() for digest in hashes]

    def facts(self) -> Seen:
        return msgspec.to_builtins(self.backend.facts())


# ---- scenarios -------------------------------------------------------------------------------------------------


def adamw(run: Run) -> Seen:
    """Gradients, first step against the formula, 20 steps in all, then the detour of local steps."""
    gradients = gradients_of_the_first_batch(run)
    before = run.values("weight")
    first = run.train([run.batch(0)])
    error = max(
        largest_deviation(run.values("weight")[key], adamw_step(before[key], gradient, key[1], run.trial))
        for key, gradient in run.values("gradient").items()
    )
    rest = run.train([run.batch(step) for step in range(1, STEPS)])
    return {
        **gradients,
        "first": first,
        "rest": rest,
        "formula_error": error,
        "digests": run.digests(),
        "detour": detour(run),
        "facts": run.facts(),
        "tensors": sorted([name, list(value.shape)] for (replica, name), value in before.items() if replica == 0),
        "weight_dtypes": sorted({str(value.dtype) for value in before.values()}),
    }


def gradients_of_the_first_batch(run: Run) -> Seen:
    """Of a local step, a step in two microbatches and a full step, each from the initial weights, which are restored."""
    backend, batch = run.backend, run.batch(0)
    backend.snapshot()  # before any step: the optimizer has no state yet
    run.train([batch], exchange=False)
    local = run.values("gradient")
    backend.restore()
    run.train([split(batch)])
    in_two = run.values("gradient")
    backend.restore()
    run.train([batch])
    whole = run.values("gradient")
    backend.restore()
    return {
        "gradient_errors": reference_errors(run, whole, "global"),
        "local_gradient_errors": reference_errors(run, local, "own"),
        "split_gradient_errors": relative_errors(in_two, whole),
    }


def detour(run: Run) -> Seen:
    """The same full steps twice from one snapshot, the second time after local steps and a restore."""
    ahead = [run.batch(step) for step in range(STEPS, STEPS + DETOUR)]
    local = [run.batch(step) for step in range(2 * STEPS, 2 * STEPS + DETOUR)]
    backend = run.backend
    before = run.digests()
    backend.snapshot()
    straight, straight_digests = run.train(ahead), run.digests()
    backend.restore()
    apart = run.train(local, exchange=False)
    apart_digests = run.digests()
    backend.restore()
    restored = run.digests()
    again, again_digests = run.train(ahead), run.digests()
    return {
        "before": before,
        "straight": straight,
        "straight_digests": straight_digests,
        "apart": apart,
        "apart_digests": apart_digests,
        "restored": restored,
        "again": again,
        "again_digests": again_digests,
    }


def sgd(run: Run) -> Seen:
    """Two updates against the formula; then, from the initial weights again, one batch repeated."""
    backend, trial, batch = run.backend, run.trial, run.batch(0)
    start, keys = run.values("weight"), sorted(run.values("weight"))
    backend.snapshot()
    run.train([batch])
    first_gradient, first = run.values("gradient"), run.values("weight")
    run.train([run.batch(1)])
    second_gradient, second = run.values("gradient"), run.values("weight")
    backend.restore()
    repeated = run.train([batch] * STEPS)
    velocity = {key: trial.optimizer.momentum * first_gradient[key] + second_gradient[key] for key in keys}
    expected_first = {key: sgd_step(start[key], first_gradient[key], key[1], trial) for key in keys}
    expected_second = {key: sgd_step(first[key], velocity[key], key[1], trial) for key in keys}
    return {
        "first_update_error": max(largest_deviation(first[key], expected_first[key]) for key in keys),
        "second_update_error": max(largest_deviation(second[key], expected_second[key]) for key in keys),
        "largest_update": max(largest_deviation(first[key], start[key]) for key in keys),
        "repeated": repeated,
        "facts": run.facts(),
    }


def ner(run: Run) -> Seen:
    """20 steps of the other task."""
    trained = run.train([run.batch(step) for step in range(STEPS)])
    return {"first": None, "rest": trained, "digests": run.digests(), "facts": run.facts()}


def dropout(run: Run) -> Seen:
    """Random numbers are the same after a rebuild, and after a restore."""
    batches = [run.batch(step) for step in range(DETOUR)]
    run.backend.snapshot()
    trained, digests = run.train(batches), run.digests()
    same_data = run.train([every_replica_the_same(run, step) for step in range(2)])
    run.backend.restore()
    restored, restored_digests = run.train(batches), run.digests()
    facts = run.facts()
    run.backend.build(run.trial, Path(run.plan["checkpoint"]))
    rebuilt, rebuilt_digests = run.train(batches), run.digests()
    return {
        "trained": trained,
        "digests": digests,
        "same_data": same_data,
        "restored": restored,
        "restored_digests": restored_digests,
        "rebuilt": rebuilt,
        "rebuilt_digests": rebuilt_digests,
        "facts": facts,
    }


def few(run: Run) -> Seen:
    """Enough to see that the ranks found each other."""
    trained = run.train([run.batch(step) for step in range(DETOUR)])
    return {"trained": trained, "digests": run.digests(), "facts": run.facts()}


def bad_input(run: Run) -> Seen:
    """A token id that the vocabulary has not: the step or its fence must raise, and `stop` must still work."""
    batch = run.batch(0)
    ids = np.full_like(batch.arrays["input_ids"], 1_000_000)
    wrong = remade(batch, {**batch.arrays, "input_ids": ids})
    try:
        run.backend.step(wrong, True)
        run.backend.fence()
    except Exception as error:
        return {"raised": f"{type(error).__name__}: {error}"[:500]}
    return {"raised": None}


def protocol_only(run: Run) -> Seen:
    """For a backend without a framework: the calls and the shapes."""
    trained = run.train([run.batch(step) for step in range(2)])
    run.backend.snapshot()
    local = run.train([run.batch(2)], exchange=False)
    run.backend.restore()
    return {"trained": trained, "local": local, "digests": run.digests(), "facts": run.facts()}


SCENARIOS: dict[str, Callable[[Run], Seen]] = {
    "adamw": adamw,
    "sgd": sgd,
    "ner": ner,
    "dropout": dropout,
    "few": few,
    "bad_input": bad_input,
    "protocol_only": protocol_only,
}


def reference_errors(run: Run, gradients: Values, which: str) -> dict[str, float] | None:
    """Against the gradients made by hand. `own`: the gradient of a replica's own share alone."""
    if run.plan.get("reference") is None:
        return None
    world = run.world
    local = {replica: index for index, replica in enumerate(sorted({replica for replica, _ in gradients}))}
    with np.load(run.plan["reference"]) as reference:
        expected = {
            (replica, name): reference[
                f"global|{name}"
                if which == "global"
                else f"{world.replicas}|{world.rank * world.local_replicas + local[replica]}|{name}"
            ]
            for replica, name in gradients
        }
    return relative_errors(gradients, expected)


def every_replica_the_same(run: Run, step: int) -> Batch:
    """Replica 0's share for all replicas, so that only the dropped units can differ."""
    batch = Batches(Path(run.plan["data"]), run.trial.workload, 0, 1, run.world.replicas).batch(step)
    copies = run.world.local_replicas
    return remade(batch, {name: np.repeat(array, copies, axis=1) for name, array in batch.arrays.items()})


def received_bytes() -> int:
    """By all interfaces of this network namespace."""
    lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    return sum(int(line.partition(":")[2].split()[0]) for line in lines)


# ---- the rank ---------------------------------------------------------------------------------------------------


def main(folder: Path) -> None:
    assignment = msgspec.json.decode((folder / "trial.json").read_bytes(), type=Assignment)
    world = find_world(assignment, folder, os.environ)
    seen: dict[str, Any] = {"pid": os.getpid(), "rank": world.rank, "launcher": world.launcher}
    backend: Backend = importlib.import_module(BACKENDS[assignment.trial.backend].module).Backend()
    try:
        backend.start(world)
        run: Run | None = None
        for plan in json.loads((folder / "plan.json").read_text()):
            # Bad input goes to what was built last: a build more would cost a launch's time and show nothing.
            run = run if run is not None and plan["scenario"] == "bad_input" else Run(backend, world, plan)
            seen[plan["scenario"]] = SCENARIOS[plan["scenario"]](run)
        backend.stop()
        backend.stop()
        seen["stopped_twice"] = True
        seen["frameworks"] = sorted(name for name in FRAMEWORKS if name in sys.modules)
    except Exception:
        seen["error"] = traceback.format_exc()
        raise
    finally:
        (folder / f"rank-{world.rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
