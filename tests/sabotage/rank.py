"""One rank of sabotaged launches: `python -P rank.py FOLDER`. The real worker and the real backend, with one fault each.

FOLDER holds faults.json: [[folder of a launch, name of a fault or null], ...]. All launches run in this one process, so
that the framework is imported once.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from bench import worker
from bench.protocols import Batch, Losses
from bench.workload.batches import Batches

LAYER = "bert.encoder.layer.1"
TENSOR = f"{LAYER}.attention.self.query.weight"
Fault = Callable[[], contextlib.AbstractContextManager[Any]]


# ---- PyTorch ----------------------------------------------------------------------------------------------------


def _after_wrap(change: Callable[[Any], None]) -> Fault:
    """A fault that changes the built torch_ddp backend."""

    @contextlib.contextmanager
    def fault() -> Iterator[None]:
        from backends.torch_ddp import Backend

        wrap = Backend.wrap

        def wrapped(self: Any) -> None:
            wrap(self)
            change(self)

        with mock.patch.object(Backend, "wrap", wrapped):
            yield

    return fault


def _before_wrap(change: Callable[[Any], None]) -> Fault:
    """A fault that changes the model before DDP sees it."""

    @contextlib.contextmanager
    def fault() -> Iterator[None]:
        from backends.torch_ddp import Backend

        wrap = Backend.wrap

        def wrapped(self: Any) -> None:
            change(self)
            wrap(self)

        with mock.patch.object(Backend, "wrap", wrapped):
            yield

    return fault


def _no_exchange(backend: Any) -> None:
    backend.wrapped.require_backward_grad_sync = False


def _sum(backend: Any) -> None:
    from torch import distributed

    def add(_state, bucket):  # DDP looks at annotations
        work = distributed.all_reduce(bucket.buffer(), async_op=True)
        return work.get_future().then(lambda done: done.value()[0])

    backend.wrapped.register_comm_hook(None, add)


@contextlib.contextmanager
def other_all_reduce() -> Iterator[None]:
    """The communication hook is left out: DDP asks Gloo instead."""
    from torch.nn.parallel import DistributedDataParallel

    with mock.patch.object(DistributedDataParallel, "register_comm_hook", lambda *_: None):
        yield


def _layer(backend: Any) -> Any:
    return backend.model.bert.encoder.layer[1]


def _epsilon(value: float) -> Callable[[Any], None]:
    def change(backend: Any) -> None:
        _layer(backend).output.LayerNorm.eps = value

    return change


def _gelu(backend: Any) -> None:
    from transformers.activations import ACT2FN

    _layer(backend).intermediate.intermediate_act_fn = ACT2FN["gelu"]


def _hidden_gelu(backend: Any) -> None:
    """The layer still says that it is the tanh form."""
    from torch.nn import functional

    _layer(backend).intermediate.intermediate_act_fn.forward = functional.gelu


def _no_decay(backend: Any) -> None:
    """One tensor is moved to the group of those that do not decay."""
    decayed, kept = backend.optimizer.param_groups
    tensor = dict(backend.model.named_parameters())[TENSOR]
    decayed["params"] = [each for each in decayed["params"] if each is not tensor]
    kept["params"].append(tensor)


def _more_decay(backend: Any) -> None:
    """Ten per cent more: the loss will not show it."""
    backend.optimizer.param_groups[0]["weight_decay"] *= 1.1


def _hidden_decay(backend: Any) -> None:
    """One tensor decays more than its settings say: ten times as much."""
    step, tensor = backend.optimizer.step, dict(backend.model.named_parameters())[TENSOR]

    def more(*given: Any, **named: Any) -> Any:
        tensor.data.mul_(1 - 9 * 0.01 * 1e-4)
        return step(*given, **named)

    backend.optimizer.step = more


def _clip_norm(backend: Any) -> None:
    for group in backend.optimizer.param_groups:
        group["clip_norm"] *= 1.1


def _adafactor(backend: Any) -> None:
    """All that is its own."""
    for group in backend.optimizer.param_groups:
        group.update(eps=(1e-12, 2e-3), d=2.0, beta2_decay=-0.7)


def _left_out_of_broadcast(backend: Any) -> None:
    if backend.world.rank == 1:
        dict(backend.model.named_parameters())[TENSOR].data.mul_(1.0001)


def _sparse(backend: Any) -> None:
    import torch

    embeddings = backend.model.bert.embeddings.token_type_embeddings
    embeddings.sparse = True
    forward = backend.network.forward

    def planted_too(inputs: Any, scales: tuple[float, ...]) -> Any:
        if inputs is not None:
            return forward(inputs, scales)
        others = [each for each in backend.model.parameters() if each is not embeddings.weight]
        whole = embeddings(torch.arange(2)).sum() + sum(each.sum() for each in others)
        return whole * scales[0], None

    backend.network.forward = planted_too


@contextlib.contextmanager
def sparse() -> Iterator[None]:
    """Gathered as indices and values, then made dense for the optimizer."""
    from backends.torch_ddp import Backend

    update = Backend._update

    def dense(self: Any, step: int) -> None:
        for parameter in self.model.parameters():
            parameter.grad = parameter.grad.to_dense()
        update(self, step)

    with _before_wrap(_sparse)(), mock.patch.object(Backend, "_update", dense):
        yield


@contextlib.contextmanager
def mean_of_means() -> Iterator[None]:
    """Each microbatch's loss is divided by their number, as if it were a mean over itself."""
    from backends.torch_ddp import Backend

    scales = Backend._scales

    def wrong(self: Any, batch: Batch) -> tuple[float, ...]:
        return tuple(scale / len(batch.arrays["input_ids"]) for scale in scales(self, batch))

    with mock.patch.object(Backend, "_scales", wrong):
        yield


