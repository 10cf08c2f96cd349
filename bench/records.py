"""The file format: frozen records, nothing but data.

Units are in the names: `_ns` nanoseconds, `_bytes` bytes, `_samples` samples. Unknown is None; zero means
measured zero. A change that an older reader would misread raises SCHEMA and is listed here:

1  first version
2  compute and wire precision, optimizers and evaluations; exchanges and settings per tensor; verification; network
   bytes are those of the rank's own TCP connections
3  local windows, collectives timed alone; clip norm and Adafactor's constants per tensor
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from bench.devices import Device as Device
from bench.devices import DeviceWindow as DeviceWindow
from bench.devices import Probe as Probe
from bench.effective import Facts as Facts
from bench.effective import Settings as Settings
from bench.effective import TensorSettings as TensorSettings
from bench.exchanged import ITEM_BYTES as ITEM_BYTES
from bench.exchanged import Collective as Collective
from bench.exchanged import CollectiveRequest as CollectiveRequest
from bench.exchanged import CollectiveTimes as CollectiveTimes
from bench.exchanged import Exchange as Exchange
from bench.exchanged import ExchangedTensor as ExchangedTensor
from bench.swept import CollectiveLaunch as CollectiveLaunch
from bench.swept import CollectiveLine as CollectiveLine
from bench.swept import CollectiveRow as CollectiveRow
from bench.swept import Crossover as Crossover
from bench.swept import Environment as Environment
from bench.swept import Sweep as Sweep
from bench.traced import RankTrace as RankTrace
from bench.traced import Traced as Traced
from bench.trial import METRICS as METRICS
from bench.trial import Algorithm as Algorithm
from bench.trial import Compute as Compute
from bench.trial import Count as Count
from bench.trial import DeviceKind as DeviceKind
from bench.trial import Fraction as Fraction
from bench.trial import LauncherName as LauncherName
from bench.trial import LossScale as LossScale
from bench.trial import NotNegative as NotNegative
from bench.trial import Optimizer as Optimizer
from bench.trial import Positive as Positive
from bench.trial import Preset as Preset
from bench.trial import Quality as Quality
from bench.trial import Record as Record
from bench.trial import Task as Task
from bench.trial import Timing as Timing
from bench.trial import Trial as Trial
from bench.trial import Wire as Wire
from bench.trial import Workload as Workload
from bench.verified import GateOutcome as GateOutcome
from bench.verified import PlantedTensor as PlantedTensor
from bench.verified import Rehearsal as Rehearsal
from bench.verified import Verified as Verified
from bench.verified import Worst as Worst

SCHEMA = 3
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]  # as the columns of windows.parquet

# ---- what is asked for: bench.trial, and -------------------------------------------------------------------------


class Assignment(Record, frozen=True, kw_only=True):
    """`trial.json`: all that the parent tells the ranks of one repeat. Paths are absolute.

    data         folder of the prepared corpus (bench.workload.corpus)
    checkpoint   folder in Hugging Face layout: config.json, model.safetensors
    validation   folder of the prepared validation corpus, None where the trial evaluates nothing
    lease        file whose modification time the parent keeps fresh; None: no parent to outlive
    verify_steps  0: measure. Otherwise run the gates alone, over so many steps (bench.verification)
    collectives   time these alone, and train nothing
    traced_windows  0: measure. Otherwise trace so many, untraced ones in between (bench.tracing)
    """

    trial: Trial
    trial_id: str
    repeat: int
    ranks: int
    local_replicas: int
    data: str
    checkpoint: str
    validation: str | None = None
    verify_steps: int = 0
    collectives: list[CollectiveRequest] = msgspec.field(default_factory=list)
    traced_windows: int = 0
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

    `exchange` False: a local window, the steps of the full one of the same index once more without the all-reduce.
    `input_wait_ns` is the host time spent obtaining the batches. `cpu_ns` is process CPU time. Network bytes are
    the payload of this rank's own TCP connections, loopback included; shared memory and RDMA are not in them. None
    where the system does not tell. `flops_executed` and `flops_useful` of its matrix products: all that the shapes ask
    for, and without padding (bench.workload.flops).
    """

    index: Int64
    warmup: bool
    exchange: bool
    steps: Int64
    samples: Int64
    tokens_real: Int64
    tokens_padded: Int64
    start_ns: Int64
    duration_ns: Int64
    input_wait_ns: Int64
    cpu_ns: Int64
    rss_bytes: Int64 | None
    received_bytes: Int64 | None
    sent_bytes: Int64 | None
    flops_executed: Int64 | None = None
    flops_useful: Int64 | None = None


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
    """One weight tensor of one replica after the run. `sha256` covers dtype, shape and bytes; `norm` None: not
    finite."""

    name: str
    replica: int
    sha256: str
    norm: float | None


