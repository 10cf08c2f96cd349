"""TensorFlow with MirroredStrategy: one rank, all replicas of one host in one process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from backends._collective import refused
from backends._tensorflow import TensorFlowBackend
from backends._tensorflow_collective import Operation
from backends._tensorflow_device import device_name
from backends._tensorflow_keras import tf
from bench.errors import TrialError
from bench.protocols import Backend as Protocol
from bench.records import CollectiveRequest


class Backend(TensorFlowBackend):
    """One GPU per replica, or where there is none one logical CPU device per replica.

    The gradients are exchanged by one call, the mean over the replicas, and by nothing else: Keras' optimizers would
    reduce them once more by themselves (see _tensorflow_optimizer).
    """

    local_step = "no all-reduce operation is in its graph; each replica updates its copy with its own gradient"

    strategy: Any = None

    def join(self) -> None:
        if self.world.size != 1:
            raise TrialError(
                f"MirroredStrategy runs as one rank that holds all replicas, not as {self.world.size} ranks"
            )
        count = self.world.local_replicas
        gpus = tf.config.list_physical_devices("GPU")
        if gpus and count > len(gpus):
            raise TrialError(f"{count} replicas need as many GPUs: {len(gpus)} on this host")
        if gpus:
            tf.config.set_visible_devices(gpus[:count], "GPU")
        else:
            tf.config.set_logical_device_configuration(
                tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * count
            )
        self._devices = [f"/{'gpu' if gpus else 'cpu'}:{index}" for index in range(count)]

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        # Here and not in `join`: it touches the devices, and the thread counts come with the trial.
        if self.strategy is None:
            self.strategy = tf.distribute.MirroredStrategy(self._devices)
        scope: contextlib.AbstractContextManager[Any] = self.strategy.scope()
        return scope

    def per_replica(self, make: Callable[[int], Any]) -> Any:
        def own(context: Any) -> Any:
            replica = context.replica_id_in_sync_group
            with tf.device(self._devices[replica]):
                return make(replica)

        return self.strategy.experimental_distribute_values_from_function(own)

    def launch(self, replica_step: Callable[..., Any], *arguments: Any) -> Any:
        return self.strategy.run(replica_step, args=arguments)

    def replica(self) -> int:
        return int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group))

    def exchange(self, gradients: list[Any]) -> list[Any]:
        context, wire = tf.distribute.get_replica_context(), tf.as_dtype(self.trial.wire)
        sent = [gradient if gradient.dtype == wire else tf.cast(gradient, wire) for gradient in gradients]
        reduced = context.all_reduce(tf.distribute.ReduceOp.MEAN, sent)
        return [each if each.dtype == tf.float32 else tf.cast(each, tf.float32) for each in reduced]

    def local_values(self, value: Any) -> list[Any]:
        return list(self.strategy.experimental_local_results(value))

    def devices(self) -> list[str]:
        workers = [str(device) for device in self.strategy.extended.worker_devices]
        names = [device_name(gpu) for gpu in tf.config.get_visible_devices("GPU")]
        return [f"{name} {worker}" for name, worker in zip(names, workers, strict=True)] if names else workers

    def operation(self, request: CollectiveRequest) -> Operation:
        if request.collective not in ("all_reduce", "all_gather"):
            raise refused("MirroredStrategy", request, "a replica can all-reduce and all-gather, and nothing else")
        if (request.collective, request.dtype) == ("all_gather", "bfloat16"):
            raise refused("MirroredStrategy", request, "TensorFlow's gathering operation does not take that type")
        if request.algorithm != "auto":
            raise refused("MirroredStrategy", request, "it has one algorithm on each kind of device")

        def apply(tensors: list[Any]) -> list[Any]:
            context = tf.distribute.get_replica_context()
            # The argument of a graph has no device, where there is one replica: what is made here has. Copies nothing.
            tensors = [tf.identity(tensor) for tensor in tensors]
            if request.collective == "all_gather":
                return [context.all_gather(tensor, axis=0) for tensor in tensors]
            reduced: list[Any] = context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)
            return reduced

        return Operation(apply, self._ran)

    def algorithm(self) -> tuple[str, str]:
        return self._ran(self.traced[True].graph if True in self.traced else None)

    def _ran(self, graph: Any | None) -> tuple[str, str]:
        """(name, evidence) from the collective operations in a traced graph."""
        if self.world.local_replicas == 1:
            return "none", "one replica: nothing is exchanged"
        operations = graph.get_operations() if graph is not None else []
        operations = [each for each in operations if each.type.startswith(("CollectiveReduce", "CollectiveGather"))]
        hints = {each.get_attr("communication_hint").decode() for each in operations}
        if len(hints) == 1:
            return hints.pop(), f"{', '.join(sorted({each.type for each in operations}))} in the traced graph"
        return "unknown", "no collective operation with one communication hint is in the traced graph"


_CONFORMS: type[Protocol] = Backend
