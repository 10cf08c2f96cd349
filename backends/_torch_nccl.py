"""Which all-reduce NCCL runs: what it was told before it started, and what it says of each one that it starts."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from bench.protocols import World

FORCED = re.compile(r"allreduce:(ring|tree)")
# NCCL says it on rank 0 only, once for each size, when NCCL_DEBUG_SUBSYS has TUNING.
SAID = re.compile(r"AllReduce: \d+ Bytes -> Algo (\w+)", re.IGNORECASE)
_MESSAGE = "nccl_all_reduce"
_own: list[Path] = []  # logs that this process made


def forced() -> str | None:
    """The algorithm that NCCL_ALGO leaves for an all-reduce; None: NCCL chooses."""
    found = FORCED.fullmatch(os.environ.get("NCCL_ALGO", ""))
    return found[1] if found else None


def listen() -> None:
    """Lets NCCL write to a file what it starts. Before the process group is made, where an algorithm is forced."""
    if forced() is not None and "NCCL_DEBUG_FILE" not in os.environ:
        descriptor, path = tempfile.mkstemp(prefix="nccl-", suffix=".log")
        os.close(descriptor)
        _own.append(Path(path))
        os.environ.update(NCCL_DEBUG="INFO", NCCL_DEBUG_SUBSYS="INIT,ENV,TUNING", NCCL_DEBUG_FILE=path)


def forget() -> None:
    """Removes what `listen` made."""
    while _own:
        _own.pop().unlink(missing_ok=True)


def heard(world: World) -> tuple[str, str]:
    """(name, evidence) after a step: every rank calls it. Rank 0 reads what NCCL wrote and tells the others."""
    if forced() is None:
        return "unknown", "NCCL chooses for each size, and is not observed"
    if world.rank == 0:
        path = Path(os.environ["NCCL_DEBUG_FILE"])
        world.rendezvous.publish(_MESSAGE, path.read_text(errors="replace") if path.is_file() else "")
    return algorithm_in(world.rendezvous.wait_for(_MESSAGE))


def algorithm_in(log: str) -> tuple[str, str]:
    """(name, evidence) from what NCCL wrote.

    >>> algorithm_in("NCCL INFO AllReduce: 4194304 Bytes -> Algo TREE proto SIMPLE channel{Lo..Hi}={0..1}")[0]
    'tree'
    """
    lines = [line.strip() for line in log.splitlines() if SAID.search(line)]
    names = {found[1].lower() for line in lines if (found := SAID.search(line))}
    told = f"NCCL_ALGO is {os.environ.get('NCCL_ALGO')}"
    if not lines:
        return "unknown", f"{told}; NCCL's log names no algorithm of an all-reduce"
    if len(names) > 1:
        return "unknown", f"{told}; NCCL's log names {', '.join(sorted(names))}"
    return names.pop(), f"{told}; NCCL's log has {lines[-1]!r}"
