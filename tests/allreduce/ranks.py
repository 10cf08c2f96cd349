"""Forks ranks that meet over Gloo and writes what each saw: python -P ranks.py FOLDER [SCENARIO-SIZE ...]

One framework import for all of them.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from backends import _torch_allreduce as ours
from backends._torch_allreduce_hook import Exchange, average_bucket

LENGTHS = (0, 1, 2, 3, 5, 7, 1000, 3001)
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def sums(rank: int, size: int, store: Any) -> list[Any]:
    """Per algorithm, length and dtype: [name, whether the sum of small integers is exact, bits of a sum of fractions]."""
    ours.LEAST_BYTES, ours.MOST_BYTES = 64, 256  # so that short tensors travel in many parts
    channel = ours.Channel(distributed.new_group(backend="gloo"))
    seen = []
    for algorithm in ours.ALGORITHMS:
        for length in LENGTHS:
            for dtype in DTYPES:
                source = torch.Generator().manual_seed(length)
                whole = torch.randint(-8, 9, (size, length), generator=source).to(dtype)
                mine = whole[rank].clone()
                ours.all_reduce(mine, algorithm, channel)
                fractions = torch.randn(size, length, generator=source).to(dtype)[rank].clone()
                ours.all_reduce(fractions, algorithm, channel)
                name = f"{algorithm} {length} {dtype}"
                seen.append([name, torch.equal(mine, whole.sum(0)), fractions.float().tolist()])
    return seen


def order(rank: int, size: int, store: Any) -> dict[str, Any]:
    """The sum of values of which float32 loses some, and what the rank sent for it."""
    seen = {}
    for algorithm in ours.ALGORITHMS:
        channel = ours.Channel(distributed.new_group(backend="gloo"))
        tensor = torch.full((4,), [1e8, 1.0, -1e8, 1.0][rank])
        ours.all_reduce(tensor, algorithm, channel)
        seen[algorithm] = [tensor.tolist(), channel.traffic.messages, channel.traffic.bytes]
    return seen


def hook(rank: int, size: int, store: Any) -> dict[str, Any]:
    """Gradients of a model of six tensors in as many buckets, of three steps; and whether the hook waits."""
    seen: dict[str, Any] = {}
    for algorithm, wire in [
        *((name, torch.float32) for name in ours.ALGORITHMS),
        *(("ring", low) for low in DTYPES[1:]),
    ]:
        exchange = Exchange(algorithm, wire)
        seen[f"{algorithm} {wire}"] = _steps(rank, exchange)
        exchange.stop()
    exchange = Exchange("ring")
    tensor = torch.full((5,), rank + 1.0)
    if rank == 0:
        averaged = exchange.average(tensor)
        seen["early"] = averaged.done()
        store.set("handed over", "yes")
    else:
        store.wait(["handed over"])
        averaged = exchange.average(tensor)
    seen["late"] = averaged.wait().tolist()
    seen["evidence"] = exchange.evidence()
    with ThreadPoolExecutor(1) as later:
        seen["threads"] = [torch.get_num_threads(), later.submit(torch.get_num_threads).result()]
    exchange.stop()
    return seen


def _steps(rank: int, exchange: Exchange) -> list[list[list[float]]]:
    class Weights(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ParameterList(torch.zeros(length) for length in (3, 300, 1, 40, 7, 2000))

        def forward(self, step: int) -> Any:
            return sum((part * (number + 1 + step)).sum() * (rank + 1) for number, part in enumerate(self.parts))

    model = Weights()
    wrapped = DistributedDataParallel(model, bucket_cap_mb=1e-5)
    wrapped.register_comm_hook(exchange, average_bucket)
    seen = []
    for step in range(3):
        model.zero_grad()
        wrapped(step).backward()
        seen.append([[part.grad.min().item(), part.grad.max().item()] for part in model.parts])
    return seen


SCENARIOS: dict[str, Callable[[int, int, Any], Any]] = {"sums": sums, "order": order, "hook": hook}


def rank_main(folder: Path, scenario: str, rank: int, size: int) -> None:
    """One rank, in its own process."""
    torch.set_num_threads(2)
    store = distributed.FileStore(str(folder / f"store-{scenario}-{size}"), size)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    seen = SCENARIOS[scenario](rank, size, store)
    (folder / f"{scenario}-{size}-{rank}.json").write_text(json.dumps(seen))
    distributed.destroy_process_group()


def main(folder: Path, groups: list[str]) -> int:
    """0 when every rank came to its end."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    failed = 0
    for group in groups:
        scenario, size = group.split("-")[0], int(group.split("-")[1])
        children = []
        for rank in range(size):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    rank_main(folder, scenario, rank, size)
                    status = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    sys.stderr.flush()
                    os._exit(status)
            children.append(child)
        failed += sum(os.waitpid(child, 0)[1] != 0 for child in children)
    return failed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
