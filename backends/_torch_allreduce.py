"""Our own all-reduce over point-to-point sends of torch.distributed (Gloo): sums in place, on CPU tensors.

Every rank ends with the same bits, because each element's sum is made by one rank (in halving_doubling by all alike),
in the order given below, and passed on. Each addition rounds to the tensor's own dtype. Any number of ranks, any
length: what is empty is neither sent nor awaited. Costs as in R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of
Collective Communication Operations in MPICH", IJHPCA 19 (2005), 49-66; n bytes, p ranks, for the busiest rank:

ring               2 (p-1) rounds, sends 2 n (p-1) / p
tree               2 ceil(log2 p) rounds, sends n ceil(log2 p)
halving_doubling   2 log2 p rounds, sends 2 n (p-1) / p; where p is no power of two, 2 rounds and n more
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

# A message travels in parts, so that one is added up while the next is on its way: four, unless they get so small
# that the cost of a call counts (some 40 us), or so large that the cache does not hold them. The ring's messages are
# 1 / p of the tensor already and its links are never idle: there, more parts than the cache asks for cost up to 12 %.
PARTS = 4
LEAST_BYTES = 1024 * 1024
MOST_BYTES = 4 * 1024 * 1024
AHEAD = 4  # receives that are posted before their data comes: with fewer, senders wait for them


@dataclass(slots=True)
class Traffic:
    """What this rank has sent, counted at each send: the evidence of which algorithm ran."""

    collectives: int = 0
    messages: int = 0
    bytes: int = 0


class Channel:
    """Ordered messages between the ranks of one group, for one thread.

    Between two ranks the messages of one tag arrive in the order in which they were sent. A channel uses the tags
    `tag` (for what is to be added) and `tag` + 1 (for what is final), so that both can be awaited at once.
    """

    def __init__(self, group: Any, tag: int = 0) -> None:
        self.rank, self.size = group.rank(), group.size()
        self.traffic = Traffic()
        # Without torch's dispatcher on the way, which would cost a small message a tenth of its time.
        self._group, self._tag = group._get_backend(torch.device("cpu")), tag
        self._sending: list[Any] = []
        self._buffers: dict[Any, list[Any]] = {}

    def send(self, part: Any, rank: int, final: bool = False) -> None:
        """Returns at once. `part` must not change before an answer that needs it has come, or before `finish`."""
        self._sending.append(self._group.send([part], rank, self._tag + final))
        self.traffic.messages += 1
        self.traffic.bytes += part.nbytes

    def replace(self, parts: list[Any], rank: int) -> Iterator[Any]:
        """Yields each part when the final values from `rank` are in it; from now on all parts are open to them."""
        works = [self._group.recv([part], rank, self._tag + 1) for part in parts]
        return (part for part, work in zip(parts, works, strict=True) if work.wait())

    def add(self, parts: list[Any], rank: int) -> Iterator[Any]:
        """Yields each part when what `rank` sent for it is added to it; the first are awaited from now on."""
        if not parts:
            return iter(())
        buffers = self._scratch(parts[0].dtype, rank)
        places = [buffers[number % AHEAD][: len(part)] for number, part in enumerate(parts)]
        works = [self._group.recv([place], rank, self._tag) for place in places[:AHEAD]]
        return self._add(parts, places, works, rank)

    def _add(self, parts: list[Any], places: list[Any], works: list[Any], rank: int) -> Iterator[Any]:
        for number, (part, place) in enumerate(zip(parts, places, strict=True)):
            works[number].wait()
            yield part.add_(place)
            if len(works) < len(parts):
                works.append(self._group.recv([places[len(works)]], rank, self._tag))

    def _scratch(self, dtype: Any, rank: int) -> list[Any]:
        """Places for AHEAD parts from `rank`, kept: fresh memory would cost more than the sums."""
        if (dtype, rank) not in self._buffers:
            length = MOST_BYTES // dtype.itemsize
            self._buffers[dtype, rank] = list(torch.empty(AHEAD * length, dtype=dtype).split(length))
        return self._buffers[dtype, rank]

    def finish(self) -> None:
        """Returns when everything sent has left its tensors."""
        for work in self._sending:
            work.wait()
        self._sending.clear()


def segments(part: Any, wanted: int = PARTS) -> list[Any]:
    """Views of its parts, in order; none where there is nothing."""
    length = part.nbytes
    if length <= LEAST_BYTES:
        return [part] if length else []
    size = min(MOST_BYTES, max(LEAST_BYTES, -(-length // wanted)))
    return list(part.split(-(-size // part.itemsize)))


def ring(tensor: Any, channel: Channel) -> None:
    """Chunk c is summed around the ring: ((x[c] + x[c+1]) + x[c+2]) + ..., ranks modulo p; then it goes round again.

    Pipelined: a segment is sent on as soon as it is added up, across the borders of rounds.
    """
    rank, size = channel.rank, channel.size
    left, right = (rank - 1) % size, (rank + 1) % size
    chunks = [segments(chunk, 1) for chunk in tensor.tensor_split(size)]
    backwards = [chunks[(rank - back) % size] for back in range(size)]
    sums = channel.add([segment for chunk in backwards[1:] for segment in chunk], left)
    # Open before its sum can come: that needs this rank's own share, which is sent by then.
    finals = channel.replace([segment for chunk in backwards[:-1] for segment in chunk], left)
    for segment in backwards[0]:
        channel.send(segment, right)
    passed = sum(map(len, backwards[1:-1]))
    for number, segment in enumerate(sums):
        channel.send(segment, right, final=number >= passed)
    passed = sum(map(len, backwards[:-2]))
    for number, segment in enumerate(finals):
        if number < passed:
            channel.send(segment, right, final=True)


def tree(tensor: Any, channel: Channel) -> None:
    """A binomial tree with root 0: a rank adds its children's sums to its own in the order of their distance 1, 2, 4,
    ..., and sends the sum to its parent; then the whole sum comes down. Pipelined in segments.
    """
    rank, parts = channel.rank, segments(tensor)
    reach = rank & -rank or channel.size  # a rank's subtree: itself and the ranks up to rank + reach
    distances = [1 << bit for bit in range(channel.size.bit_length()) if 1 << bit < reach]
    children = [rank + distance for distance in distances if rank + distance < channel.size]
    sums = [channel.add(parts, child) for child in children]
    finals = channel.replace(parts, rank - reach) if rank else iter(parts)
    for part in parts:
        for child in sums:
            next(child)
        if rank:
            channel.send(part, rank - reach)
        else:
            _send_each(part, channel, children)
    for part in finals if rank else ():
        _send_each(part, channel, children)


def _send_each(part: Any, channel: Channel, children: list[int]) -> None:
    for child in reversed(children):  # the largest subtree first
        channel.send(part, child, final=True)


def halving_doubling(tensor: Any, channel: Channel) -> None:
    """Pairs at distance 1, 2, 4, ... exchange halves and add, then hand the sums back in the opposite order.

    The first 2 (p - q) ranks, q the largest power of two up to p, first add up in pairs: the even one takes part,
    the odd one waits for the result. A sum is then a binary tree over neighbours: (0 + 1) + (2 + 3) and so on.
    """
    rank, size = channel.rank, channel.size
    power = 1 << (size.bit_length() - 1)
    pairs = size - power
    if rank < 2 * pairs and rank % 2:
        finals = channel.replace(segments(tensor), rank - 1)
        _send(tensor, channel, rank - 1)
        return _complete(finals)
    if rank < 2 * pairs:
        _complete(channel.add(segments(tensor), rank + 1))
    _halve_and_double(tensor, channel, [place * 2 if place < pairs else place + pairs for place in range(power)])
    if rank < 2 * pairs:
        _send(tensor, channel, rank + 1, final=True)
    return None


def _halve_and_double(tensor: Any, channel: Channel, ranks: list[int]) -> None:
    """Among `ranks`, as many as a power of two."""
    place = ranks.index(channel.rank)
    mine, distance = tensor, 1
    handed: list[tuple[Any, Iterator[Any], int]] = []
    while distance < len(ranks):
        other = ranks[place ^ distance]
        lower, upper = mine.tensor_split(2)
        mine, theirs = (upper, lower) if place & distance else (lower, upper)
        sums = channel.add(segments(mine), other)
        _send(theirs, channel, other)
        _complete(sums)
        handed.append((mine, channel.replace(segments(theirs), other), other))
        distance *= 2
    for mine, finals, other in reversed(handed):
        _send(mine, channel, other, final=True)
        _complete(finals)


def _send(part: Any, channel: Channel, rank: int, final: bool = False) -> None:
    for segment in segments(part):
        channel.send(segment, rank, final)


def _complete(coming: Iterator[Any]) -> None:
    for _ in coming:
        pass


ALGORITHMS: dict[str, Callable[[Any, Channel], None]] = {
    "ring": ring,
    "tree": tree,
    "halving_doubling": halving_doubling,
}


def all_reduce(tensor: Any, algorithm: str, channel: Channel) -> None:
    """Sums `tensor` (any shape, contiguous, on the CPU) over the channel's ranks, in place; returns when it is done."""
    channel.traffic.collectives += 1
    if channel.size > 1:
        with torch.no_grad():
            ALGORITHMS[algorithm](tensor.view(-1), channel)
            channel.finish()
