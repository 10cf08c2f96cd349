"""Parts of tests/gpu/on_gpu.py that try one feature each, rather than a line of how it is judged."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec

from bench import probing
from bench.clock import SYSTEM_CLOCK
from bench.setup import nccl
from tests.gpu.session import STEPS, Json, Session, asked, rounds

# What is changed of a small float32 trial without dropout: (its workload, its other keys).
CASES: dict[str, tuple[Json, Json]] = {
    "one graph after the other": ({}, {}),
    "microbatches": ({"accumulation": 2}, {}),
    "DistributedDataParallel": ({}, {"backend": "torch_ddp"}),
    "DistributedDataParallel, microbatches": ({"accumulation": 2}, {"backend": "torch_ddp"}),
    "float16": ({}, {"compute": "float16"}),
}


def graphs(given: argparse.Namespace, folder: Path) -> Json:
    """Recorded against not, on the same steps: losses must agree; with dropout each replay must drop other units. A
    small model, which compiles soon; speed is that of BERT-base."""
    found: Json = {}
    sizes = {"batch": given.batch or 8, "length": given.length or 128}
    own = argparse.Namespace(**{**vars(given), **sizes, "model": given.model or "mini"})
    for name, (workload, changed) in CASES.items():
        keys = {"compute": "float32", "preset": "tuned", **changed}
        this = argparse.Namespace(**{**vars(own), **workload})
        found[name] = compared(asked(this, **keys), asked(this, options={"cuda_graphs": False}, **keys), folder / name)
    still = asked(
        argparse.Namespace(**{**vars(own), "dropout": 0.1}), preset="tuned", optimizer={"learning_rate": 1e-12}
    )
    session = Session(still, folder / "dropout")
    losses = session.losses(STEPS, same_batch=True)
    session.stop()
    found["dropout"] = {"steps": STEPS, "distinct_losses": len(set(losses))}
    large = argparse.Namespace(**{**vars(own), "model": given.model or "base"})
    return found | {"speed": speed(large, given.rounds, folder)}


def compared(recorded: Any, plain: Any, folder: Path) -> Json:
    """The largest relative difference of a step's loss, over STEPS steps of both, each after the same warm-up."""
    seen = []
    for name, trial in (("recorded", recorded), ("plain", plain)):
        session = Session(trial, folder / name)
        seen.append(session.losses(STEPS))
        replayed = session.backend.facts().settings["cuda_graphs"]
        session.stop()
        if name == "recorded":
            graphs_replayed = replayed
    worst = max(abs(one - other) / abs(other) for one, other in zip(*seen, strict=True))
    return {"graphs_replayed": graphs_replayed, "worst_difference": worst, "last_loss": seen[0][-1]}


def speed(given: argparse.Namespace, number: int, folder: Path) -> Json:
    """Of a small batch in bfloat16, where launching is what takes time; and PyTorch's memory with both side by side."""
    import torch

    sides, reserved = [], []
    for name, options in (("recorded", {}), ("not recorded", {"cuda_graphs": False})):
        sides.append(Session(asked(given, preset="tuned", options=options), folder / name))
        reserved.append(torch.cuda.memory_reserved() if torch.cuda.is_available() else None)
    found = rounds(number, sides[0].rate, sides[1].rate)
    for session in sides:
        session.stop()
    return {"batch": given.batch, "reserved_bytes_after_each": reserved, **found}


def probe(given: argparse.Namespace, folder: Path) -> Json:
    """Per precision, as a rank of a study with `probe: true`."""
    found: Json = {}
    computes = ["float32", "bfloat16"] if given.any_device else ["float32", "tf32", "float16", "bfloat16"]
    own = argparse.Namespace(**{**vars(given), "model": "tiny", "batch": 4, "length": 32})
    for compute in computes:
        session = Session(asked(own, compute=compute), folder / compute)
        read: Any = probing.probe(session.backend, compute, 0, None, SYSTEM_CLOCK)  # type: ignore[arg-type]
        found[compute] = {
            **msgspec.to_builtins(read),
            "share_of_peak": read.flop_per_s / session.peak if session.peak else None,
        }
        session.stop()
    return found


def horovod(given: argparse.Namespace, folder: Path) -> Json:
    """What the set-up would do; it builds nothing."""
    return {
        "gpu_operations": nccl.gpu_operations(),
        "why_for_cpus": nccl.why_no_gpu(),
        "toolkit": str(nccl.toolkit()),
        "torch_cuda": nccl.torch_cuda(),
    }
