"""Which all-reduce NCCL runs: what it was told before it started, and what its own log says of each one that it starts.

For every framework; imports none.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.protocols import World

FORCED = re.compile(r"allreduce:(ring|tree)")
# On rank 0 only, where NCCL_DEBUG_SUBSYS has TUNING. 2.20 numbers algorithm and protocol and names no operation, 2.23
# names the operation, 2.26 names all three and tells the channels.
SAID = re.compile(
    r"(?:(?P<operation>\w+): +)?(?P<bytes>\d+) Bytes -> Algo (?P<algorithm>\w+) proto (?P<protocol>\w+)"
    r"(?: time [\d.]+)?(?: channel\{Lo\.\.Hi\}=\{(?P<low>\d+)\.\.(?P<high>\d+)\})?"
)
VERSION = re.compile(r"NCCL version (\d+\.\d+\.\d+)")
# In the order of NCCL's own numbers (nccl_tuner.h).
ALGORITHMS = ("tree", "ring", "collnet_direct", "collnet_chain", "nvls", "nvls_tree", "pat")
PROTOCOLS = ("ll", "ll128", "simple")
NAMES = {"collnetdirect": "collnet_direct", "collnetchain": "collnet_chain", "nvlstree": "nvls_tree"}
MOST_OF_IT = 0.99  # of the bytes; barriers and the like are all-reduces of a few bytes, and may go another way
_MESSAGE = "nccl_log"
_own: list[Path] = []  # logs that this process made


class Chosen(NamedTuple):
    """One operation as NCCL logs it; `operation` None: that version does not tell which."""

    operation: str | None
    bytes: int
    algorithm: str
    protocol: str
    channels: int | None


class Heard(NamedTuple):
    """`version` None: the log does not tell."""

    algorithm: str
    evidence: str
    version: str | None


def forced() -> str | None:
    """The algorithm that NCCL_ALGO leaves for an all-reduce; None: NCCL chooses."""
    found = FORCED.fullmatch(os.environ.get("NCCL_ALGO", ""))
    return found[1] if found else None


def listen() -> None:
    """Where an algorithm is forced, NCCL writes what it starts to a file of this rank. Before NCCL is first used.

    One line for each operation, on rank 0, within the measured steps: to see what NCCL chooses by itself is not worth
    that, to prove a choice is.
    """
    if forced() is not None:
        descriptor, path = tempfile.mkstemp(prefix="nccl-", suffix=".log")
        os.close(descriptor)
        _own.append(Path(path))
        os.environ.update(NCCL_DEBUG="INFO", NCCL_DEBUG_SUBSYS="INIT,ENV,TUNING", NCCL_DEBUG_FILE=path)


def forget() -> None:
    """Removes what `listen` made."""
    while _own:
        path = _own.pop()
        path.unlink(missing_ok=True)
        if os.environ.get("NCCL_DEBUG_FILE") == str(path):
            del os.environ["NCCL_DEBUG_FILE"]


def heard(world: World) -> Heard:
    """After a step; every rank calls it. Rank 0 reads what NCCL wrote and tells the others what it makes of it."""
    if world.rank == 0:
        log = _own[-1].read_text(errors="replace") if _own else ""
        found = VERSION.search(log)
        told = algorithm_in(log) if _own else ("unknown", "NCCL chooses for each size, and nobody watches it")
        world.rendezvous.publish(_MESSAGE, "\n".join((*told, found[1] if found else "")))
    algorithm, evidence, version = world.rendezvous.wait_for(_MESSAGE).split("\n")
    return Heard(algorithm, evidence, version or None)


def chosen(log: str) -> list[Chosen]:
    """Every operation in NCCL's log, in its order.

    >>> chosen("NCCL INFO AllReduce: 4194304 Bytes -> Algo 1 proto 2 time 2860.208008")
    [Chosen(operation='allreduce', bytes=4194304, algorithm='ring', protocol='simple', channels=None)]
    """
    return [_chosen(found) for line in log.splitlines() if (found := SAID.search(line))]


def _chosen(found: re.Match[str]) -> Chosen:
    operation, high = found["operation"], found["high"]
    return Chosen(
        operation=operation.lower() if operation else None,
        bytes=int(found["bytes"]),
        algorithm=_named(found["algorithm"], ALGORITHMS),
        protocol=_named(found["protocol"], PROTOCOLS),
        channels=None if high is None else int(high) - int(found["low"]) + 1,
    )


def _named(text: str, names: Sequence[str]) -> str:
    """NCCL's number or name in our spelling."""
    if text.isdigit():
        return names[int(text)] if int(text) < len(names) else f"number {text}"
    low = text.lower()
    return NAMES.get(low, low)


def algorithm_in(log: str) -> tuple[str, str]:
    """(name, evidence) of the all-reduces, from what NCCL wrote.

    Forced, all of them must have the same name; left to choose, the one that carried nearly all bytes counts.

    >>> algorithm_in("NCCL INFO AllReduce: 4194304 Bytes -> Algo TREE proto SIMPLE channel{Lo..Hi}={0..1}")[0]
    'tree'
    """
    reduced = [each for each in chosen(log) if each.operation in ("allreduce", None)]
    told = f"NCCL_ALGO is {os.environ.get('NCCL_ALGO')}" if forced() else "NCCL chooses for each size"
    if not reduced:
        return "unknown", f"{told}; NCCL's log names no algorithm of an all-reduce"
    carried: Counter[str] = Counter()
    for each in reduced:
        carried[each.algorithm] += each.bytes
    name, most = carried.most_common(1)[0]
    said = f"{told}; NCCL's log has {_summary(reduced)}"
    alone = len(carried) == 1 if forced() else most >= MOST_OF_IT * carried.total()
    return (name if alone else "unknown"), said


def _summary(reduced: Sequence[Chosen]) -> str:
    """Per algorithm and protocol: how many, of which sizes, on how many channels."""
    groups: dict[tuple[str, str], list[Chosen]] = {}
    for each in reduced:
        groups.setdefault((each.algorithm, each.protocol), []).append(each)
    return "; ".join(_of_group(*key, members) for key, members in sorted(groups.items()))


def _of_group(algorithm: str, protocol: str, members: Sequence[Chosen]) -> str:
    sizes = [each.bytes for each in members]
    size = f"{min(sizes):,}" if min(sizes) == max(sizes) else f"{min(sizes):,} to {max(sizes):,}"
    channels = sorted({each.channels for each in members if each.channels is not None})
    on = f" on {channels[0]} to {channels[-1]} channels" if channels else ""
    unnamed = "" if members[0].operation else " (this NCCL does not say of which operation)"
    return f"{len(members)} of {size} bytes by {algorithm}, protocol {protocol}{on}{unnamed}"
