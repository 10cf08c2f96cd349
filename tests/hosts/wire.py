"""One rank, under any launcher: times all-reduces of float32 ones, alone, and writes what it saw to FOLDER/wire-RANK.json.

python -P wire.py FOLDER torch|horovod BYTES REPEATS
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.launch.world import place


@dataclass(frozen=True, slots=True)
class Stack:
    """What one rank of a stack can do."""

    barrier: Callable[[], object]
    all_reduce: Callable[[], object]
    leave: Callable[[], object]


def in_torch(folder: Path, rank: int, size: int, elements: int) -> Stack:
    import torch
    from torch import distributed

    os.environ["GLOO_SOCKET_IFNAME"] = "eth0"
    store = distributed.FileStore(str(folder / "store"), size)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    tensor = torch.ones(elements)
    return Stack(distributed.barrier, lambda: distributed.all_reduce(tensor), distributed.destroy_process_group)


def in_horovod(folder: Path, rank: int, size: int, elements: int) -> Stack:
    import horovod.torch as hvd
    import torch

    hvd.init()
    tensor = torch.ones(elements)
    return Stack(hvd.barrier, lambda: hvd.allreduce_(tensor, op=hvd.Sum, name="wire"), hvd.shutdown)


def main(folder: Path, name: str, size_bytes: int, repeats: int) -> None:
    _, rank, size, _, _ = place(os.environ)
    start = {"torch": in_torch, "horovod": in_horovod}[name]
    stack = start(folder, rank, size, size_bytes // 4)
    durations = []
    for _ in range(repeats + 1):
        stack.barrier()
        began = time.perf_counter_ns()
        stack.all_reduce()
        durations.append(time.perf_counter_ns() - began)
    seen = {"host": socket.gethostname(), "durations_ns": durations[1:]}
    (folder / f"wire-{rank}.json").write_text(json.dumps(seen))
    stack.barrier()
    stack.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
