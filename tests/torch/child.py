"""One rank: `python -P child.py SIDE RANK FOLDER`. Reads FOLDER/plan.json, writes FOLDER/SIDE-RANK.json.

SIDE is `bare`, `ddp` or `horovod`; for the last one the launcher tells the rank. All trials run in this one process,
on a BERT of some 30,000 parameters that tags random tokens.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.errors import TrialError
from bench.protocols import Batch, World
from bench.records import Optimizer, Trial, Workload

SAMPLES, TOKENS, VOCABULARY, LABELS = 4, 16, 300, 5
TAGGER_BIAS, EMBEDDINGS = "classifier.bias", "bert.embeddings.word_embeddings.weight"
PRESET_SETTINGS = ("fused", "compile", "gradient_as_bucket_view", "static_graph", "attention", "pinned_input")
# The one optimizer that takes sparse gradients.
SGD = Optimizer(name="sgd", learning_rate=0.1, weight_decay=0.0)

Seen = dict[str, Any]
Change = Callable[[Any], None]


class FileRendezvous:
    """bench.protocols.Rendezvous for one host."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def publish(self, name: str, text: str) -> None:
        (self._folder / "staged").write_text(text)
        (self._folder / "staged").rename(self._folder / name)

    def wait_for(self, name: str) -> str:
        for _ in range(6000):
            if (self._folder / name).exists():
                return (self._folder / name).read_text()
            time.sleep(0.01)
        raise TimeoutError(name)


class Rank:
    """A backend that each scenario builds anew."""

    def __init__(self, side: str, rank: int, size: int, folder: Path) -> None:
        self.module = importlib.import_module(f"backends.torch_{side}")
        self.checkpoint = Path(json.loads((folder / "plan.json").read_text())["checkpoint"])
        self.world = World(
            rank=rank, size=size, local_rank=rank, local_size=size, local_replicas=1, launcher="local",
            address="127.0.0.1", network_interface=None, rendezvous_port=0, rendezvous=FileRendezvous(folder),
        )  # fmt: skip
        self.backend = self.module.Backend()
        self.backend.start(self.world)

    def trial(self, **changes: Any) -> Trial:
        work = Workload(task="ner", sequence_length=TOKENS, batch_per_replica=SAMPLES)
        return Trial(backend=self.module.__name__.removeprefix("backends."), replicas=2, workload=work, **changes)

    def build(self, before_wrap: Change | None = None, **changes: Any) -> Any:
        """`before_wrap` changes the model before the wrapper sees it, once."""
        self.backend.__dict__.pop("wrap", None)
        if before_wrap is not None:
            wrap = self.backend.wrap
            self.backend.wrap = lambda: (before_wrap(self.backend), wrap())
        self.backend.build(self.trial(**changes), self.checkpoint)
        return self.backend

    def batch(self, step: int) -> Batch:
        """This rank's own; the labels' weights add up to those of all ranks."""
        generator = np.random.default_rng([step, self.world.rank])
        axes = (1, 1, SAMPLES, TOKENS)
        arrays = {
            "input_ids": generator.integers(0, VOCABULARY, axes, np.int32),
            "token_type_ids": generator.integers(0, 2, axes, np.int32),
            "attention_mask": np.ones(axes, np.int32),
            "labels": generator.integers(0, LABELS, axes, np.int32),
            "label_weights": np.ones(axes, np.float32),
        }
        weights = {"ner": float(SAMPLES * TOKENS * self.world.size)}
        return Batch(step=step, arrays=arrays, global_weights=weights, samples=SAMPLES, tokens_real=0, tokens_padded=0)

    def refused(self, **changes: Any) -> str | None:
        """The sentence with which `build` refuses."""
        try:
            self.build(**changes)
        except TrialError as error:
            return str(error)
        return None


def exchanges(backend: Any) -> list[Seen]:
    return [msgspec.to_builtins(tensor) for tensor in backend.exchanges()]


def make_sparse(backend: Any) -> None:
    backend.model.bert.embeddings.word_embeddings.sparse = True


def leave_out_the_bias(backend: Any) -> None:
    from torch.nn.parallel import DistributedDataParallel

    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(backend.network, [f"model.{TAGGER_BIAS}"])


def compile_without_code(backend: Any) -> None:
    """All that torch.compile does in Python, without a C++ compiler."""
    from torch._dynamo import lookup_backend

    backend.compiler._inductor = lookup_backend("aot_eager")


