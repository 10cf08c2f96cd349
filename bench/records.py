"""The file format: frozen records, nothing but data.

Units are in the names: `_ns` nanoseconds, `_bytes` bytes, `_samples` samples. Unknown is None; zero means
measured zero. A change that an older reader would misread raises SCHEMA and is listed here:

1  first version
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

SCHEMA = 1

Task = Literal["pretraining", "ner"]
Precision = Literal["float32", "float16", "bfloat16"]
Algorithm = Literal["auto", "ring", "tree"]
LauncherName = Literal["horovodrun", "torchrun", "mpirun", "local"]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, lt=1)]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything that is written to disk."""


# ---- what is asked for -------------------------------------------------------------------------------------


class Workload(Record, frozen=True, kw_only=True):
    """The training problem, without a framework. `data` is "builtin" or a path, glob or Parquet file."""

    task: Task = "pretraining"
    model: str = "tiny"
    data: str = "builtin"
    vocabulary: str = "trained"
    sequence_length: Annotated[int, Meta(ge=8, le=65_536)] = 128
    batch_per_replica: Count = 8
    dropout: Fraction = 0.0
    seed: Annotated[int, Meta(ge=0, lt=2**31)] = 1


class Optimizer(Record, frozen=True, kw_only=True):
    """Explicit for every backend, so that no framework's default decides; read back into `Facts.settings`.

    `weight_decay` is decoupled and applies to every tensor except biases and LayerNorm weights.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Positive = 1e-4
    weight_decay: NotNegative = 0.01
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: Positive = 1e-6
    momentum: Fraction = 0.0


class Timing(Record, frozen=True, kw_only=True):
    """A window is `steps_per_window` steps between two fences; the first `warmup_windows` are not counted."""

    warmup_windows: Count = 3
    windows: Count = 10
    steps_per_window: Count = 5


class Trial(Record, frozen=True, kw_only=True):
    """One point of a study, all scalars. `options` are for one backend, allowed names are in the backend table."""

    backend: str
    replicas: Annotated[int, Meta(ge=1, le=16_384)] = 2
    launcher: LauncherName = "horovodrun"
    workload: Workload = Workload()
    optimizer: Optimizer = Optimizer()
    compute: Precision = "float32"
    wire: Precision = "float32"
    allreduce: Algorithm = "auto"
    jit_compile: bool = False
    threads_per_replica: Count = 1
    timing: Timing = Timing()
    options: dict[str, str | bool | int | float | list[float]] = {}

    @property
    def id(self) -> str:
        """Backend, replicas and the first 8 hex digits of the SHA-256 of the content."""
        content = msgspec.json.encode(self, order="sorted")
        return f"{self.backend}-{self.replicas}-{hashlib.sha256(content).hexdigest()[:8]}"

    @property
    def global_batch(self) -> int:
        return self.workload.batch_per_replica * self.replicas


class Assignment(Record, frozen=True, kw_only=True):
    """`trial.json`: all that the parent tells the ranks of one repeat. Paths are absolute.

    data         folder of the prepared corpus (bench.workload.corpus)
    checkpoint   folder in Hugging Face layout: config.json, model.safetensors
    lease        file whose modification time the parent keeps fresh; None: no parent to outlive
    """

    trial: Trial
    trial_id: str
    repeat: int
    ranks: int
    local_replicas: int
    data: str
    checkpoint: str
    lease: str | None = None
    network_interface: str | None = None
    rendezvous_port: int = 0
    schema: int = SCHEMA


# ---- what a rank writes: rank-N.jsonl, one record a line ------------------------------------------------------


class Phase(Record, frozen=True, kw_only=True, tag="phase"):
    """The rank has entered this phase. `at_ns` is this rank's monotonic clock."""

    name: Literal["start", "build", "warmup", "windows", "finish", "stop", "end"]
    at_ns: int


class Window(Record, frozen=True, kw_only=True, tag="window"):
    """One window on one rank. `samples` and tokens are this rank's own; the other fields cover the window only.

    `input_wait_ns` is the host time spent obtaining the batches. `cpu_ns` is process CPU time, network bytes
    are those of the whole host (every interface), None where /proc does not tell.
    """

    index: int
    warmup: bool
    exchange: bool
    steps: int
    samples: int
    tokens_real: int
    tokens_padded: int
    start_ns: int
    duration_ns: int
    input_wait_ns: int
    cpu_ns: int
    rss_bytes: int | None
    received_bytes: int | None
    sent_bytes: int | None


class StepLosses(Record, frozen=True, kw_only=True, tag="losses"):
    """Per step of window `window`: this rank's loss numerators and weights, summed over its replicas.

    `numerators[step][head]`, `weights[step][head]` as the backend computed them; `global_weights[step][head]`
    as the harness knows them from the data: loss = sum over ranks of numerators / global weight, summed over heads.
    None: infinite or not a number, which JSON cannot hold.
    """

    window: int
    heads: list[str]
    numerators: list[list[float | None]]
    weights: list[list[float]]
    global_weights: list[list[float]]


