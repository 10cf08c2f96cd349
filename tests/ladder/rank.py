"""One rank of torch_ddp that sleeps where it is told to: `python rank.py FOLDER RANK`. FOLDER/<variant>/trial.json."""

import sys
import time
from pathlib import Path

from backends import torch_ddp
from bench import journal, worker
from bench.launch.world import FileRendezvous
from bench.protocols import World
from bench.records import Phase

SLEEP_S = 0.1


class AsItIs(torch_ddp.Backend):
    """Nothing is added."""


class SlowExchange(torch_ddp.Backend):
    def await_exchange(self):
        super().await_exchange()
        time.sleep(SLEEP_S)


class SlowCompute(torch_ddp.Backend):
    """Rank 1 is slow, in full and in local steps."""

    def _step(self, batch, exchange):
        if self.world.rank == 1:
            time.sleep(SLEEP_S)
        super()._step(batch, exchange)


VARIANTS = {"plain": AsItIs, "exchange": SlowExchange, "compute": SlowCompute, "input": AsItIs}


def main(folder: Path, rank: int) -> None:
    for variant, kind in VARIANTS.items():
        own = folder / variant
        assignment = worker.read_assignment(own)
        world = World(
            rank=rank, size=2, local_rank=rank, local_size=2, local_replicas=1, launcher="local", address="127.0.0.1",
            network_interface=None, rendezvous_port=0, rendezvous=FileRendezvous(own / "rendezvous"),
        )  # fmt: skip
        with journal.Journal(own, rank) as lines:
            lines.write(worker.rank_info(world))
            begun_ns = time.perf_counter_ns()
            lines.write(Phase(name="start", at_ns=begun_ns))
            worker.run_rank(kind(), assignment, world, lines, begun_ns)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
