"""What a TensorFlow backend says of itself, read from its live objects and from the graph of its step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from backends._tensorflow_keras import keras, keras_hub, tf
from backends._tensorflow_model import Bert, first_block, gelu_kind
from backends._tensorflow_optimizer import optimizer_settings
from backends._tensorflow_weights import Binding
from bench.protocols import World
from bench.records import Facts, Trial

ALL_REDUCES = (
    "HorovodAllreduce",
    "HorovodGroupedAllreduce",
    "CollectiveReduce",
    "NcclAllReduce",
    "CollectiveAllReduce",
)
ALL_GATHERS = ("HorovodAllgather", "CollectiveGather")

Settings = dict[str, str | bool | int | float | None]


class Describable(Protocol):
    """The part of TensorFlowBackend that facts are read from."""

    world: World
    trial: Trial
    model: Bert
    bindings: list[Binding]
    optimizer: Any
    graphs: dict[bool, Any]
    local_step: str
    fuses_later: bool
    jit_compile: bool

    def devices(self) -> list[str]: ...
    def algorithm(self) -> tuple[str, str]: ...
    def versions(self) -> dict[str, str]: ...
    def wrapper_settings(self) -> Settings: ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """The communication operations in a traced step, of all local replicas together."""

    operations: int
    elements: int
    bytes: int
    dtypes: tuple[str, ...]
    kinds: tuple[str, ...]


def communication(graph: Any) -> Exchange:
    """Counts every all-reduce and all-gather in the graph of one step, by the tensors that go into them."""
    found = [operation for operation in _operations(graph) if operation.type.startswith((*ALL_REDUCES, *ALL_GATHERS))]
    tensors = [tensor for operation in found for tensor in _data_inputs(operation)]
    return Exchange(
        operations=len(found),
        elements=sum(tensor.shape.num_elements() for tensor in tensors),
        bytes=sum(tensor.shape.num_elements() * tensor.dtype.size for tensor in tensors),
        dtypes=tuple(sorted({tensor.dtype.name for tensor in tensors})),
        kinds=tuple(sorted({operation.type for operation in found})),
    )


def _operations(graph: Any) -> Iterator[Any]:
    """Of the graph and of every function that it calls."""
    yield from graph.get_operations()
    for function in getattr(graph, "_functions", {}).values():
        inner = getattr(function, "graph", None)
        if inner is not None:
            yield from _operations(inner)


def _data_inputs(operation: Any) -> list[Any]:
    # TensorFlow's own collectives take the group's keys and sizes as further int32 inputs.
    return [tensor for tensor in operation.inputs if tensor.dtype.is_floating]


def collect_facts(backend: Describable) -> Facts:
    """Call after at least one full step: before it nothing is traced, and the exchange is unknown."""
    exchange = communication(backend.graphs[True]) if True in backend.graphs else None
    crossing = exchange if exchange is not None and exchange.operations else None
    replicas = backend.world.local_replicas
    algorithm, evidence = backend.algorithm()
    return Facts(
        parameter_elements=sum(int(tf.size(binding.variable.value)) for binding in backend.bindings),
        compute_dtype=backend.model.encoder.compute_dtype,
        wire_dtype=",".join(crossing.dtypes) if crossing else None,
        exchange_elements=crossing.elements // replicas if crossing else None,
        exchange_bytes=crossing.bytes // replicas if crossing else None,
        buckets=crossing.operations // replicas if crossing and not backend.fuses_later else None,
        algorithm=algorithm,
        algorithm_evidence=evidence,
        devices=backend.devices(),
        threads=tf.config.threading.get_intra_op_parallelism_threads(),
        versions={
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "keras-hub": keras_hub.__version__,
            **backend.versions(),
        },
        settings=_settings(backend, crossing),
    )


def _settings(backend: Describable, crossing: Exchange | None) -> Settings:
    rates = [float(layer.rate) for layer in backend.model.dropouts()]
    attention = first_block(backend.model.encoder)._self_attention_layer
    return {
        **optimizer_settings(backend.optimizer, backend.bindings),
        "dropout": max(rates, default=0.0),
        "attention_dropout": float(attention.dropout),
        "gelu": gelu_kind(backend.model),
        # As Keras' MultiHeadAttention chooses.
        "attention": "einsum" if attention.dropout else "dot_product_attention",
        "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
        "tensor_float_32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "jit_compile": backend.jit_compile,
        "local_step": backend.local_step,
        "communication_operations": "+".join(crossing.kinds) if crossing else "none",
        "communication_operations_issued": crossing.operations // backend.world.local_replicas if crossing else 0,
        **backend.wrapper_settings(),
    }