class Weights(Record, frozen=True, kw_only=True, tag="weights"):
    """Every weight tensor of every local replica after the last step."""

    tensors: list[TensorDigest]


class Evaluation(Record, frozen=True, kw_only=True, tag="evaluation"):
    """The model on the validation data after `step` steps. `value` of the task's metric (METRICS), 0 to 1.

    samples    that the whole job has trained on until here
    loss       sum over heads of mean weighted losses, as in training; None where not finite
    train_ns   duration of all windows until here, the first step and warm-up included, evaluations excluded
    reached    the study's target was reached: this was the last window
    """

    step: int
    samples: int
    loss: float | None
    metric: str
    value: float
    train_ns: int
    reached: bool


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


Line = (
    RankInfo
    | Phase
    | SetupTimes
    | Window
    | StepLosses
    | DataDigest
    | Weights
    | Facts
    | Exchange
    | Settings
    | Evaluation
    | Rehearsal
    | CollectiveTimes
    | Device
    | DeviceWindow
    | Probe
)


# ---- what the parent writes: repeat.json, result.json -----------------------------------------------------------


class Repeat(Record, frozen=True, kw_only=True):
    """One launch. `error` is the sentence of the row when it failed; windows are in the rank files and the Parquet.

    `losses` per step over the whole global batch, None where not finite. `evaluations` in order of step. `journals`:
    SHA-256 of each rank's file, in order of rank; empty when the launch failed. `warmup_windows`: so many windows
    at the start do not count, the first step's included; `settled` False: they had not become stable by then.
    `standalone`: per rank, the step's own exchange timed alone; empty where the trial has no local windows.
    `devices`, `device_windows`: of all ranks, the GPUs they ran on; `probes` where the trial asks for them.
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
    warmup_windows: int | None
    settled: bool | None
    evaluations: list[Evaluation]
    journals: list[str]
    standalone: list[CollectiveTimes] = msgspec.field(default_factory=list)
    devices: list[Device] = msgspec.field(default_factory=list)
    device_windows: list[DeviceWindow] = msgspec.field(default_factory=list)
    probes: list[Probe] = msgspec.field(default_factory=list)
    schema: int = SCHEMA


class TrialResult(Record, frozen=True, kw_only=True):
    """`status` ok: every repeat is whole and passed its gates. not_selectable: never started, `reason` says why.
    `stopped` says why it got no further launch, None while it still gets some (or never got one). `wrapped`: the modes
    in which this backend's wrapper is at work; a local step may leave it out, and one rank alone may go without."""

    trial: Trial
    trial_id: str
    mode: Literal["bare", "solo", "full"]
    framework: str
    status: Literal["ok", "failed", "not_selectable"]
    reason: str | None
    stopped: str | None
    repeats: list[Repeat]
    wrapped: list[Literal["solo", "local", "full"]] = msgspec.field(default_factory=list)


class Plan(Record, frozen=True, kw_only=True):
    """`plan.json`, written before the first launch: with the repeats' files, all that a result is derived from.

    order    [trial id, repeat] in the order of launches; grows while a precision target is not reached
    sentinel the trial that is launched again and again through the study to see the machine drift
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
    seed: int
    repeats: int
    most_repeats: int
    target_half_width: float
    budget_s: float
    sentinel: str | None
    timeout_s: float
    patience: float
    rendezvous_port: int
    notes: list[str]
    hosts: list[tuple[str, int]]
    network_interface: str | None
    mpi: bool
    ssh_port: int | None
    ssh_identity_file: str | None
    schema: int = SCHEMA


class Result(Record, frozen=True, kw_only=True):
    """`result.json`: with windows.parquet, all that reports read. `windows_sha256` covers that Parquet file.

    `verification`: of those of its trials that `paceline verify` had proven, or refuted, before the run began.
    """

    study: str
    study_yaml: str
    quick: bool
    created_utc: str
    environment: Environment
    order: list[tuple[str, int]]
    sentinel: str | None
    trials: list[TrialResult]
    gates: list[GateOutcome]
    windows_sha256: str
    verification: list[Verified] = msgspec.field(default_factory=list)
    schema: int = SCHEMA


# ---- what `paceline verify` leaves: verification.json --------------------------------------------------------------


class Verification(Record, frozen=True, kw_only=True):
    """`verification.json` of a verify folder, and in a run folder what was known when the run began."""

    study: str
    environment: Environment
    trials: list[Verified]
    rejected: list[tuple[Trial, str]]
    schema: int = SCHEMA
