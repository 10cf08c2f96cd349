"""Which of the GPUs that a rank sees is its own, and who else is on it. For every framework; imports none."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.errors import TrialError
from bench.protocols import World
from bench.records import Trial


class Place(NamedTuple):
    """The ordinal among the GPUs that this rank sees, and how many ranks of this host are on the same one."""

    ordinal: int
    ranks: int


def place(world: World, identities: Sequence[str | None], environ: Mapping[str, str] = os.environ) -> Place:
    """By local rank. All ranks of a host call it, with what tells apart the GPUs that each of them sees.

    A launcher may have given each rank one GPU of its own to see: that is no sharing, and the identities show it.
    Raises TrialError where ranks would share a GPU and the trial does not say that they may.
    """
    count = len(identities)
    if world.local_size <= count:
        return Place(world.local_rank, 1)
    if count > 1 and not world.share_devices:
        raise TrialError(_refusal(world, f"{count} GPUs on {socket.gethostname()}"))
    ordinal = world.local_rank % count
    own = identities[ordinal] or f"unknown {environ.get('CUDA_VISIBLE_DEVICES', '')} {ordinal}"
    claimed = _claims(world, own)
    sharing = [rank for rank, claim in enumerate(claimed) if claim == own]
    if len(sharing) > 1 and not world.share_devices:
        raise TrialError(_refusal(world, f"local ranks {', '.join(map(str, sharing))} see the same one"))
    return Place(ordinal, len(sharing))


def anybody_shares(world: World, own: Place | None) -> bool:
    """Whether any rank of the job shares a GPU; every rank calls it. Nobody does unless the trial lets them."""
    if not world.share_devices or own is None:
        return False
    world.rendezvous.publish(f"sharing-{world.rank}", str(own.ranks))
    return any(int(world.rendezvous.wait_for(f"sharing-{rank}")) > 1 for rank in range(world.size))


def _claims(world: World, own: str) -> list[str]:
    """Of every rank of this host, in their order."""
    name = f"device-{socket.gethostname()}"
    world.rendezvous.publish(f"{name}-{world.local_rank}", own)
    return [world.rendezvous.wait_for(f"{name}-{rank}") for rank in range(world.local_size)]


def _refusal(world: World, why: str) -> str:
    return (
        f"{world.local_size} ranks have no GPU each: {why}; start fewer ranks, or let them share with "
        "`share_devices: true`"
    )


def visible_part(ordinal: int, environ: Mapping[str, str] = os.environ) -> str | None:
    """The UUID of the MIG instance that CUDA_VISIBLE_DEVICES puts at this ordinal; None where it names none there.

    >>> visible_part(0, {"CUDA_VISIBLE_DEVICES": "MIG-1c2d,GPU-5e"})
    'MIG-1c2d'
    """
    names = environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    name = names[ordinal].strip() if ordinal < len(names) else ""
    return name if name.startswith("MIG-") else None


def require_gpu(trial: Trial, found: bool, framework: str) -> None:
    """Raises TrialError where a trial for GPUs would compute on the CPU: its framework sees none."""
    if trial.device == "gpu" and not found:
        raise TrialError(f"the trial asks for a GPU, and {framework} sees none (is it a build for CPUs?)")
