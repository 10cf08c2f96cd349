"""What is asked for: one point of a study, all scalars. Part of the file format; import it from bench.records."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Task = Literal["pretraining", "ner", "classification"]
Compute = Literal["float32", "tf32", "float16", "bfloat16"]
Wire = Literal["float32", "float16", "bfloat16"]
Algorithm = Literal["auto", "ring", "tree", "halving_doubling", "recursive_doubling", "hierarchical", "star"]
OptimizerName = Literal["adamw", "sgd", "lamb", "adafactor"]
LauncherName = Literal["horovodrun", "torchrun", "mpirun", "local"]
Preset = Literal["plain", "tuned"]
DeviceKind = Literal["any", "gpu"]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
CountOrNone = Annotated[int, Meta(ge=0, le=100_000_000)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, lt=1)]

# Keys that came later: a trial that leaves them at these values keeps the id that it had before.
ADDED_KEYS: dict[str, object] = {"preset": "plain", "device": "any", "share_devices": False, "probe": False}
ADDED_WORKLOAD_KEYS: dict[str, object] = {"packed": False}

# What a metric of each task is called, in [0, 1]: masked words found, entities found (F1), labels found.
METRICS: dict[Task, str] = {"pretraining": "mlm_accuracy", "ner": "entity_f1", "classification": "accuracy"}


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything that is written to disk."""


class Workload(Record, frozen=True, kw_only=True):
    """The training problem, without a framework. `data` is "builtin" or a path, glob or Parquet file.

    validation     "held_out": the built-in data's own split, a dev or valid file beside the data, else a part that
                   training never sees; or a path
    input_delay_ms obtaining a batch takes at least so long: slow storage, programmed
    accumulation   microbatches per step: each replica's batch is split into so many, whose gradients are added
                   before one exchange and update. The step's samples and its loss stay the same
    packed         samples share rows of sequence_length, as many as fit, each attending to itself alone: the same
                   samples and losses with less padding
    """

    task: Task = "pretraining"
    model: str = "tiny"
    data: str = "builtin"
    validation: str = "held_out"
    vocabulary: str = "trained"
    sequence_length: Annotated[int, Meta(ge=8, le=65_536)] = 128
    batch_per_replica: Count = 8
    accumulation: Count = 1
    dropout: Fraction = 0.0
    packed: bool = False
    input_delay_ms: NotNegative = 0.0
    seed: Annotated[int, Meta(ge=0, lt=2**31)] = 1


class Optimizer(Record, frozen=True, kw_only=True):
    """Explicit for every backend, so that no framework's default decides; read back per tensor after the run.

    weight_decay   applies to every tensor except biases and LayerNorm weights; decoupled (for LAMB, part of the
                   update whose norm the trust ratio uses, You et al., arXiv:1904.00962, algorithm 2)
    momentum       of SGD
    epsilon        of AdamW and LAMB: added to the root of the bias-corrected second moment
    warmup_steps   the rate rises linearly over so many steps; 0: none
    decay_steps    from the end of warm-up the rate falls linearly, to 0 at this step; 0: it stays
    clip_norm      gradients are scaled so that their norm over all tensors, after the exchange, is at most this; 0: not
    """

    name: OptimizerName = "adamw"
    learning_rate: Positive = 1e-4
    weight_decay: NotNegative = 0.01
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: Positive = 1e-6
    momentum: Fraction = 0.0
    warmup_steps: CountOrNone = 0
    decay_steps: CountOrNone = 0
    clip_norm: NotNegative = 0.0

    def learning_rate_at(self, step: int) -> float:
        """The rate of step `step`, counted from 0: learning_rate x min(1, (step + 1) / warmup_steps), then the decay.

        >>> Optimizer(learning_rate=0.4, warmup_steps=4).learning_rate_at(0)
        0.1
        >>> Optimizer(learning_rate=0.4, warmup_steps=4, decay_steps=8).learning_rate_at(6)
        0.2
        """
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.decay_steps <= self.warmup_steps:
            return self.learning_rate
        left = max(0, self.decay_steps - step) / (self.decay_steps - self.warmup_steps)
        return self.learning_rate * left


