"""The device of a PyTorch rank: which it is, what it marks while it works, and how fast it is alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch

from backends._placement import Place, place, visible_part
from bench.errors import TrialError
from bench.protocols import Accelerator, Exercise, Marks, World

PROBE_SIZE = {"cuda": 8192, "cpu": 1024}
PROBE_COPY_BYTES = {"cuda": 1 << 30, "cpu": 1 << 26}
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def own_device(world: World) -> tuple[Any, Place | None]:
    """This rank's GPU, or the CPU where PyTorch sees none. Raises TrialError where ranks would share one unasked."""
    if not torch.cuda.is_available():
        return torch.device("cpu"), None
    placed = place(world, [_uuid(ordinal) for ordinal in range(torch.cuda.device_count())])
    torch.cuda.set_device(placed.ordinal)
    return torch.device("cuda", placed.ordinal), placed


def accelerators(device: Any, placed: Place | None) -> list[Accelerator]:
    """None on the CPU."""
    if device.type != "cuda" or placed is None:
        return []
    name = torch.cuda.get_device_name(device)
    return [Accelerator(placed.ordinal, name, _uuid(placed.ordinal), placed.ranks)]


def _uuid(ordinal: int) -> str | None:
    """As the driver writes it; PyTorch leaves out its first part, and knows no MIG instance."""
    part = visible_part(ordinal)
    found = getattr(torch.cuda.get_device_properties(ordinal), "uuid", None)
    return part or (None if found is None else f"GPU-{found}")


def device_name(device: Any) -> str:
    """ "NVIDIA H200 cuda:0", or "cpu"."""
    return f"{torch.cuda.get_device_name(device)} {device}" if device.type == "cuda" else str(device)


def device_versions(device: Any) -> dict[str, str]:
    """Of PyTorch, and of the CUDA and NCCL that it brings."""
    versions = {"torch": str(torch.__version__)}
    if device.type == "cuda":
        versions |= {"cuda": str(torch.version.cuda), "torch_nccl": ".".join(map(str, torch.cuda.nccl.version()))}
    return versions


def out_of_memory(device: Any, samples: int) -> TrialError:
    """The sentence of a row whose batch is too large."""
    if device.type != "cuda":
        return TrialError(f"out of memory with {samples} samples a step")
    used, total = torch.cuda.max_memory_allocated(device), torch.cuda.get_device_properties(device).total_memory
    had = f"PyTorch had {used / 2**30:.1f} of {total / 2**30:.1f} GiB of {torch.cuda.get_device_name(device)}"
    return TrialError(f"out of GPU memory with {samples} samples a step: {had}")


class StepMarks:
    """Events that the device records between its own operations: one before the first step, one after each phase.

    Recording enqueues and waits for nothing. Times are read after a fence, and the events are used again.
    `new_event` None: the host is the device, and marks nothing.
    """

    LAST = "update"

    def __init__(self, new_event: Callable[[], Any] | None, peak_bytes: Callable[[], int] | None = None) -> None:
        self._new, self._peak_bytes = new_event, peak_bytes
        self._events: list[Any] = []
        self._names: list[str] = []

    @classmethod
    def of(cls, device: Any, recorded: bool = False) -> StepMarks:
        """`recorded`: steps replay CUDA graphs, whose memory PyTorch does not count as allocated."""
        if device.type != "cuda":
            return cls(None)

        def peak_bytes() -> int:
            peak = int(torch.cuda.max_memory_allocated(device))
            torch.cuda.reset_peak_memory_stats(device)
            return peak

        return cls(lambda: torch.cuda.Event(enable_timing=True), None if recorded else peak_bytes)

    def begin(self) -> None:
        """Before a step; only the first one of a window marks anything."""
        if not self._names:
            self.passed("")

    def passed(self, phase: str) -> None:
        """After a phase, which may come more than once in a step."""
        if self._new is None:
            return
        if len(self._names) == len(self._events):
            self._events.append(self._new())
        self._events[len(self._names)].record()
        self._names.append(phase)

    def end(self) -> None:
        """After a step."""
        self.passed(self.LAST)

    def take(self) -> list[Marks]:
        """After a fence: of the steps since the last call."""
        if not self._names:
            return []
        names, self._names = self._names, []
        ends = [0, *(place for place, name in enumerate(names) if name == self.LAST)]
        steps = list(itertools.pairwise(ends))
        step_ns = tuple(self._spent_ns(first, last) for first, last in steps)
        phase_ns = {
            phase: tuple(
                sum(self._spent_ns(at - 1, at) for at in range(first + 1, last + 1) if names[at] == phase)
                for first, last in steps
            )
            for phase in dict.fromkeys(names[1:])
        }
        return [Marks(step_ns, self._peak_bytes() if self._peak_bytes else None, phase_ns)]

    def _spent_ns(self, first: int, last: int) -> int:
        elapsed_ms: float = self._events[first].elapsed_time(self._events[last])
        return round(elapsed_ms * 1e6)


def exercise(device: Any, compute: str) -> Exercise | None:
    """A square product in `compute`, and a copy. None where there is no memory for them."""
    size, dtype = PROBE_SIZE[device.type], DTYPES.get(compute, torch.float32)
    try:
        left, right, product = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(3))
        source = torch.ones(PROBE_COPY_BYTES[device.type] // 4, dtype=torch.float32, device=device)
        target = torch.empty_like(source)
        torch.mm(left, right, out=product)
        target.copy_(source)
    except torch.OutOfMemoryError:
        return None

    def multiply() -> None:
        torch.mm(left, right, out=product)

    def copy() -> None:
        target.copy_(source)

    return Exercise(multiply, size, copy, source.nbytes)


def set_threads(threads: int) -> None:
    """Of each operation, and of operations beside each other."""
    torch.set_num_threads(threads)
    # PyTorch allows this once per process, before any inter-op work.
    if torch.get_num_interop_threads() != threads:
        torch.set_num_interop_threads(threads)