class DataDigest(Record, frozen=True, kw_only=True, tag="data"):
    """What the rank was fed: sums modulo 2**64 of per-sample hashes, so that ranks add up whatever the split."""

    samples: int
    digest: int


class TensorDigest(Record, frozen=True, kw_only=True):
    """One weight tensor of one replica after the run. `sha256` covers dtype, shape and bytes."""

    name: str
    replica: int
    sha256: str
    norm: float


class Weights(Record, frozen=True, kw_only=True, tag="weights"):
    """Every weight tensor of every local replica after the last step."""

    tensors: list[TensorDigest]


class Facts(Record, frozen=True, kw_only=True, tag="facts"):
    """What the running backend says of itself; effective values are read back, never echoed from the request.

    parameter_elements   trained elements of one replica
    exchange_*           one step's all-reduce as issued by this rank; None: no exchange, or not observable
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


class RankInfo(Record, frozen=True, kw_only=True, tag="rank"):
    """First line of a rank file."""

    rank: int
    host: str
    pid: int
    launcher: str
    schema: int = SCHEMA


class SetupTimes(Record, frozen=True, kw_only=True, tag="setup"):
    """Wall time of what happens before the measured windows. `start_ns` includes the framework's import, the first
    step includes tracing and compilation."""

    start_ns: int
    build_ns: int
    first_step_ns: int


Line = RankInfo | Phase | SetupTimes | Window | StepLosses | DataDigest | Weights | Facts


# ---- what the parent writes: repeat.json, result.json -----------------------------------------------------------


class GateOutcome(Record, frozen=True, kw_only=True):
    """`sentence` names the evidence when it holds, and backend, rank, tensor, step, expected and received if not.

    `holds` is None where the gate could not be applied (one rank only, say): shown, never counted as passed.
    `trial_id` is given for gates between trials of a study; those of one launch stand in its Repeat.
    """

    gate: str
    holds: bool | None
    sentence: str
    trial_id: str | None = None


class Repeat(Record, frozen=True, kw_only=True):
    """One launch. `error` is the sentence of the row when it failed; windows are in the rank files and the Parquet.

    `losses` per step over the whole global batch, None where not finite.
    """

    trial_id: str
    repeat: int
    started_utc: str
    wall_ns: int
    command: list[str]
    error: str | None
    gates: list[GateOutcome]
    losses: list[float | None]
    facts: list[Facts]
    setup: list[SetupTimes]
    hosts: list[str]
    data_samples: int | None
    data_digest: str | None
    schema: int = SCHEMA


class TrialResult(Record, frozen=True, kw_only=True):
    """`status` ok: every repeat is whole and passed its gates. not_selectable: never started, `reason` says why."""

    trial: Trial
    trial_id: str
    mode: Literal["bare", "solo", "full"]
    framework: str
    status: Literal["ok", "failed", "not_selectable"]
    reason: str | None
    repeats: list[Repeat]


class Plan(Record, frozen=True, kw_only=True):
    """`plan.json`, written before the first launch: with the repeats' files, all that a result is derived from.

    order    [trial id, repeat] in the order of launches
    rejected trials with the reason why they were never started
    notes    sentences about choices made for this machine, for people
    hosts    (name, slots), empty for the parent's machine alone; this and the rest is for the launcher
    """

    study: str
    study_yaml: str
    quick: bool
    created_utc: str
    environment: Environment
    trials: list[Trial]
    rejected: list[tuple[Trial, str]]
    order: list[tuple[str, int]]
    timeout_s: float
    rendezvous_port: int
    notes: list[str]
    hosts: list[tuple[str, int]]
    network_interface: str | None
    mpi: bool
    ssh_port: int | None
    ssh_identity_file: str | None
    schema: int = SCHEMA


class Environment(Record, frozen=True, kw_only=True):
    """Where it ran. Captured by allow-list; None is unknown."""

    hostname: str
    platform: str
    python: str
    cpu: str | None
    cores: int
    memory_bytes: int | None
    load_average: float | None
    governor: str | None
    paceline: str
    revision: str | None
    packages: dict[str, str]
    variables: dict[str, str]


class Result(Record, frozen=True, kw_only=True):
    """`result.json`: with windows.parquet, all that reports read. `windows_sha256` covers that Parquet file."""

    study: str
    study_yaml: str
    quick: bool
    created_utc: str
    environment: Environment
    order: list[tuple[str, int]]
    trials: list[TrialResult]
    gates: list[GateOutcome]
    windows_sha256: str
    schema: int = SCHEMA