def replay_in_place(backend: Any) -> None:
    """Compiled passes that behave as CUDA graphs do: what one returns, gradients included, lies where its last run
    left it, and is gone when the next step begins. Without a C++ compiler."""
    import torch
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    returned: list[Any] = []  # of all passes, in the memory of their recordings

    def recorded(graph: Any, _: Any) -> Any:
        own: list[Any] = []

        def replay(*inputs: Any) -> list[Any]:
            outputs = graph(*inputs)
            if not own:
                own.extend(each if each is None else each.clone() for each in outputs)
                returned.extend(each for each in own if each is not None and each.is_floating_point())
            for memory, output in zip(own, outputs, strict=True):
                if memory is not None:
                    memory.copy_(output)
            return [memory if memory is None else memory.detach() for memory in own]

        return make_boxed_func(replay)

    def begin() -> None:
        for each in returned:
            each.fill_(float("nan"))

    torch.compiler.cudagraph_mark_step_begin = begin
    backend.recorded = backend.compiler.records = True
    backend.compiler._inductor = aot_autograd(fw_compiler=recorded, bw_compiler=recorded)
    backend.network.compile_training(backend.compiler)


def exchange(rank: Rank, again: Callable[[Any], Any]) -> Seen:
    """What exchanges() tells of an honest backend, and of others. `again` reduces a gradient once more."""
    options = {"bucket_cap_mb": 0.03} if rank.module.__name__.endswith("ddp") else {}
    backend = rank.build(optimizer=SGD, options=options)
    seen = {"before": exchanges(backend)}
    backend.step(rank.batch(0), True)
    seen["honest"] = exchanges(backend)
    seen["left_behind"] = left_behind(backend)
    backend.step(rank.batch(1), True)
    seen["second_step"] = exchanges(backend)
    backend = rank.build(make_sparse, optimizer=SGD)
    backend.step(rank.batch(0), True)
    seen["sparse"] = exchanges(backend)
    backend = rank.build(optimizer=SGD)
    wait = backend.await_exchange
    backend.await_exchange = lambda: (wait(), again(dict(backend.model.named_parameters())[TAGGER_BIAS].grad))
    backend.step(rank.batch(0), True)
    seen["twice"] = exchanges(backend)
    del backend.await_exchange
    return seen


def left_behind(backend: Any) -> list[str]:
    """What of an observation is still there."""
    from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

    hooks = [name for name, module in backend.model.named_modules() if module._forward_hooks]
    return hooks + [repr(mode) for mode in _get_current_dispatch_mode_stack()]


# ---- sides -----------------------------------------------------------------------------------------------------


def ddp(rank: Rank) -> Seen:
    from torch import distributed

    seen = exchange(rank, distributed.all_reduce)
    backend = rank.build(leave_out_the_bias, optimizer=SGD)
    backend.step(rank.batch(0), True)
    seen["left_out"] = exchanges(backend)
    seen["small_buckets"] = rank.refused(compile=True, options={"bucket_cap_mb": 0.5})
    # DDP's first bucket, where torch.compile cuts its first graph: small enough for this model to fill several.
    distributed._DEFAULT_FIRST_BUCKET_BYTES = 4096
    seen["presets"] = presets(rank)
    backend = rank.build(compile_without_code, optimizer=SGD, compile=True)
    graphs = []
    for step, full in enumerate((False, True, False)):
        backend.step(rank.batch(step), full)
        graphs.append(backend.compiler.graphs)
    seen["graphs"] = graphs
    seen["curves"] = curves(rank)
    return seen


def presets(rank: Rank) -> Seen:
    """Steps of two microbatches, full and local ones in turn, and a planted gradient, with either preset, and with what
    `tuned` does on a GPU."""
    seen: Seen = {}
    changes = {"plain": None, "tuned": compile_without_code, "recorded": replay_in_place}
    for name, change in changes.items():
        backend = rank.build(change, preset="plain" if name == "plain" else "tuned")
        for step in range(4):
            backend.step(halved(rank.batch(step)), True)
            backend.snapshot()
            backend.step(halved(rank.batch(step)), False)
            backend.restore()
        losses = backend.losses().numerators.ravel().tolist()
        facts = backend.facts()
        backend._seen.clear()
        backend.step(halved(rank.batch(4)), True)
        again = [each["count"] for each in exchanges(backend)]
        planted = [tensor.value for tensor in backend.planted([float(rank.world.rank + 1)])]
        backend.step(halved(rank.batch(5)), True)
        seen[name] = {
            "again": again,
            "losses": losses + backend.losses().numerators.ravel().tolist(),
            "settings": {key: facts.settings.get(key) for key in PRESET_SETTINGS},
            "exchange": [facts.exchange_elements, len(exchanges(backend)), (facts.buckets or 0) > 1],
            "planted": [float(min(value.min() for value in planted)), float(max(value.max() for value in planted))],
        }
    return seen