class LossScale(Record, frozen=True, kw_only=True):
    """Of float16 compute: the loss is multiplied by the scale, the gradients are divided by it after the exchange.

    A step with a gradient that is not finite is left out and the scale halved; after `growth_steps` good ones in a
    row it is doubled. Other precisions have no scale.
    """

    initial: Positive = 65_536.0
    growth_steps: Count = 2_000


class Timing(Record, frozen=True, kw_only=True):
    """A window is `steps_per_window` steps between two fences; the first `warmup_windows` are not counted.

    local_windows  after each window the same batches once more without the exchange, from a snapshot that is then
                   restored: what the exchange costs is the difference
    """

    warmup_windows: Count = 3
    windows: Count = 10
    steps_per_window: Count = 5
    local_windows: bool = False


class Quality(Record, frozen=True, kw_only=True):
    """How well the model learns, on data it does not train on; measured between windows, never inside one.

    samples        of the validation data, the same for every backend and world size; 0: no evaluation
    every_windows  an evaluation follows every so many windows, warm-up ones included, and the last one
    target         of the task's metric (METRICS), 0 to 1: the run ends when it is reached; 0: it does not
    """

    samples: CountOrNone = 0
    every_windows: Count = 1
    target: Fraction = 0.0


class Trial(Record, frozen=True, kw_only=True):
    """One point of a study, all scalars. `options` are for one backend, allowed names are in the backend table.

    compute   of the forward and backward pass; the weights and the optimizer's state are always float32
    wire      of the gradients as they are exchanged
    compile   torch.compile in PyTorch, XLA in TensorFlow: forward and backward, the same part in every backend
    preset    "plain": what a framework's quick start gives. "tuned": everything that makes it faster and leaves the
              function as it is, compilation included; which settings those are stands in Facts.settings
    device    "gpu": not selectable where there is none. "any": GPUs where the framework sees some, else the CPU
    share_devices  several ranks may be on one GPU: without it such a launch is refused
    probe     after the windows the device's speed is measured: matrix products and copies alone
    """

    backend: str
    replicas: Annotated[int, Meta(ge=1, le=16_384)] = 2
    launcher: LauncherName = "horovodrun"
    workload: Workload = Workload()
    optimizer: Optimizer = Optimizer()
    loss_scale: LossScale = LossScale()
    compute: Compute = "float32"
    wire: Wire = "float32"
    allreduce: Algorithm = "auto"
    compile: bool = False
    preset: Preset = "plain"
    device: DeviceKind = "any"
    share_devices: bool = False
    probe: bool = False
    threads_per_replica: Count = 1
    timing: Timing = Timing()
    quality: Quality = Quality()
    options: dict[str, str | bool | int | float | list[float]] = {}

    @property
    def id(self) -> str:
        """Backend, replicas and the first 8 hex digits of the SHA-256 of the content."""
        content = msgspec.json.encode(self.content(), order="sorted")
        return f"{self.backend}-{self.replicas}-{hashlib.sha256(content).hexdigest()[:8]}"

    def content(self) -> dict[str, Any]:
        """Every key but those of ADDED_KEYS that are left as they were before there was a choice."""
        tree = _chosen(msgspec.to_builtins(self), ADDED_KEYS)
        return tree | {"workload": _chosen(tree["workload"], ADDED_WORKLOAD_KEYS)}

    @property
    def compiled(self) -> bool:
        """Whether forward and backward are compiled, by `compile` or as a part of the preset."""
        return self.compile or self.preset == "tuned"

    @property
    def global_batch(self) -> int:
        return self.workload.batch_per_replica * self.replicas


def _chosen(tree: dict[str, Any], added: dict[str, object]) -> dict[str, Any]:
    return {key: value for key, value in tree.items() if key not in added or added[key] != value}
