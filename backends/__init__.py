"""The table of backends: data only, imports no framework. One public file in this folder is one backend.

`paceline doctor` and the planner read it; `python -m bench.worker` loads `module` by name in the child.
Third parties add a row through the entry point group `paceline.backends` (an object of type Entry).
"""

from typing import NamedTuple


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
    compile: bool = False
    options: tuple[str, ...] = ()
    wrapper: str = "none"


_COMPUTE = ("float32", "tf32", "float16", "bfloat16")
_ALL_WIRES = ("float32", "float16", "bfloat16")
_HOROVOD_WIRES = ("float32", "float16")
_TORCH = ("torch", "transformers")
_TENSORFLOW = ("tensorflow", "keras-hub")

BACKENDS: dict[str, Entry] = {
    "torch_bare": Entry("backends.torch_bare", "torch", None, _TORCH, max_replicas=1, compute=_COMPUTE, compile=True),
    "torch_ddp": Entry(
        "backends.torch_ddp", "torch", "torch_bare", _TORCH, options=("bucket_cap_mb",),
        compute=_COMPUTE, wire=_ALL_WIRES, compile=True, allreduce=("auto", "ring"), wrapper="DistributedDataParallel",
    ),
    "torch_horovod": Entry(
        "backends.torch_horovod", "torch", "torch_bare", (*_TORCH, "horovod"), ("horovod/torch/mpi_lib_v2*.so",),
        launchers=("horovodrun", "mpirun"), compute=_COMPUTE, wire=_HOROVOD_WIRES, compile=True,
        wrapper="horovod.torch.DistributedOptimizer",
    ),
    "tf_bare": Entry(
        "backends.tf_bare", "tensorflow", None, _TENSORFLOW, max_replicas=1, compute=_COMPUTE, compile=True
    ),
    "tf_horovod": Entry(
        "backends.tf_horovod", "tensorflow", "tf_bare", (*_TENSORFLOW, "horovod"), ("horovod/tensorflow/mpi_lib*.so",),
        launchers=("horovodrun", "mpirun"), compute=_COMPUTE, wire=_HOROVOD_WIRES, compile=True,
        wrapper="horovod.tensorflow.allreduce",
    ),
    "tf_mirrored": Entry(
        "backends.tf_mirrored", "tensorflow", "tf_bare", _TENSORFLOW, local_replicas=True,
        compute=_COMPUTE, wire=_ALL_WIRES, compile=True,
        wrapper="tf.distribute.MirroredStrategy",
    ),
    "null": Entry(
        "backends.null", "none", None, wrapper="none",
        options=("step_ms", "build_ms", "fault", "fault_at", "fault_rank"),
    ),
}  # fmt: skip
