"""What every TensorFlow backend does: one loop, one traced step. Wrappers override where it runs and the exchange."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from backends._tensorflow_facts import collect_facts
from backends._tensorflow_keras import keras, tf
from backends._tensorflow_model import MODELS, Bert
from backends._tensorflow_optimizer import build_optimizer
from backends._tensorflow_weights import Binding, load
from bench.errors import TrialError
from bench.protocols import Batch, Losses, NamedTensor, World
from bench.records import Facts, Trial


class TensorFlowBackend:
    """One device, no wrapper. A wrapper overrides the hooks below `---- hooks`.

    A full and a local step are two functions traced over the same variables: the local one is without the exchange,
    all else is the same. Both are traced at their first call, once per shape of batch.
    """

    local_step = "same as a full step: there is no exchange"
    fuses_later = False  # the exchange's operations are merged at run time, out of sight
    jit_compile = False

    world: World
    trial: Trial
    model: Bert
    bindings: list[Binding]
    optimizer: Any

    def __init__(self) -> None:
        self.graphs: dict[bool, Any] = {}  # by `exchange`: the traced graph, evidence of what a step does
        self._functions: dict[bool, Callable[..., Any]] = {}
        self._reports: list[list[Any]] = []
        self._gradients: Any = None
        self._snapshot: list[tuple[Any, Any]] | None = None

    # ---- the ranks ----------------------------------------------------------------------------------------------

    def start(self, world: World) -> None:
        self.world = world
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        # PyTorch's default; otherwise "float32" would be TF32 on a GPU.
        tf.config.experimental.enable_tensor_float_32_execution(False)
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
        self.jit_compile = trial.jit_compile
        replicas = self.world.local_replicas
        tf.config.threading.set_intra_op_parallelism_threads(trial.threads_per_replica * replicas)
        tf.config.threading.set_inter_op_parallelism_threads(replicas)
        config = json.loads((checkpoint / "config.json").read_bytes())
        keras.utils.set_random_seed(trial.workload.seed)
        with self.scope():
            self.model = MODELS[trial.workload.task](config, trial.workload.dropout)
            self.bindings = self.model.bindings()
            self.shapes = load(self.bindings, checkpoint / "model.safetensors")
            self.optimizer = build_optimizer(trial.optimizer, self.bindings)
        self._seed_replicas()
        self.wrap()
        self.graphs = {}
        self._functions = {exchange: self._traced(exchange) for exchange in (True, False)}

    def _seed_replicas(self) -> None:
        """Each replica drops its own units: the first word of a generator's state is its seed."""
        for layer in self.model.dropouts():
            states = self.local_values(layer.seed_generator.state.value)
            for replica, state in enumerate(states, self.world.rank * self.world.local_replicas):
                state.assign_add(tf.constant([1_000_003 * replica, 0], state.dtype))

    def _traced(self, exchange: bool) -> Callable[..., Any]:
        """The step as one graph: (arrays, global weights) to per-replica (report, gradients)."""
        compute = self._accumulate
        if self.jit_compile:
            # The exchange cannot be compiled: forward and backward are, the same part in every backend.
            compute = tf.function(compute, autograph=False, jit_compile=True)

        def replica_step(arrays: Any, global_weights: Any) -> Any:
            report, gradients = compute(arrays, global_weights)
            if exchange:
                gradients = self.exchange(gradients)
            self.optimizer.apply(gradients, [binding.variable for binding in self.bindings])
            return report, gradients

        def whole_step(arrays: Any, global_weights: Any) -> Any:
            self.graphs[exchange] = tf.compat.v1.get_default_graph()
            return self.launch(replica_step, arrays, global_weights)

        function: Callable[..., Any] = tf.function(whole_step, autograph=False, jit_compile=False)
        return function

    def _accumulate(self, arrays: Any, global_weights: Any) -> Any:
        """Sums over the microbatches, the first axis of `arrays`: report (2, heads), and dense gradients."""
        count = arrays["input_ids"].shape[0]
        total = self._microbatch(arrays, 0, global_weights)
        if count == 1:
            return total

        def add(index: Any, total: Any) -> Any:
            return index + 1, tf.nest.map_structure(tf.add, total, self._microbatch(arrays, index, global_weights))

        return tf.while_loop(lambda index, _: index < count, add, (tf.constant(1), total), parallel_iterations=1)[1]

    def _microbatch(self, arrays: Any, index: Any, global_weights: Any) -> Any:
        inputs = {name: array[index] for name, array in arrays.items()}
        with tf.GradientTape() as tape:
            numerators, weights = self.model.losses(inputs)
            # Sums over the global weight would need an exchange that adds; the exchange averages over the replicas.
            scaled = [
                tf.math.divide_no_nan(sum_, weight) for sum_, weight in zip(numerators, global_weights, strict=True)
            ]
            loss = tf.add_n(scaled) * float(self.world.replicas)
        gradients = tape.gradient(loss, [binding.variable.value for binding in self.bindings])
        # Embeddings give IndexedSlices, which an exchange would gather instead of reduce.
        return tf.stack([tf.stack(numerators), tf.stack(weights)]), [tf.convert_to_tensor(each) for each in gradients]

    def step(self, batch: Batch, exchange: bool) -> None:
        self._gradients = None  # frees the last step's before this one's are made
        weights = [tf.constant(batch.global_weights[head], tf.float32) for head in self.model.heads]
        report, self._gradients = self._functions[exchange](self.feed(batch), weights)
        self._reports.append(self.local_values(report))

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
        for index, binding in enumerate(self.bindings):
            source = binding.variable.value if kind == "weight" else self._gradients[index]
            for replica, value in enumerate(self.local_values(source)):
                turned = binding.to_checkpoint(value.numpy(), self.shapes[binding.name])
                yield NamedTensor(name=binding.name, replica=replica, value=turned)

    def snapshot(self) -> None:
        variables = [*self.model.variables(), *self.optimizer.variables]
        copies = [copy for variable in variables for copy in self.local_values(variable.value)]
        self._snapshot = [(copy, tf.identity(copy)) for copy in copies]

    def restore(self) -> None:
        if self._snapshot is None:
            raise TrialError("restore before snapshot")
        for variable, saved in self._snapshot:
            variable.assign(saved)

    def facts(self) -> Facts:
        return collect_facts(self)

    # ---- hooks --------------------------------------------------------------------------------------------------

    def join(self) -> None:
        """Joins the ranks and chooses devices; self.world is set, TensorFlow has not touched a device yet."""
        if self.world.replicas != 1:
            raise TrialError(f"this backend has no exchange and runs as 1 replica, not {self.world.replicas}")
        use_own_gpu(self.world.local_rank)

    def leave(self) -> None:
        """Leaves the group; called more than once, and also when `join` failed."""

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Where variables are created."""
        return contextlib.nullcontext()

    def wrap(self) -> None:
        """Called when the variables have their first values."""

    def feed(self, batch: Batch) -> Any:
        """Per replica: arrays by name, axes (microbatch, sample, ...)."""
        return {name: tf.convert_to_tensor(array[:, 0]) for name, array in batch.arrays.items()}

    def launch(self, replica_step: Callable[..., Any], arrays: Any, global_weights: Any) -> Any:
        """Runs `replica_step` on every local replica."""
        return replica_step(arrays, global_weights)

    def exchange(self, gradients: list[Any]) -> list[Any]:
        """The mean over all replicas; called while a full step is traced, in the order of self.bindings."""
        return gradients

    def local_values(self, value: Any) -> list[Any]:
        """The tensors or variables of the local replicas, in their order."""
        return [value]

    def devices(self) -> list[str]:
        """Where the local replicas run."""
        return [
            device.name for device in (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU"))
        ]

    def algorithm(self) -> tuple[str, str]:
        """(name, evidence)."""
        return "none", "one device, nothing is exchanged"

    def versions(self) -> dict[str, str]:
        """Of the wrapper's own libraries."""
        return {}

    def wrapper_settings(self) -> dict[str, str | bool | int | float | None]:
        """Read from the live wrapper."""
        return {}


def use_own_gpu(local_rank: int) -> None:
    """Hides all GPUs but this rank's. Raises TrialError when there are GPUs, but too few."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return
    if local_rank >= len(gpus):
        raise TrialError(f"local rank {local_rank} has no GPU of its own: {len(gpus)} on this host")
    tf.config.set_visible_devices(gpus[local_rank], "GPU")


def _refuse_unsupported(trial: Trial) -> None:
    """Raises TrialError for what would otherwise be ignored in silence."""
    if trial.compute != "float32" or trial.wire != "float32":
        raise TrialError(f"{trial.backend} computes and exchanges float32 only, not {trial.compute} / {trial.wire}")
