"""A DDP communication hook that averages each bucket with one of our own all-reduces, while the backward pass runs.

exchange = Exchange("ring", torch.float32)          # on every rank, in the same order as other groups are made
wrapped.register_comm_hook(exchange, average_bucket)
...
exchange.stop()                                     # before the process group is destroyed
"""

# Without `from __future__ import annotations`: DDP compares the annotations of a hook with types, not with texts.

import queue
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed

from backends._torch_allreduce import Channel, Traffic, all_reduce
from bench.errors import TrialError

CODE = {
    "ring": "our pipelined ring",
    "tree": "our binomial tree",
    "halving_doubling": "our recursive halving and doubling",
}
STOP_S = 5.0


class Exchange:
    """Averages tensors over all ranks, one after the other, in the order in which they are handed over.

    DDP hands its buckets over in the same order on every rank, and one thread sends and receives over a process
    group that nobody else uses: buckets in flight cannot mix with each other, nor with DDP's own messages.

    The values are divided by the number of ranks first, in their own dtype, as DDP does; then rounded to `wire` for
    the way. Every addition rounds to `wire`, and the average is handed back in the tensor's own dtype.

    observer   is called with each tensor as it goes on its way to be averaged, by the thread that sends it
    """

    def __init__(self, algorithm: str, wire: Any = torch.float32) -> None:
        if algorithm not in CODE:
            raise TrialError(f"our own all-reduces are {', '.join(CODE)}, not {algorithm}")
        if distributed.get_backend() != "gloo":
            raise TrialError(f"{CODE[algorithm]} sends CPU tensors over Gloo, not over {distributed.get_backend()}")
        self._channel = Channel(distributed.new_group(backend="gloo"))
        self.algorithm, self._wire = algorithm, wire
        self.observer: Callable[[Any], object] | None = None
        self._waiting: queue.SimpleQueue[tuple[Callable[[Any], None], Any, Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True, name="all-reduce")
        self._start()

    def _start(self) -> None:
        """The thread adds up alone: threads of its own would take the cores from the backward pass."""
        threads = torch.get_num_threads()
        self._thread.start()
        ready = torch.futures.Future()
        self._waiting.put((lambda _: torch.set_num_threads(1), None, ready))
        ready.wait()
        torch.set_num_threads(threads)  # what the thread has set for itself is every later thread's default as well

    def average(self, tensor: Any) -> Any:
        """A future of the same tensor, holding the average. Returns at once; hands the tensor over until then."""
        return self._hand_over(self._average, tensor)

    def add(self, tensor: Any) -> Any:
        """The same of the sum, on its way in the tensor's own dtype."""
        return self._hand_over(self._sum, tensor)

    def _hand_over(self, operation: Callable[[Any], None], tensor: Any) -> Any:
        done = torch.futures.Future()
        self._waiting.put((operation, tensor, done))
        return done

    def stop(self) -> None:
        """Ends the thread after what was handed over; a thread that waits for a rank that is gone is left behind."""
        self._waiting.put(None)
        self._thread.join(STOP_S)

    @property
    def traffic(self) -> Traffic:
        """What this rank has sent so far."""
        return self._channel.traffic

    def evidence(self) -> str:
        """The code that ran and what it has sent, for the record."""
        sent = self.traffic
        return (
            f"{CODE[self.algorithm]} over point-to-point sends of Gloo: this rank has sent {sent.messages} messages, "
            f"{sent.bytes} bytes, in {sent.collectives} all-reduces"
        )

    def _work(self) -> None:
        while (task := self._waiting.get()) is not None:
            operation, tensor, done = task
            try:
                operation(tensor)
            except Exception as error:  # the future carries it to the thread that waits
                done.set_exception(error)
            else:
                done.set_result(tensor)

    def _average(self, tensor: Any) -> None:
        with torch.no_grad():
            tensor.div_(self._channel.size)
            on_the_way = tensor.to(self._wire)
            if self.observer is not None:
                self.observer(on_the_way)
            self._sum(on_the_way)
            if on_the_way is not tensor:
                tensor.copy_(on_the_way)

    def _sum(self, tensor: Any) -> None:
        all_reduce(tensor, self.algorithm, self._channel)


def average_bucket(exchange: Exchange, bucket: distributed.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """The hook."""
    return exchange.average(bucket.buffer())
