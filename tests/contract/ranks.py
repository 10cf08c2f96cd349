"""One rank of a contract launch: `python -P ranks.py FOLDER`. Calls the members of bench.protocols.Backend, only those.

FOLDER holds trial.json (an Assignment) and plan.json: a list of {scenario, trial, data, checkpoint, ...}. All scenarios
run in this one process, one build each. Each rank writes rank-N.json: {scenario name: what it saw}, and under "errors"
the traceback of each scenario that failed.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from arithmetic import Values

from backends import BACKENDS
from bench.launch.world import find_world
from bench.protocols import Backend, Batch, World
from bench.records import Assignment, Trial
from bench.workload.batches import Batches

FRAMEWORKS = ("torch", "tensorflow", "keras", "keras_hub", "jax", "mxnet")

Seen = dict[str, Any]


class Run:
    """One built backend and its batches."""

    def __init__(self, backend: Backend, world: World, plan: Seen) -> None:
        self.backend, self.world, self.plan = backend, world, plan
        self.trial = msgspec.convert(plan["trial"], Trial)
        self.first_replica = world.rank * world.local_replicas
        self.batches = self.share(self.first_replica, world.local_replicas)
        backend.build(self.trial, Path(plan["checkpoint"]))

    def share(self, first_replica: int, local_replicas: int, **changes: Any) -> Batches:
        """The batches of these replicas. `changes`: of the trial's workload."""
        work = msgspec.structs.replace(self.trial.workload, **changes)
        return Batches(Path(self.plan["data"]), work, first_replica, local_replicas, self.world.replicas)

    def batch(self, step: int) -> Batch:
        return self.batches.batch(step)

    def steps(self, first: int, count: int) -> list[Batch]:
        """The batches of so many steps."""
        return [self.batch(step) for step in range(first, first + count)]

    def global_batch(self, step: int) -> Batch:
        """The samples of all replicas as one replica's."""
        work = msgspec.structs.replace(self.trial.workload, batch_per_replica=self.trial.global_batch, accumulation=1)
        return Batches(Path(self.plan["data"]), work, 0, 1, 1).batch(step)

    def train(self, batches: Sequence[Batch], exchange: bool = True) -> Seen:
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

    def planted(self, unit: float) -> Seen:
        """What comes back when replica r plants (r + 1) * unit: least and greatest element of all, and the shapes."""
        own = [(self.first_replica + index + 1) * unit for index in range(self.world.local_replicas)]
        found = {(tensor.replica, tensor.name): tensor.value for tensor in self.backend.planted(own)}
        return {
            "least": float(min(np.min(value) for value in found.values())),
            "greatest": float(max(np.max(value) for value in found.values())),
            "tensors": sorted([replica, name, list(value.shape)] for (replica, name), value in found.items()),
            "dtypes": sorted({str(value.dtype) for value in found.values()}),
        }

    def evaluate(self, batch: Batch) -> Seen | None:
        """On rank 0 alone, else None. The batch has one local replica."""
        if self.world.rank != 0:
            return None
        seen = self.backend.evaluate(batch)
        return {
            "heads": list(seen.heads),
            "numerators": seen.numerators.tolist(),
            "weights": seen.weights.tolist(),
            "classes": {head: value.tolist() for head, value in seen.classes.items()},
            "dtypes": sorted({str(value.dtype) for value in seen.classes.values()}),
        }

    def described(self) -> Seen:
        """What the backend says of itself."""
        return {
            "facts": msgspec.to_builtins(self.backend.facts()),
            "exchanges": msgspec.to_builtins(list(self.backend.exchanges())),
            "settings": msgspec.to_builtins(list(self.backend.tensor_settings())),
        }

    def shapes(self) -> list[Any]:
        """[replica, name, shape] of every weight."""
        return sorted([replica, name, list(value.shape)] for (replica, name), value in self.values("weight").items())


def received_bytes() -> int:
    """By all interfaces of this network namespace."""
    lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    return sum(int(line.partition(":")[2].split()[0]) for line in lines)


def run_all(backend: Backend, world: World, folder: Path, seen: Seen) -> None:
    """Every scenario of plan.json; one that fails in all ranks alike leaves the others to go on."""
    import scenarios
    from collectives import collectives

    run: Run | None = None
    for plan in json.loads((folder / "plan.json").read_text()):
        name, began = plan["scenario"], time.perf_counter()
        try:
            if name == "collectives":
                seen[name] = collectives(backend, built=run is not None)
            else:
                run = run if run is not None and name == "bad_input" else Run(backend, world, plan)
                seen[name] = scenarios.SCENARIOS[name](run)
        except Exception:
            seen["errors"][name] = traceback.format_exc()
        seen["seconds"][name] = round(time.perf_counter() - began, 2)
        write(folder, seen)


def write(folder: Path, seen: Seen) -> None:
    (folder / f"rank-{seen['rank']}.json").write_text(json.dumps(seen))


def main(folder: Path) -> None:
    began = time.perf_counter()
    assignment = msgspec.json.decode((folder / "trial.json").read_bytes(), type=Assignment)
    world = find_world(assignment, folder, os.environ)
    seen: Seen = {"pid": os.getpid(), "rank": world.rank, "launcher": world.launcher, "errors": {}, "seconds": {}}
    backend: Backend = importlib.import_module(BACKENDS[assignment.trial.backend].module).Backend()
    try:
        backend.start(world)
        seen["seconds"]["start"] = round(time.perf_counter() - began, 2)
        run_all(backend, world, folder, seen)
        backend.stop()
        backend.stop()
        seen["stopped_twice"] = True
        seen["frameworks"] = sorted(name for name in FRAMEWORKS if name in sys.modules)
    except Exception:
        seen["errors"]["launch"] = traceback.format_exc()
        raise
    finally:
        write(folder, seen)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
