"""Steps as TensorFlow's profiler sees them, told as spans."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backends._tensorflow_keras import tf
from backends._unix_clock import unix_ahead_ns
from bench.errors import TrialError
from bench.protocols import Span, Timeline

SOURCE = (
    "TensorFlow's profiler, of all local replicas together; communication: a collective operation or NCCL kernel, from "
    "its start on this rank to its end"
)
COLLECTIVES = ("Collective", "Nccl")
# Frames around other operations, and operations that only hand on, wait, or are told by Horovod itself.
NO_COMPUTE = ("PartitionedCall", "StatefulPartitionedCall", "While", "If", "_Send", "_Recv", "Horovod", "NoOp", "_Arg",
              "_Retval", "Identity")  # fmt: skip
# What XLA has compiled runs in these, without an operation of its own around it; the exchange is never compiled.
COMPILED = ("CpuExecutable::Execute", "ThunkExecutor::Execute")
HOST, DEVICE, ABOUT = "/host:CPU", "/device:GPU:", "Task Environment"


@contextmanager
def traced_steps() -> Iterator[Timeline]:
    """The steps within, with a fence at their end."""
    timeline = Timeline(source=SOURCE)
    options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=2, python_tracer_level=0)
    with tempfile.TemporaryDirectory(prefix="paceline-trace-") as folder:
        tf.profiler.experimental.start(folder, options=options)
        try:
            yield timeline
        finally:
            tf.profiler.experimental.stop()
        timeline.spans.extend(_spans(_space(Path(folder)), unix_ahead_ns()))


def _space(folder: Path) -> Any:
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    files = list(folder.rglob("*.xplane.pb"))
    if len(files) != 1:
        raise TrialError(f"TensorFlow's profiler left {len(files)} files, expected one")
    space = xplane_pb2.XSpace()
    space.ParseFromString(files[0].read_bytes())
    return space


def _spans(space: Any, ahead_ns: int) -> list[Span]:
    """Of the GPUs' streams where there are some, with the host's operations beside them, else of the host's threads."""
    shift_ns = _began_ns(space) - ahead_ns
    gpus = [plane for plane in space.planes if plane.name.startswith(DEVICE)]
    spans = [span for plane in gpus for span in _of_plane(plane, shift_ns, on_gpu=True)]
    for plane in space.planes:
        if plane.name == HOST:
            on_host = _of_plane(plane, shift_ns, on_gpu=False)
            spans += [span._replace(kind="other") for span in on_host] if gpus else on_host
    return spans


def _began_ns(space: Any) -> int:
    """What the planes' own times count from, in nanoseconds since 1970."""
    for plane in space.planes:
        for stat in plane.stats:
            if plane.name == ABOUT and plane.stat_metadata[stat.metadata_id].name == "profile_start_time":
                return int(stat.uint64_value)
    raise TrialError("TensorFlow's profiler did not say when it began")


def _of_plane(plane: Any, shift_ns: int, on_gpu: bool) -> Iterator[Span]:
    for line in plane.lines:
        thread = f"{plane.name} {line.name}"
        if on_gpu and not line.name.startswith("Stream"):
            continue  # the same once more, by step or by framework operation
        for event in line.events:
            about = plane.event_metadata[event.metadata_id]
            kind = _on_device(about.name) if on_gpu else _on_host(about)
            start_ns = shift_ns + line.timestamp_ns + event.offset_ps // 1_000
            if event.duration_ps:
                yield Span(kind, about.name, thread, start_ns, event.duration_ps // 1_000)


def _on_device(name: str) -> str:
    if "nccl" in name.lower():
        return "communication"
    return "other" if name.lower().startswith("mem") else "compute"


def _on_host(about: Any) -> str:
    """An operation is called NAME:TYPE; all else is the runtime's own, but for compiled code."""
    if about.name.startswith(COMPILED):
        return "compute"
    name, _, operation = about.name.rpartition(":")
    if not name or name.endswith(":") or about.display_name != operation:
        return "other"
    if operation.startswith(COLLECTIVES):
        return "communication"
    return "other" if operation.startswith(NO_COMPUTE) else "compute"
