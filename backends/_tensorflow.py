"""What every TensorFlow backend does: one loop, one traced step. Wrappers override where it runs and the exchange."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backends._collective import own_elements, refused
from backends._placement import require_gpu
from backends._tensorflow_collective import Collective, Operation
from backends._tensorflow_device import Devices, device_name, memory_named
from backends._tensorflow_facts import collect_facts, tensor_settings
from backends._tensorflow_graph import Traced, exchanged_tensors
from backends._tensorflow_keras import keras, tf
from backends._tensorflow_model import MODELS, Bert
from backends._tensorflow_optimizer import Optimizer, build_optimizer
from backends._tensorflow_scale import DynamicScale
from backends._tensorflow_step import Backward, Update
from backends._tensorflow_trace import traced_steps
from backends._tensorflow_weights import Binding, load
from bench.errors import TrialError
from bench.protocols import Batch, Losses, NamedTensor, Predictions, Timeline, World
from bench.records import CollectiveRequest, ExchangedTensor, Facts, TensorSettings, Trial


class TensorFlowBackend(Devices):
    """One device, no wrapper. A wrapper overrides the hooks below `---- hooks`.

    A full and a local step are two functions traced over the same variables: the local one is without the exchange,
    all else is the same. Both are traced at their first call, once per shape of batch.
    """

    local_step = "same as a full step: there is no exchange"
    fuses_later = False  # the exchange's operations are merged at run time, out of sight

    world: World
    trial: Trial
    model: Bert
    bindings: list[Binding]
    optimizer: Optimizer
    update: Update

    def __init__(self) -> None:
        self.traced: dict[bool, Traced] = {}  # by `exchange`: evidence of what a step does
        self._functions: dict[str | bool, Callable[..., Any]] = {}
        self._reports: list[list[Any]] = []
        self._gradients: Any = None
        self._snapshot: list[tuple[Any, Any]] | None = None

    # ---- the ranks ----------------------------------------------------------------------------------------------

    def start(self, world: World) -> None:
        self.world = world
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        self.join()

    def fence(self) -> None:
        # A function call returns when its CPU work is done, but only enqueues GPU kernels; this waits for both,
        # on every device. Reading a loss would not do: it does not depend on the update.
        tf.test.experimental.sync_devices()

    def barrier(self) -> None:
        self.fence()

    def stop(self) -> None:
        self._reports.clear()
        self._gradients = None
        self.leave()

    # ---- the step -----------------------------------------------------------------------------------------------

    def build(self, trial: Trial, checkpoint: Path) -> None:
        _refuse_unsupported(trial)
        self.trial = trial
        replicas = self.world.local_replicas
        tf.config.threading.set_intra_op_parallelism_threads(trial.threads_per_replica * replicas)
        tf.config.threading.set_inter_op_parallelism_threads(replicas)
        # Without it, "float32" would be TF32 on a GPU.
        tf.config.experimental.enable_tensor_float_32_execution(trial.compute == "tf32")
        config = json.loads((checkpoint / "config.json").read_bytes())
        keras.utils.set_random_seed(trial.workload.seed)
        with self.scope():
            self.model = MODELS[trial.workload.task](config, trial.workload.dropout, trial.compute)
            self.bindings = self.model.bindings()
            self.shapes = load(self.bindings, checkpoint / "model.safetensors")
            self.optimizer = build_optimizer(trial.optimizer, self.bindings, self.shapes)
            scale = DynamicScale(trial.loss_scale) if trial.compute == "float16" else None
        self.update = Update(self.optimizer, self.bindings, trial.optimizer.clip_norm, scale)
        self._seed_replicas()
        self.wrap()
        self.traced, self._gradients, self._reports = {}, None, []
        self._functions = {
            True: self._traced(True),
            False: self._traced(False),
            "planted": tf.function(lambda values: self.launch(self._exchange_planted, values), autograph=False),
            "evaluate": tf.function(self._predict, autograph=False),
        }

    def _seed_replicas(self) -> None:
        """Each replica drops its own units: the first word of a generator's state is its seed."""
        for layer in self.model.dropouts():
            states = self.local_values(layer.seed_generator.state.value)
            for replica, state in enumerate(states, self.world.rank * self.world.local_replicas):
                state.assign_add(tf.constant([1_000_003 * replica, 0], state.dtype))

    def _traced(self, exchange: bool) -> Callable[..., Any]:
        """The step as one graph: (arrays, global weights, rate) to per-replica (report, gradients)."""
        compute: Callable[..., Any] = Backward(self.model, self.bindings, self.world.replicas)
        if self.trial.compiled:
            # The exchange cannot be compiled: forward and backward are, the same part in every backend.
            compute = tf.function(compute, autograph=False, jit_compile=True)

        def replica_step(arrays: Any, global_weights: Any, rate: Any) -> Any:
            scale = self.update.scale.begin() if self.update.scale is not None else None
            report, gradients = compute(arrays, global_weights, scale)
            if exchange:
                for binding, gradient in zip(self.bindings, gradients, strict=True):
                    self.traced[True].hand_over(binding.name, gradient, self.replica())
                gradients = self.exchange(gradients)
            return report, self.update(gradients, rate)

        def whole_step(arrays: Any, global_weights: Any, rate: Any) -> Any:
            self.traced[exchange] = Traced(tf.compat.v1.get_default_graph())
            return self.launch(replica_step, arrays, global_weights, rate)

        function: Callable[..., Any] = tf.function(whole_step, autograph=False, jit_compile=False)
        return function

    def step(self, batch: Batch, exchange: bool) -> None:
        self._gradients = None  # frees the last step's before this one's are made
        weights = [tf.constant(batch.global_weights[head], tf.float32) for head in self.model.heads]
        rate = tf.constant(self.trial.optimizer.learning_rate_at(batch.step), tf.float64)
        with memory_named(batch.samples):
            report, self._gradients = self._functions[exchange](self._feed(batch), weights, rate)
        self._reports.append(self.local_values(report))

    def _feed(self, batch: Batch) -> Any:
        """Per replica: arrays by name, axes (microbatch, sample, ...)."""
        return self.per_replica(
            lambda replica: {name: tf.convert_to_tensor(array[:, replica]) for name, array in batch.arrays.items()}
        )

    # ---- apart from training ------------------------------------------------------------------------------------

    def planted(self, values: Sequence[float]) -> Iterator[NamedTensor]:
        own = self.per_replica(lambda replica: tf.constant(values[replica], tf.float32))
        return self._named(self._functions["planted"](own))

    def _exchange_planted(self, value: Any) -> list[Any]:
        return self.exchange([tf.fill(binding.variable.shape, value) for binding in self.bindings])

    def evaluate(self, batch: Batch) -> Predictions:
        arrays = {name: tf.constant(array.reshape(-1, *array.shape[3:])) for name, array in batch.arrays.items()}
        report, classes = self._functions["evaluate"](arrays)
        numerators, weights = np.asarray(report.numpy(), np.float64)
        found = {head: value.numpy() for head, value in zip(self.model.heads, classes, strict=True)}
        return Predictions(heads=self.model.heads, numerators=numerators, weights=weights, classes=found)

    def _predict(self, arrays: Any) -> Any:
        scored = self.model.score(arrays, training=False)
        report = [[each.loss() for each in scored], [tf.reduce_sum(each.weights) for each in scored]]
        return tf.stack(report), [each.classes() for each in scored]

    # ---- what it did --------------------------------------------------------------------------------------------

    def losses(self) -> Losses:
        heads = self.model.heads
        values = np.zeros((0, self.world.local_replicas, 2, len(heads)))
        if self._reports:
            values = np.asarray([[report.numpy() for report in step] for step in self._reports], np.float64)
        self._reports = []
        return Losses(heads=heads, numerators=values[:, :, 0], weights=values[:, :, 1])

    def tensors(self, kind: str) -> Iterator[NamedTensor]:
        if kind not in ("weight", "gradient"):
            raise ValueError(f"tensors are of kind 'weight' or 'gradient', not {kind!r}")
        if kind == "gradient" and self._gradients is None:
            raise TrialError("there is no gradient: no step has run")
        weights = [binding.variable.value for binding in self.bindings]
        return self._named(weights if kind == "weight" else self._gradients)

    def _named(self, values: Sequence[Any]) -> Iterator[NamedTensor]:
        """`values`: in the order of the bindings."""
        for binding, held in zip(self.bindings, values, strict=True):
            for replica, value in enumerate(self.local_values(held)):
                turned = binding.to_checkpoint(value.numpy(), self.shapes[binding.name])
                yield NamedTensor(name=binding.name, replica=replica, value=turned)

    def snapshot(self) -> None:
        variables = [*(variable.value for variable in self.model.variables()), *self.update.variables]
        copies = [copy for variable in variables for copy in self.local_values(variable)]
        self._snapshot = None  # the old one's memory first
        self._snapshot = [(copy, tf.identity(copy)) for copy in copies]

    def restore(self) -> None:
        if self._snapshot is None:
            raise TrialError("restore before snapshot")
        for variable, saved in self._snapshot:
            variable.assign(saved)

    def trace(self) -> contextlib.AbstractContextManager[Timeline]:
        return traced_steps()

    def facts(self) -> Facts:
        return collect_facts(self)

    def exchanges(self) -> Sequence[ExchangedTensor]:
        return exchanged_tensors(self.traced[True]) if True in self.traced else []

    def tensor_settings(self) -> Sequence[TensorSettings]:
        return tensor_settings(self)

    def collective(self, request: CollectiveRequest) -> Collective:
        with self.scope():
            operation = self.operation(request)
            return Collective(request, request.elements or own_elements(self.exchanges()), operation, self)

    # ---- hooks --------------------------------------------------------------------------------------------------

    def join(self) -> None:
        """Joins the ranks and chooses devices; self.world is set, TensorFlow has not touched a device yet."""
        if self.world.replicas != 1:
            raise TrialError(f"this backend has no exchange and runs as 1 replica, not {self.world.replicas}")
        self.use_own_gpu(self.world)

    def leave(self) -> None:
        """Leaves the group; called more than once, and also when `join` failed."""

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Where variables are created."""
        return contextlib.nullcontext()

    def wrap(self) -> None:
        """Called when the variables have their first values."""

    def per_replica(self, make: Callable[[int], Any]) -> Any:
        """What `launch` hands to each local replica: make(its index)."""
        return make(0)

    def launch(self, replica_step: Callable[..., Any], *arguments: Any) -> Any:
        """Runs `replica_step` on every local replica."""
        return replica_step(*arguments)

    def replica(self) -> int:
        """The index of the local replica that is being traced."""
        return 0

    def exchange(self, gradients: list[Any]) -> list[Any]:
        """The mean over all replicas; called while a full step is traced, in the order of self.bindings."""
        return gradients

    def operation(self, request: CollectiveRequest) -> Operation:
        """How it is done here. Raises TrialError where it cannot be selected."""
        raise refused("one device without a wrapper", request, "it has nobody to exchange with")

    def local_values(self, value: Any) -> list[Any]:
        """The tensors or variables of the local replicas, in their order."""
        return [value]

    def devices(self) -> list[str]:
        """Where the local replicas run."""
        names = [device_name(gpu) for gpu in tf.config.get_visible_devices("GPU")]
        if names:
            return [
                f"{name} {gpu.name}" for name, gpu in zip(names, tf.config.list_logical_devices("GPU"), strict=True)
            ]
        return [device.name for device in tf.config.list_logical_devices("CPU")]

    def algorithm(self) -> tuple[str, str]:
        """(name, evidence)."""
        return "none", "one device, nothing is exchanged"

    def versions(self) -> dict[str, str]:
        """Of the wrapper's own libraries."""
        return {}

    def wrapper_settings(self) -> dict[str, str | bool | int | float | None]:
        """Read from the live wrapper."""
        return {}


def _refuse_unsupported(trial: Trial) -> None:
    """Raises TrialError for what would otherwise be ignored in silence."""
    require_gpu(trial, bool(tf.config.list_physical_devices("GPU")), f"TensorFlow {tf.__version__}")
    if trial.compute == "tf32" and not tf.config.list_physical_devices("GPU"):
        raise TrialError("tf32 is a precision of GPUs, and there is none")
