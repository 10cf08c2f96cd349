"""What the running backend says of itself, read back from its live objects. Part of the file format; import it from
bench.records."""

from __future__ import annotations

from bench.trial import Record


class Facts(Record, frozen=True, kw_only=True, tag="facts"):
    """What the running backend says of itself; effective values are read back, never echoed from the request.

    parameter_elements   trained elements of one replica
    compute_dtype        of the dense layers' products in the last step, as the tensors or the graph have it; "tf32"
                         where float32 products use it
    wire_dtype           of the tensors that were exchanged
    exchange_*           one step's all-reduce as issued by this rank; None: no exchange, or not observable
    loss_scale           as the last step used it; None: none
    skipped_steps        updates left out because a gradient was not finite; None: this precision skips none
    settings             optimizer, dropout, GELU, threads, ... read from the live objects
    """

    parameter_elements: int
    compute_dtype: str
    wire_dtype: str | None
    exchange_elements: int | None
    exchange_bytes: int | None
    buckets: int | None
    algorithm: str
    algorithm_evidence: str
    devices: list[str]
    threads: int | None
    versions: dict[str, str]
    settings: dict[str, str | bool | int | float | None]
    loss_scale: float | None = None
    skipped_steps: int | None = None


class TensorSettings(Record, frozen=True, kw_only=True):
    """What acts on one tensor, read from the live optimizer and model. None: this optimizer or tensor has none.

    learning_rate   as the last step used it
    clip_norm       limit of the norm of all gradients; 0: not clipped
    beta_2_decay, variance_epsilon, scale_epsilon, clip_threshold   of Adafactor: in step t a share of t^beta_2_decay
                    of the second moment is new; the least root of a second moment, the least norm of a weight, both as
                    root mean squares; the largest root mean square of an update
    layer_norm_epsilon, activation ("tanh" or "erf", for the GELU): of the layer that the tensor belongs to, given for
    the weight of a LayerNorm and of the dense layer before a GELU
    """

    name: str
    learning_rate: float
    weight_decay: float
    beta_1: float | None = None
    beta_2: float | None = None
    epsilon: float | None = None
    momentum: float | None = None
    clip_norm: float | None = None
    beta_2_decay: float | None = None
    variance_epsilon: float | None = None
    scale_epsilon: float | None = None
    clip_threshold: float | None = None
    layer_norm_epsilon: float | None = None
    activation: str | None = None


class Settings(Record, frozen=True, kw_only=True, tag="settings"):
    """Of every trained tensor of local replica 0."""

    tensors: list[TensorSettings]
