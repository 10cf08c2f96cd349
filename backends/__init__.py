"""The table of backends: data only, imports no framework. One public file in this folder is one backend.

`paceline doctor` and the planner read it; `python -m bench.worker` loads `module` by name in the child.
Third parties add a row through the entry point group `paceline.backends` (an object of type Entry).
"""

from typing import Literal, NamedTuple


class Entry(NamedTuple):
    """What a backend can do, before it is imported.

    framework         the one framework it imports ("none" for null)
    bare              the backend that runs this framework's model on one device without a wrapper
    requires          distributions that must be installed
    extension         file patterns below site-packages of which one must exist (a Horovod built without this
                      framework has none)
    local_replicas    True: one rank holds all replicas of its host; False: one replica per rank
    max_replicas      None: any number
    compile           True: forward and backward can be compiled (torch.compile, XLA)
    presets           that differ from each other here
    packed            True: it computes samples that share rows (workload.packed)
    gpu               True: it computes on GPUs where there are some
    wrapped           modes in which the wrapper is at work: a local step may leave it out, one rank alone go without
    allreduce         algorithms that can be selected on CPUs; `auto` leaves it to the library
    allreduce_gpu     on GPUs
    allreduce_by      launchers under which another than `auto` can be selected on CPUs; empty: all
    options           names allowed in the trial's `options`
    """

    module: str
    framework: str
    bare: str | None
    requires: tuple[str, ...] = ()
    extension: tuple[str, ...] = ()
    launchers: tuple[str, ...] = ("horovodrun", "torchrun", "mpirun", "local")
    local_replicas: bool = False
    max_replicas: int | None = None
    compute: tuple[str, ...] = ("float32",)
    wire: tuple[str, ...] = ("float32",)
    allreduce: tuple[str, ...] = ("auto",)
    allreduce_gpu: tuple[str, ...] = ("auto",)
    allreduce_by: tuple[str, ...] = ()
    compile: bool = False
    presets: tuple[str, ...] = ("plain",)
    packed: bool = False
    gpu: bool = False
    options: tuple[str, ...] = ()
    wrapper: str = "none"
    wrapped: tuple[Literal["solo", "local", "full"], ...] = ()


# Open MPI's all-reduces: the numbers that its coll/tuned component has for them, by operation. A tree is its reduction
# and broadcast, each by a binomial tree; a star is both straight to and from one rank.
OPEN_MPI: dict[str, dict[str, int]] = {
    "ring": {"allreduce": 4},
    "tree": {"allreduce": 2, "reduce": 5, "bcast": 6},
    "recursive_doubling": {"allreduce": 3},
    "halving_doubling": {"allreduce": 6},
    "star": {"allreduce": 1},
}

_COMPUTE = ("float32", "tf32", "float16", "bfloat16")
_ALL_WIRES = ("float32", "float16", "bfloat16")
_HOROVOD_WIRES = ("float32", "float16")
_TORCH = ("torch", "transformers")
_TENSORFLOW = ("tensorflow", "keras-hub")
_PRESETS = ("plain", "tuned")
_PROGRAMMED = ("step_ms", "build_ms", "synchronous", "own_up", "fault", "fault_at", "fault_rank")

BACKENDS: dict[str, Entry] = {
    "torch_bare": Entry(
        "backends.torch_bare", "torch", None, _TORCH, max_replicas=1, compute=_COMPUTE, compile=True, presets=_PRESETS,
        gpu=True, packed=True, options=("cuda_graphs",),
    ),
    "torch_ddp": Entry(
        "backends.torch_ddp", "torch", "torch_bare", _TORCH, options=("bucket_cap_mb", "cuda_graphs", "nccl_protocol"),
        compute=_COMPUTE, wire=_ALL_WIRES, compile=True, presets=_PRESETS, gpu=True, packed=True,
        allreduce=("auto", "ring", "tree", "halving_doubling"), allreduce_gpu=("auto", "ring", "tree"),
        wrapper="DistributedDataParallel", wrapped=("solo", "full"),
    ),
    "torch_horovod": Entry(
        "backends.torch_horovod", "torch", "torch_bare", (*_TORCH, "horovod"), ("horovod/torch/mpi_lib_v2*.so",),
        launchers=("horovodrun", "mpirun"), compute=_COMPUTE, wire=_HOROVOD_WIRES, compile=True,
        presets=_PRESETS, gpu=True, packed=True,
        allreduce=("auto", *OPEN_MPI), allreduce_gpu=("auto", "ring", "tree"), allreduce_by=("mpirun",),
        options=("cuda_graphs", "nccl_protocol"), wrapper="horovod.torch.DistributedOptimizer", wrapped=("full",),
    ),
    "tf_bare": Entry(
        "backends.tf_bare", "tensorflow", None, _TENSORFLOW, max_replicas=1, compute=_COMPUTE, compile=True,
        presets=_PRESETS, gpu=True,
    ),
    "tf_horovod": Entry(
        "backends.tf_horovod", "tensorflow", "tf_bare", (*_TENSORFLOW, "horovod"), ("horovod/tensorflow/mpi_lib*.so",),
        launchers=("horovodrun", "mpirun"), compute=_COMPUTE, wire=_HOROVOD_WIRES, compile=True,
        presets=_PRESETS, gpu=True,
        allreduce=("auto", *OPEN_MPI), allreduce_gpu=("auto", "ring", "tree"), allreduce_by=("mpirun",),
        options=("nccl_protocol",), wrapper="horovod.tensorflow.allreduce", wrapped=("full",),
    ),
    "tf_mirrored": Entry(
        "backends.tf_mirrored", "tensorflow", "tf_bare", _TENSORFLOW, local_replicas=True,
        compute=_COMPUTE, wire=_ALL_WIRES, compile=True, presets=_PRESETS, gpu=True,
        wrapper="tf.distribute.MirroredStrategy", wrapped=("solo", "local", "full"),
    ),
    "null_bare": Entry("backends.null_bare", "none", None, max_replicas=1, options=_PROGRAMMED),
    "null": Entry(
        "backends.null", "none", "null_bare", wrapped=("solo", "local", "full"),
        options=(*_PROGRAMMED, "wrapper_ms", "contention_ms", "exchange_ms", "overlap_ms", "late_ms", "late_every",
                 "latency_ms", "ms_per_mib"),
    ),
}  # fmt: skip
