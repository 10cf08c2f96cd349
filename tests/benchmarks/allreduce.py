"""What our own all-reduces cost beside Gloo's: the same tensors, in turn, in the same processes over loopback.

    python -P tests/benchmarks/allreduce.py [--ranks 2 4 8] [--rounds 15]

An operation takes as long as its slowest rank. Per size the median over rounds, and the median of the ratios within a
round: speed of our ring / Gloo's (the aim: at least 0.95 from 1 MiB to 64 MiB), and of our tree / our ring (the aim: at
least 3 at 4 KiB with 8 ranks). With more ranks than cores these are times of the copying, not of a network.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from torch import distributed

from backends._torch_allreduce import ALGORITHMS, Channel, all_reduce

KIB, MIB = 1024, 1024 * 1024
SIZES = (4 * KIB, 64 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB)
BATCH_BYTES = 8 * MIB  # small operations are timed in batches, so that one batch moves about so much
MOST = 20
WARM = 2
RING_AIM, TREE_AIM = 0.95, 3.0


def durations(size_bytes: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of one operation of each kind in each round, on the slowest rank."""
    channel, tensor = Channel(distributed.new_group(backend="gloo")), torch.ones(size_bytes // 4)
    kinds: dict[str, Callable[[], object]] = {"gloo": lambda: distributed.all_reduce(tensor)}
    for name in ALGORITHMS:
        kinds[name] = lambda name=name: all_reduce(tensor, name, channel)
    batch = max(1, min(MOST, BATCH_BYTES // size_bytes))
    seen: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(rounds + WARM):
        for name in sorted(kinds, reverse=bool(number % 2)):
            tensor.fill_(0.0)
            distributed.barrier()
            began = time.perf_counter()
            for _ in range(batch):
                kinds[name]()
            took = torch.tensor((time.perf_counter() - began) / batch, dtype=torch.float64)
            distributed.all_reduce(took, op=distributed.ReduceOp.MAX)
            if number >= WARM:
                seen[name].append(took.item())
    return seen


def row(ranks: int, size_bytes: int, seen: dict[str, list[float]]) -> str:
    """One line of the table."""

    def speed(of: str, beside: str) -> float:
        return statistics.median(other / own for own, other in zip(seen[of], seen[beside], strict=True))

    shown = f"{size_bytes // MIB} MiB" if size_bytes >= MIB else f"{size_bytes // KIB} KiB"
    times = "".join(f"{statistics.median(seen[name]) * 1e6:12.0f}" for name in ("gloo", *ALGORITHMS))
    ring, tree = speed("ring", "gloo"), speed("tree", "ring")
    short = (size_bytes >= MIB and ring < RING_AIM) or ((ranks, size_bytes) == (8, 4 * KIB) and tree < TREE_AIM)
    return f"{ranks:>5}{shown:>9}{times}{ring:14.2f}{tree:14.2f}{'  below the aim' if short else ''}"


def rank_main(folder: Path, rank: int, ranks: int, rounds: int) -> None:
    """One rank; the first prints."""
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / f"store-{ranks}"), ranks)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    for size_bytes in SIZES:
        seen = durations(size_bytes, rounds)
        if rank == 0:
            print(row(ranks, size_bytes, seen), flush=True)
    distributed.destroy_process_group()


def fork(main: Callable[[int], None], ranks: int) -> bool:
    """Runs `main` in so many processes; whether all came to their end."""
    children = []
    for rank in range(ranks):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                main(rank)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(status)
        children.append(child)
    endings = [os.waitpid(child, 0)[1] for child in children]
    return not any(endings)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", nargs="+", type=int, default=[2, 4, 8])
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    heads = "".join(f"{name.replace('halving_doubling', 'halving'):>9} us" for name in ("gloo", *ALGORITHMS))
    print(f"{'ranks':>5}{'size':>9}{heads}{'ring / gloo':>14}{'tree / ring':>14}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for number in given.ranks:
            if not fork(lambda rank, n=number: rank_main(Path(scratch), rank, n, given.rounds), number):
                sys.exit(1)
