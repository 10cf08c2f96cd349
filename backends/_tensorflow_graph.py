"""What the traced graph of a step tells: the products it computes, and the tensors that it exchanges."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from backends._tensorflow_keras import tf
from bench.records import ExchangedTensor

ALL_REDUCES = (
    "HorovodAllreduce",
    "HorovodGroupedAllreduce",
    "CollectiveReduce",
    "NcclAllReduce",
    "CollectiveAllReduce",
)
ALL_GATHERS = ("HorovodAllgather", "CollectiveGather")
PRODUCTS = ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum")
# What may lie between a gradient and its exchange: it changes dtype, shape or place, not a value's meaning.
PACKS = ("Concat", "ConcatV2", "Pack")
CARRIERS = (*PACKS, "Identity", "Reshape", "Cast", "ExpandDims", "Squeeze", "Pad")


@dataclass(frozen=True, slots=True)
class Traced:
    """One traced step. `given`: the tensors that were handed to the exchange, by their name in the graph, with the
    local replica that handed them and the checkpoint's name; sparse gradients by their values.
    """

    graph: Any
    given: dict[str, tuple[int, str]] = field(default_factory=dict)

    def hand_over(self, name: str, gradient: Any, replica: int) -> None:
        """Notes a gradient on its way to the exchange."""
        tensor = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
        self.given[tensor.name] = (replica, name)

    def origin(self, tensor: Any) -> tuple[int, str] | None:
        """None: it was not handed over. In a function the same name is another tensor."""
        return self.given.get(tensor.name) if tensor.graph is self.graph else None


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
    found = list(_communications(graph))
    tensors = [tensor for operation in found for tensor in _data_inputs(operation)]
    return Exchange(
        operations=len(found),
        elements=sum(_elements(tensor) for tensor in tensors),
        bytes=sum(_elements(tensor) * tensor.dtype.size for tensor in tensors),
        dtypes=tuple(sorted({tensor.dtype.name for tensor in tensors})),
        kinds=tuple(sorted({operation.type for operation in found})),
    )


def exchanged_tensors(traced: Traced) -> list[ExchangedTensor]:
    """What local replica 0 puts into the exchange, in the order of the graph.

    A tensor that is exchanged and is no gradient of the step appears under the name of its operation.
    """
    found: Counter[tuple[str, int, str, int, bool]] = Counter()
    for operation in _communications(traced.graph):
        dense = not operation.type.startswith(ALL_GATHERS)
        for tensor in _data_inputs(operation):
            for replica, name, elements in _sources(tensor, traced):
                if replica == 0:
                    key = (name, elements, tensor.dtype.name, elements * tensor.dtype.size, dense)
                    # In a function it is one way to gather out of two, of which one is taken.
                    found[key] = found[key] + 1 if tensor.graph is traced.graph else 1
    return [
        ExchangedTensor(name=name, count=count, elements=elements, dtype=dtype, bytes=size, dense=dense)
        for (name, elements, dtype, size, dense), count in found.items()
    ]


def product_dtypes(graph: Any) -> tuple[str, ...]:
    """Of all matrix products in the graph, forward and backward, compiled functions and loops included."""
    products = [operation for operation in _operations(graph) if operation.type in PRODUCTS]
    return tuple(sorted({operation.inputs[0].dtype.name for operation in products}))


def _sources(tensor: Any, traced: Traced) -> list[tuple[int, str, int]]:
    """(local replica, name, elements) of what a communication operation's input is made of.

    Packed tensors come back one by one. What no replica handed over counts as replica 0's.
    """
    leaves = list(_leaves(tensor, traced))
    if tensor.graph is traced.graph and sum(map(_elements, leaves)) != _elements(tensor):
        return [(0, tensor.op.name, _elements(tensor))]
    return [(*(traced.origin(leaf) or (0, leaf.op.name)), _elements(leaf)) for leaf in leaves]


def _leaves(tensor: Any, traced: Traced) -> Iterator[Any]:
    """Back through the carriers, and out of functions, to the gradients or to whatever else it is."""
    operation = tensor.op
    if tensor.graph is not traced.graph and operation.type == "Placeholder":
        inside = [each.name for each in tensor.graph.internal_captures]
        yield from _leaves(tensor.graph.external_captures[inside.index(tensor.name)], traced)
    elif traced.origin(tensor) is not None or operation.type not in CARRIERS:
        yield tensor
    else:
        several = operation.type in PACKS
        for each in operation.inputs if several else operation.inputs[:1]:
            if each.dtype.is_floating:
                yield from _leaves(each, traced)


def _communications(graph: Any) -> Iterator[Any]:
    return (each for each in _operations(graph) if each.type.startswith((*ALL_REDUCES, *ALL_GATHERS)))


def _operations(graph: Any) -> Iterator[Any]:
    """Of the graph and, once each, of the functions that it calls."""
    waiting, seen = [graph], set()
    while waiting:
        current = waiting.pop()
        yield from current.get_operations()
        for name, function in getattr(current, "_functions", {}).items():
            inner = getattr(function, "graph", None)
            if inner is not None and name not in seen:
                seen.add(name)
                waiting.append(inner)


def _data_inputs(operation: Any) -> list[Any]:
    # TensorFlow's own collectives take the group's keys and sizes as further int32 inputs.
    return [tensor for tensor in operation.inputs if tensor.dtype.is_floating]


def _elements(tensor: Any) -> int:
    """0 where the shape is open: a gathered batch of another length."""
    return math.prod(size or 0 for size in tensor.shape) if tensor.shape.rank is not None else 0
