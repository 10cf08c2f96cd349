"""Steps as torch.profiler sees them, told as spans: what computed when, and when gradients were exchanged."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import profiler
from torch._C._profiler import _ExperimentalConfig

from backends._unix_clock import unix_ahead_ns
from bench.protocols import Span, Timeline

SOURCE = {
    "cpu": "torch.profiler on the host's threads; communication: a collective of the process group, from its start on "
    "this rank to its end, so that waiting for the other ranks is in it; of our own all-reduces all that their thread "
    "does",
    "cuda": "torch.profiler on the GPU's streams; communication: NCCL's kernels, which wait for the other ranks",
}
DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
HOST = ("cpu_op", "user_annotation")
# What the process group calls its operations, on whichever thread carries them out.
COLLECTIVE = ("gloo:", "mpi:")
POINT_TO_POINT = ("gloo:send", "gloo:recv")
# Frames around other operations; what they hold is counted by itself, and they also hold hooks and waiting.
FRAMES = ("autograd::engine::", "torch::autograd::", "torch.distributed.", "c10d::", "horovod")


@contextmanager
def traced_steps(device: Any) -> Iterator[Timeline]:
    """The steps within, with a fence at their end."""
    kinds = [profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        kinds.append(profiler.ProfilerActivity.CUDA)
    # All threads: our own all-reduces have one to themselves.
    everywhere = _ExperimentalConfig(profile_all_threads=True)
    timeline = Timeline(source=SOURCE[device.type])
    with profiler.profile(activities=kinds, experimental_config=everywhere) as recorded:
        yield timeline
    timeline.spans.extend(_spans(_exported(recorded), unix_ahead_ns(), device.type == "cuda"))


def _exported(recorded: Any) -> dict[str, Any]:
    """What the profiler itself writes for Chrome: the one form of it that is documented."""
    with tempfile.TemporaryDirectory(prefix="paceline-trace-") as folder:
        path = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(path))
        document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def _spans(document: dict[str, Any], ahead_ns: int, on_gpu: bool) -> list[Span]:
    """Of the device where there is one, with the host's operations beside them, else of the host's threads."""
    events = [event for event in document["traceEvents"] if event.get("ph") == "X"]
    shift_ns = int(document.get("baseTimeNanoseconds", 0)) - ahead_ns
    carriers = {event["tid"] for event in events if event["name"].startswith(POINT_TO_POINT)}
    spans = []
    for event in events:
        group = event.get("cat")
        if group not in (*HOST, *DEVICE):
            continue
        if on_gpu:
            kind = _on_device(event["name"]) if group in DEVICE else "other"
        else:
            kind = "communication" if event["tid"] in carriers else _on_host(event["name"], group)
        thread = f"stream {event['tid']}" if group in DEVICE else f"thread {event['tid']}"
        start_ns = round(event["ts"] * 1e3) + shift_ns
        spans.append(Span(kind, event["name"], thread, start_ns, round(event["dur"] * 1e3)))
    return spans


def _on_device(name: str) -> str:
    if "nccl" in name.lower():
        return "communication"
    return "other" if name.startswith(("Memcpy", "Memset")) else "compute"


def _on_host(name: str, group: str) -> str:
    if name.startswith(COLLECTIVE):
        return "communication"
    return "compute" if group == "cpu_op" and not name.startswith(FRAMES) else "other"