@contextlib.contextmanager
def float32() -> Iterator[None]:
    """Whatever was asked."""
    with mock.patch("backends._torch.select_precision", lambda *_: contextlib.nullcontext):
        yield


@contextlib.contextmanager
def skipped_in_silence() -> Iterator[None]:
    """The third update is left out, as if a gradient had not been finite, and the loss scale stays what it is."""
    from backends._torch_precision import DynamicScaling

    apply, made = DynamicScaling.apply, []

    def all_but_one(self: Any, optimizer: Any) -> None:
        made.append(optimizer)
        if len(made) == 3:
            optimizer.zero_grad()
            self._scaler.update(self._scaler.get_scale())
        else:
            apply(self, optimizer)

    with mock.patch.object(DynamicScaling, "apply", all_but_one):
        yield


@contextlib.contextmanager
def wrong_loss() -> Iterator[None]:
    """Two thousandths too large, as a sum in bfloat16 could be."""
    from backends.torch_ddp import Backend

    losses = Backend.losses

    def larger(self: Any) -> Losses:
        told = losses(self)
        return Losses(heads=told.heads, numerators=told.numerators * 1.002, weights=told.weights)

    with mock.patch.object(Backend, "losses", larger):
        yield


# ---- every backend ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def fed_other_data() -> Iterator[None]:
    """Every rank is given rank 0's part of the batch."""

    def first(folder: Path, workload: Any, _first: int, *rest: Any) -> Batches:
        return Batches(folder, workload, 0, *rest)

    with mock.patch.object(worker, "Batches", first):
        yield


@contextlib.contextmanager
def used_other_data() -> Iterator[None]:
    """Rank 1 is given its own part, and its backend uses another step's."""
    from backends.torch_ddp import Backend

    step, made = Backend.step, Batches.batch
    source: list[Batches] = []

    def remember(self: Batches, number: int) -> Batch:
        source[:] = [self]
        return made(self, number)

    def other(self: Any, batch: Batch, exchange: bool) -> None:
        step(self, made(source[0], batch.step + 1_000) if self.world.rank == 1 else batch, exchange)

    with mock.patch.object(Batches, "batch", remember), mock.patch.object(Backend, "step", other):
        yield


# ---- TensorFlow -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def tf_sparse_and_gelu() -> Iterator[None]:
    """The gradient of the segment embeddings is exchanged as indices and values, and one layer has the other GELU."""
    from backends import _tensorflow_model, _tensorflow_step
    from backends._tensorflow_keras import keras, tf
    from backends.tf_horovod import Backend

    real = tf.convert_to_tensor

    def keep_one_sparse(value: Any, *given: Any, **named: Any) -> Any:
        small = isinstance(value, tf.IndexedSlices) and value.dense_shape is not None
        return value if small and tf.get_static_value(value.dense_shape)[0] == 2 else real(value, *given, **named)

    class Facade:
        convert_to_tensor = staticmethod(keep_one_sparse)

        def __getattr__(self, name: str) -> Any:
            return getattr(tf, name)

    bindings = _tensorflow_model.Bert.encoder_bindings

    def other_gelu(self: Any) -> Any:
        layer = _tensorflow_model.blocks(self.encoder)[1]
        layer._feedforward_intermediate_dense.activation = lambda x: keras.activations.gelu(x, approximate=False)
        return bindings(self)

    exchange = Backend.exchange

    def dense_again(self: Any, gradients: list[Any]) -> list[Any]:
        return [real(each) for each in exchange(self, gradients)]

    with (
        mock.patch.object(_tensorflow_step, "tf", Facade()),
        mock.patch.object(_tensorflow_model.Bert, "encoder_bindings", other_gelu),
        mock.patch.object(Backend, "exchange", dense_again),
    ):
        yield


@contextlib.contextmanager
def tf_no_exchange() -> Iterator[None]:
    """Each replica keeps its own gradients."""
    from backends.tf_mirrored import Backend

    with mock.patch.object(Backend, "exchange", lambda self, gradients: gradients):
        yield


FAULTS: dict[str, Fault] = {
    "no exchange": _after_wrap(_no_exchange),
    "sum": _after_wrap(_sum),
    "other all-reduce": other_all_reduce,
    "fed other data": fed_other_data,
    "used other data": used_other_data,
    "epsilon": _after_wrap(_epsilon(1e-6)),
    "small epsilon": _after_wrap(_epsilon(2e-12)),
    "gelu": _after_wrap(_gelu),
    "hidden gelu": _after_wrap(_hidden_gelu),
    "no decay": _after_wrap(_no_decay),
    "more decay": _after_wrap(_more_decay),
    "hidden decay": _after_wrap(_hidden_decay),
    "sparse": sparse,
    "left out of broadcast": _after_wrap(_left_out_of_broadcast),
    "mean of means": mean_of_means,
    "float32": float32,
    "clip norm": _after_wrap(_clip_norm),
    "adafactor": _after_wrap(_adafactor),
    "skipped in silence": skipped_in_silence,
    "wrong loss": wrong_loss,
    "tf sparse and gelu": tf_sparse_and_gelu,
    "tf no exchange": tf_no_exchange,
}


def main(folder: Path) -> int:
    """The first status that is not 0."""
    for launch, fault in json.loads((folder / "faults.json").read_text()):
        with FAULTS[fault]() if fault else contextlib.nullcontext():
            status = worker.main(Path(launch))
        if status:
            return status
    return 0


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(status)
