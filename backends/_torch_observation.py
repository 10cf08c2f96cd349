"""What the first, unmeasured steps really do: precision of the dense layers, tensors that enter the exchange."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.records import ExchangedTensor

UNKNOWN = "(no parameter)"


class Issued(NamedTuple):
    """One tensor as it was given to a collective operation. `name` is None where the call has none.

    whole   elements of the tensor; `elements` of them are sent, fewer than all where it is sparse
    bytes   as sent: with its indices where it is sparse
    """

    name: str | None
    address: int
    whole: int
    elements: int
    dtype: str
    bytes: int
    dense: bool

    @classmethod
    def of(cls, tensor: Any, name: str | None = None, dense: bool = True) -> Issued:
        """`dense` False: the operation gathers."""
        dtype = short(tensor.dtype)
        if tensor.is_sparse:
            values, indices = tensor._values(), tensor._indices()
            return cls(name, 0, tensor.numel(), values.numel(), dtype, values.nbytes + indices.nbytes, False)
        return cls(name, tensor.data_ptr(), tensor.numel(), tensor.numel(), dtype, tensor.nbytes, dense)


def short(dtype: Any) -> str:
    """ "float32" for torch.float32."""
    return str(dtype).removeprefix("torch.")


@contextmanager
def dense_outputs(model: Any, dtypes: set[str]) -> Iterator[None]:
    """Adds the dtype of what each dense layer returns, by hooks that are gone afterwards."""

    def note(_module: Any, _inputs: Any, output: Any) -> None:
        dtypes.add(short(output.dtype))

    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class GroupCalls(TorchDispatchMode):  # type: ignore[misc]
    """Within it, `issued` receives the tensors that any code, DDP's reducer included, gives to a process group.

    Broadcasts are left out: with them DDP agrees on its buckets.
    """

    def __init__(self) -> None:
        super().__init__()
        self.issued: list[Issued] = []

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """torch.compile compiles as without it."""
        return True

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.namespace == "c10d":
            operation = function.overloadpacket.__name__
            if "reduce" in operation:
                self.issued += [Issued.of(tensor) for tensor in _tensors(args[0])]
            elif "gather" in operation:
                self.issued += [Issued.of(tensor, dense=False) for tensor in _tensors(args[1])]
        return function(*args, **(kwargs or {}))


def _tensors(nested: Any) -> Iterator[Any]:
    if isinstance(nested, torch.Tensor):
        yield nested
    else:
        for each in nested:
            yield from _tensors(each)


def tally(
    issued: Iterable[Issued], parameters: Sequence[tuple[str, Any]], buckets: Iterable[Sequence[Any]]
) -> list[ExchangedTensor]:
    """How often each parameter's gradient was exchanged; call it right after the step.

    A tensor without a name is the gradient at its address, or the bucket (a list of parameters) of its length: each
    bucket once, in order, before any a second time.
    """
    names = {parameter.data_ptr(): name for name, parameter in parameters}
    gradients = {
        (parameter.grad.data_ptr(), short(parameter.grad.dtype), parameter.numel()): name
        for name, parameter in parameters
        if parameter.grad is not None and not parameter.grad.is_sparse
    }
    expected = [[(names[parameter.data_ptr()], parameter.numel()) for parameter in bucket] for bucket in buckets]
    seen: Counter[tuple[str, int, str, int, bool]] = Counter()
    for each in issued:
        name = each.name or gradients.get((each.address, each.dtype, each.whole))
        parts = [(name, each.whole)] if name else _take(expected, each.whole)
        for part, whole in parts:
            # A sparse tensor is one part: what is sent of it is not known in advance.
            share = whole / each.whole if each.whole else 1.0
            seen[part, round(each.elements * share), each.dtype, round(each.bytes * share), each.dense] += 1
    return [
        ExchangedTensor(name=name, count=count, elements=elements, dtype=dtype, bytes=bytes_, dense=dense)
        for (name, elements, dtype, bytes_, dense), count in seen.items()
    ]


def _take(expected: list[list[tuple[str, int]]], whole: int) -> list[tuple[str, int]]:
    """The first bucket of this length, moved to the end; else one part of no name."""
    for index, bucket in enumerate(expected):
        if sum(elements for _, elements in bucket) == whole:
            expected.append(expected.pop(index))
            return bucket
    return [(UNKNOWN, whole)]
