"""What a TensorFlow backend says of itself, read from its live objects and from the graph of its step."""

from __future__ import annotations

from typing import Any, Protocol

from backends._tensorflow_graph import Exchange, Traced, communication, product_dtypes
from backends._tensorflow_keras import keras, keras_hub, tf
from backends._tensorflow_model import Bert, blocks, gelu_kind
from backends._tensorflow_optimizer import Optimizer, optimizer_settings, own_settings
from backends._tensorflow_scale import DynamicScale
from backends._tensorflow_step import Update
from backends._tensorflow_weights import Binding
from bench.protocols import World
from bench.records import Facts, TensorSettings, Trial

TENSOR_CORES_OF_TF32 = (8, 0)  # compute capability of the first devices with TF32

Settings = dict[str, str | bool | int | float | None]


class Describable(Protocol):
    """The part of TensorFlowBackend that facts are read from."""

    world: World
    trial: Trial
    model: Bert
    bindings: list[Binding]
    optimizer: Optimizer
    update: Update
    traced: dict[bool, Traced]
    local_step: str
    fuses_later: bool

    def local_values(self, value: Any) -> list[Any]: ...
    def devices(self) -> list[str]: ...
    def algorithm(self) -> tuple[str, str]: ...
    def versions(self) -> dict[str, str]: ...
    def wrapper_settings(self) -> Settings: ...


def collect_facts(backend: Describable) -> Facts:
    """Call after at least one full step: before it nothing is traced, and the exchange is unknown."""
    exchange = communication(backend.traced[True].graph) if True in backend.traced else None
    crossing = exchange if exchange is not None and exchange.operations else None
    replicas = backend.world.local_replicas
    scale: DynamicScale | None = backend.update.scale
    algorithm, evidence = backend.algorithm()
    return Facts(
        parameter_elements=sum(int(tf.size(binding.variable.value)) for binding in backend.bindings),
        compute_dtype=_compute_dtype(backend),
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
            **_cuda_versions(),
            **backend.versions(),
        },
        settings=_settings(backend, crossing),
        loss_scale=_first(backend, scale.used) if scale is not None else None,
        skipped_steps=int(_first(backend, scale.skipped)) if scale is not None else None,
    )


def _cuda_versions() -> dict[str, str]:
    """Of what TensorFlow was built with, where it computes on a GPU."""
    built = tf.sysconfig.get_build_info() if tf.config.get_visible_devices("GPU") else {}
    return {name: str(built[f"{name}_version"]) for name in ("cuda", "cudnn") if f"{name}_version" in built}


def tensor_settings(backend: Describable) -> list[TensorSettings]:
    """In the order of the bindings."""
    optimizer = backend.optimizer
    rate = _first(backend, optimizer.learning_rate)
    return [
        TensorSettings(
            name=binding.name,
            learning_rate=rate,
            weight_decay=decay,
            clip_norm=backend.update.clip_norm,
            layer_norm_epsilon=_layer_norm_epsilon(binding.layer),
            activation=gelu_kind(binding.layer.activation) if hasattr(binding.layer, "activation") else None,
            **own_settings(optimizer),
        )
        for binding, decay in zip(backend.bindings, optimizer.decays, strict=True)
    ]


def _layer_norm_epsilon(layer: Any) -> float | None:
    return float(layer.epsilon) if isinstance(layer, keras.layers.LayerNormalization) else None


def _compute_dtype(backend: Describable) -> str:
    """Of every matrix product in the graph of the step; several, joined by a comma, where they differ."""
    found = product_dtypes(next(iter(backend.traced.values())).graph) if backend.traced else ()
    if found == ("float32",) and _uses_tf32():
        return "tf32"
    return ",".join(found) or "unknown"


def _uses_tf32() -> bool:
    gpus = tf.config.get_visible_devices("GPU")
    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
    return bool(gpus) and enabled and min(capabilities) >= TENSOR_CORES_OF_TF32


def _first(backend: Describable, variable: Any) -> float:
    """On local replica 0."""
    return float(backend.local_values(variable)[0].numpy())


def _settings(backend: Describable, crossing: Exchange | None) -> Settings:
    rates = [float(layer.rate) for layer in backend.model.dropouts()]
    first = blocks(backend.model.encoder)[0]
    attention = first._self_attention_layer
    return {
        **optimizer_settings(backend.optimizer, backend.bindings),
        "learning_rate": _first(backend, backend.optimizer.learning_rate),
        "clip_norm": backend.update.clip_norm,
        "dropout": max(rates, default=0.0),
        "attention_dropout": float(attention.dropout),
        "gelu": gelu_kind(first._feedforward_intermediate_dense.activation),
        # As Keras' MultiHeadAttention chooses.
        "attention": "einsum" if attention.dropout else "dot_product_attention",
        "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
        "tensor_float_32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "compile": backend.trial.compiled,
        "precision_policy": backend.model.encoder.dtype_policy.name,
        "local_step": backend.local_step,
        "communication_operations": "+".join(crossing.kinds) if crossing else "none",
        "communication_operations_issued": crossing.operations // backend.world.local_replicas if crossing else 0,
        **backend.wrapper_settings(),
    }
