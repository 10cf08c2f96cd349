"""A PyTorch backend alone in this process, and what two sides of a comparison do in turn. For tests/gpu/on_gpu.py."""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bench import journal, worker
from bench.clock import SYSTEM_CLOCK
from bench.collectors.accelerators import Watch
from bench.launch.world import FileRendezvous
from bench.protocols import World
from bench.records import Timing, Trial, Workload
from bench.run import Observer, prepare
from bench.workload.batches import Batches
from bench.workload.flops import Shape

STEPS = 20  # of a window
Json = dict[str, Any]


class Session:
    """The trial's backend as the only rank: built, warm, and measured window by window as a rank does it."""

    def __init__(self, trial: Trial, folder: Path) -> None:
        self.trial, prepared = trial, prepare(trial, folder, Observer())
        world = World(
            rank=0, size=1, local_rank=0, local_size=1, local_replicas=1, launcher="local", address="127.0.0.1",
            network_interface=None, rendezvous_port=0, rendezvous=FileRendezvous(folder / "rendezvous"),
        )  # fmt: skip
        self.backend: Any = worker.load_backend(trial.backend)
        self.backend.start(world)
        self.backend.build(trial, prepared.checkpoint)
        self.checkpoint, self.batches = prepared.checkpoint, Batches(prepared.data, trial.workload, 0, 1, 1)
        watch = Watch(0, self.backend.accelerators(), trial.compute)
        self.devices = watch.devices()
        self.lines = journal.Journal(folder, 0)
        shape = Shape.of_checkpoint(prepared.checkpoint, trial.workload.task)
        self.measurement = worker.Measurement(self.backend, self.batches, self.lines, SYSTEM_CLOCK, watch, shape)
        for steps in (1, STEPS, STEPS):
            self.measurement.window(steps, warmup=True)

    def window(self) -> Any:
        return self.measurement.window(STEPS, warmup=False)

    def rate(self) -> float:
        """Samples per second of one window."""
        window = self.window()
        return float(window.samples / window.duration_ns * 1e9)

    def losses(self, steps: int, same_batch: bool = False) -> list[float]:
        """Of the first `steps` steps' batches, after whatever was trained before; or of the first one again and again."""
        for number in range(steps):
            self.backend.step(self.batches.batch(0 if same_batch else number), True)
        self.backend.fence()
        found = self.backend.losses()
        return [float(each) for each in (found.numerators / found.weights).sum(axis=(1, 2))]

    def stop(self) -> None:
        """Gives back its memory, that of CUDA graphs included."""
        import torch
        from torch._inductor.cudagraph_trees import reset_cudagraph_trees

        self.backend.stop()
        torch.compiler.reset()
        reset_cudagraph_trees()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @property
    def peak(self) -> float | None:
        return self.devices[0].peak_flop_per_s if self.devices else None

    def timed(self, work: Callable[[], Any]) -> float:
        """Seconds, with the device at rest before and after."""
        self.backend.fence()
        begun = time.perf_counter()
        work()
        self.backend.fence()
        return time.perf_counter() - begun


def asked(given: argparse.Namespace, **changed: Any) -> Trial:
    """bfloat16 unless `changed`; `given` may have the workload's accumulation and dropout as well."""
    workload = Workload(
        model=given.model, sequence_length=given.length, batch_per_replica=given.batch,
        accumulation=getattr(given, "accumulation", 1), dropout=getattr(given, "dropout", 0.0),
    )  # fmt: skip
    said = {
        "compute": "bfloat16",
        "device": "any" if given.any_device else "gpu",
        "threads_per_replica": os.cpu_count(),
    }
    return msgspec.convert(
        {"backend": "torch_bare", "replicas": 1, "launcher": "local", "workload": msgspec.to_builtins(workload)}
        | {"timing": msgspec.to_builtins(Timing(steps_per_window=STEPS))} | said | changed,
        Trial,
    )  # fmt: skip


def rounds(number: int, ours: Callable[[], float], theirs: Callable[[], float]) -> Json:
    """Samples per second of both sides, in turn, and the ratio ours / theirs."""
    from scipy import stats

    pairs = [(ours(), theirs()) if turn % 2 == 0 else (theirs(), ours())[::-1] for turn in range(number)]
    ratios = sorted(one / other for one, other in pairs)
    low = int(stats.binom.ppf(0.025, number, 0.5)) - 1  # counted from 0
    interval = [ratios[low], ratios[-1 - low]] if number >= 6 else None
    return {"ratio": statistics.median(ratios), "interval": interval, "pairs": pairs}
