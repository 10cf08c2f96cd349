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
from pathlib import Path
from typing import Any

from bench.launch.world import place


def torch_all_reduce(folder: Path, rank: int, size: int, elements: int) -> tuple[Callable[[], None], Callable[[], Any]]:
    import torch
    from torch import distributed

    os.environ["GLOO_SOCKET_IFNAME"] = "eth0"
    store = distributed.FileStore(str(folder / "store"), size)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    tensor = torch.ones(elements)
    return distributed.barrier, lambda: distributed.all_reduce(tensor)


def horovod_all_reduce(
    folder: Path, rank: int, size: int, elements: int
) -> tuple[Callable[[], None], Callable[[], Any]]:
    import horovod.torch as hvd
    import torch

    hvd.init()
    tensor = torch.ones(elements)
    return hvd.barrier, lambda: hvd.allreduce_(tensor, op=hvd.Sum, name="wire")


def main(folder: Path, stack: str, size_bytes: int, repeats: int) -> None:
    _, rank, size, _, _ = place(os.environ)
    start = {"torch": torch_all_reduce, "horovod": horovod_all_reduce}[stack]
    barrier, all_reduce = start(folder, rank, size, size_bytes // 4)
    durations = []
    for _ in range(repeats + 1):
        barrier()
        began = time.perf_counter_ns()
        all_reduce()
        durations.append(time.perf_counter_ns() - began)
    seen = {"host": socket.gethostname(), "rank": rank, "size": size, "durations_ns": durations[1:]}
    (folder / f"wire-{rank}.json").write_text(json.dumps(seen))
    barrier()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
