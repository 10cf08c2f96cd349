"""One collective operation of a TensorFlow backend, alone: its tensors are ready, and one graph does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from backends._collective import expected, given
from backends._tensorflow_keras import tf
from bench.protocols import World
from bench.records import CollectiveRequest


class Operation(NamedTuple):
    """How a backend does what is requested.

    apply   one replica's tensors to their results, on each replica alike, while the graph is traced
    ran     the traced graph to (algorithm, evidence)
    """

    apply: Callable[[list[Any]], list[Any]]
    ran: Callable[[Any], tuple[str, str]]


class Place(Protocol):
    """The part of TensorFlowBackend that runs it."""

    world: World

    def per_replica(self, make: Callable[[int], Any]) -> Any: ...
    def launch(self, replica_step: Callable[..., Any], *arguments: Any) -> Any: ...
    def local_values(self, value: Any) -> list[Any]: ...


class Collective:
    """A prepared request: the graph holds one operation for each tensor, and none waits for another."""

    def __init__(
        self, request: CollectiveRequest, elements: Sequence[int], operation: Operation, backend: Place
    ) -> None:
        self.elements = elements
        self._request, self._backend = request, backend

        def inputs(replica: int) -> list[Any]:
            own = [given(request, each, *self._place(replica)) for each in elements]
            return [tf.cast(each, request.dtype) for each in own]

        self._given = backend.per_replica(inputs)
        function = tf.function(lambda tensors: backend.launch(operation.apply, tensors), autograph=False)
        self.algorithm, self.evidence = operation.ran(function.get_concrete_function(self._given).graph)
        self._function = function
        self._results: list[Any] = []

    def _place(self, replica: int) -> tuple[int, int]:
        """(number, count) of a local replica among all."""
        world = self._backend.world
        return world.rank * world.local_replicas + replica, world.replicas

    def run(self) -> None:
        self._results = self._function(self._given)

    def exact(self) -> bool:
        return len(self._results) == len(self.elements) and all(
            bool((value.numpy() == expected(self._request, each, *self._place(replica))).all())
            for each, result in zip(self.elements, self._results, strict=True)
            for replica, value in enumerate(self._backend.local_values(result))
        )