def halved(batch: Batch) -> Batch:
    """The same samples as two microbatches."""
    arrays = {name: array.reshape(2, 1, SAMPLES // 2, *array.shape[3:]) for name, array in batch.arrays.items()}
    return replace(batch, arrays=arrays)


def curves(rank: Rank) -> Seen:
    """Losses of three full steps, eager and through Inductor, and its graphs."""
    seen: Seen = {}
    for name, compiled in (("eager", False), ("compiled", True)):
        backend = rank.build(compile=compiled)
        for step in range(3):
            backend.step(rank.batch(step), True)
        backend.fence()
        seen[name] = backend.losses().numerators.ravel().tolist()
    return seen | {"graphs": backend.compiler.graphs, "told": backend.facts().settings["compile"]}


def horovod(rank: Rank) -> Seen:
    import horovod.torch as hvd
    from horovod.torch import mpi_ops

    before = [mpi_ops._allreduce_async, mpi_ops._grouped_allreduce_async, mpi_ops._allgather_async]
    seen = exchange(rank, hvd.allreduce_)
    seen["patched"] = before != [mpi_ops._allreduce_async, mpi_ops._grouped_allreduce_async, mpi_ops._allgather_async]
    seen["bfloat16"] = rank.refused(wire="bfloat16")
    seen["curves"] = curves(rank)
    return seen


def bare(rank: Rank) -> Seen:
    import torch

    def dtype_of(change: Change, **changes: Any) -> str:
        backend = rank.build(change, **changes)
        backend.step(rank.batch(0), True)
        dtype: str = backend.facts().compute_dtype
        return dtype

    def nothing(_: Any) -> None:
        """The backend as it is."""

    def full_precision(backend: Any) -> None:
        backend.network._precision = nullcontext

    def one_layer_in_full(backend: Any) -> None:
        classifier, forward = backend.model.classifier, backend.model.classifier.forward

        def in_full(hidden: Any) -> Any:
            with torch.autocast("cpu", enabled=False):
                return forward(hidden.float())

        classifier.forward = in_full

    seen: Seen = {
        "bfloat16": dtype_of(nothing, compute="bfloat16"),
        "float16": dtype_of(nothing, compute="float16"),
        "bfloat16 compiled": dtype_of(compile_without_code, compute="bfloat16", compile=True),
        "not bfloat16": dtype_of(full_precision, compute="bfloat16"),
        "not bfloat16 compiled": dtype_of(
            lambda each: (full_precision(each), compile_without_code(each)), compute="bfloat16", compile=True
        ),
        "nearly bfloat16": dtype_of(one_layer_in_full, compute="bfloat16"),
        "tf32": rank.refused(compute="tf32"),
        "too large": too_large(rank),
        "phases": phases(rank),
    }
    from torch._inductor import config

    seen["clipped"] = clipped()
    config.cpp.cxx = (None, "no-such-compiler")
    seen["no compiler"] = rank.refused(compile=True)
    return seen


def too_large(rank: Rank) -> str:
    """The sentence of a row whose batch does not fit: PyTorch's own error, from a forward pass that raises it."""
    import torch

    def no_memory(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 12.00 GiB.")

    backend = rank.build()
    backend.network.losses = backend.network._train = no_memory
    try:
        backend.step(rank.batch(0), True)
    except TrialError as error:
        return str(error)
    return "nothing was said"


def phases(rank: Rank) -> Seen:
    """What a GPU would mark in a full and a local step of two microbatches."""
    seen: Seen = {}
    for name, exchange in (("full", True), ("local", False)):
        backend = rank.build()
        seen[name] = []
        backend.marked.passed = seen[name].append
        backend.step(halved(rank.batch(0)), exchange)
    return seen


def clipped() -> Seen:
    """Gradients as large as those of BERT-tiny's embeddings, before and after, against NumPy in float64."""
    import torch

    from backends._torch_optimizer import build_optimizer, clip, norms

    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((30_522, 128), (7,))]
    generator = torch.Generator().manual_seed(1)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    before = [parameter.grad.double().numpy() for parameter in parameters]
    exact = [float(np.linalg.norm(each)) for each in before]
    found = norms([parameter.grad for parameter in parameters]).double().tolist()
    named = list(zip(("weight", "bias"), parameters, strict=True))  # in one group each
    clip(build_optimizer(Optimizer(clip_norm=1e9), named))
    untouched = all((p.grad.numpy() == each).all() for p, each in zip(parameters, before, strict=True))
    clip(build_optimizer(Optimizer(clip_norm=0.5), named))
    norm = float(np.sqrt(sum(np.sum(parameter.grad.double().numpy() ** 2) for parameter in parameters)))
    return {"errors": [abs(a / b - 1) for a, b in zip(found, exact, strict=True)], "untouched": untouched, "norm": norm}


def main(side: str, rank: str, folder: Path) -> None:
    number = int(os.environ.get("HOROVOD_RANK", rank))
    this = Rank(side, number, 1 if side == "bare" else 2, folder)
    seen = {"bare": bare, "ddp": ddp, "horovod": horovod}[side](this)
    (folder / f"{side}-{number}.json").write_text(json.dumps(seen))
    this.backend.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
