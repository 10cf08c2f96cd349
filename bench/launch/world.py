"""A rank finds its place from whichever launcher started it, and meets the others through the run folder."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.errors import TrialError
from bench.protocols import World
from bench.records import Assignment

RENDEZVOUS_DEADLINE_S = 120.0
POLL_S = 0.01

# Asked in this order; the first launcher with any of its variables set must have all of them. Ours comes first:
# it may run inside any of the others. horovodrun before Open MPI: `horovodrun --mpi` sets only Open MPI's.
LAUNCHERS: dict[str, tuple[str, str, str, str]] = {
    "local": ("PACELINE_RANK", "PACELINE_SIZE", "PACELINE_LOCAL_RANK", "PACELINE_LOCAL_SIZE"),
    "horovodrun": ("HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_RANK", "HOROVOD_LOCAL_SIZE"),
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    "mpirun": (
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
}


@dataclass(frozen=True, slots=True)
class FileRendezvous:
    """Publishes each text as one file, renamed into place so that a reader never sees half of it."""

    folder: Path

    def publish(self, name: str, text: str) -> None:
        """Makes `text` visible to every rank under `name`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        staged = self.folder / f".{name}.{socket.gethostname()}.{os.getpid()}"
        staged.write_text(text)
        staged.replace(self.folder / name)

    def wait_for(self, name: str) -> str:
        """Blocks until `name` is published. Raises TrialError after RENDEZVOUS_DEADLINE_S."""
        path = self.folder / name
        deadline = time.monotonic() + RENDEZVOUS_DEADLINE_S
        while not path.exists():
            if time.monotonic() > deadline:
                raise TrialError(f"no rank published {name!r} in {path.parent} within {RENDEZVOUS_DEADLINE_S:.0f} s")
            time.sleep(POLL_S)
        return path.read_text()


def place(environ: Mapping[str, str]) -> tuple[str, int, int, int, int]:
    """(launcher, rank, size, local rank, local size). Raises TrialError on half a set, or a set that is no place."""
    for launcher, names in LAUNCHERS.items():
        missing = [name for name in names if name not in environ]
        if len(missing) == len(names):
            continue
        if missing:
            raise TrialError(f"{launcher} set only part of this rank's place: {', '.join(missing)} missing")
        try:
            rank, size, local_rank, local_size = (int(environ[name]) for name in names)
        except ValueError as error:
            raise TrialError(f"{launcher} gave this rank a place that is no number: {error}") from None
        if not (0 <= rank < size and 0 <= local_rank < local_size <= size):
            raise TrialError(
                f"{launcher} gave an impossible place: rank {rank} of {size}, {local_rank} of {local_size}"
            )
        return launcher, rank, size, local_rank, local_size
    raise TrialError("this rank's place is unknown: start it with horovodrun, torchrun, mpirun or `paceline run`")


def find_world(assignment: Assignment, folder: Path, environ: Mapping[str, str]) -> World:
    """The World of this rank. Raises TrialError when the launcher started another number of ranks than assigned."""
    launcher, rank, size, local_rank, local_size = place(environ)
    if size != assignment.ranks:
        raise TrialError(f"{launcher} started {size} ranks where the trial asks for {assignment.ranks}")
    return World(
        rank=rank,
        size=size,
        local_rank=local_rank,
        local_size=local_size,
        local_replicas=assignment.local_replicas,
        launcher=launcher,
        address=own_address(assignment.network_interface) if local_size < size else "127.0.0.1",
        network_interface=assignment.network_interface,
        rendezvous_port=assignment.rendezvous_port,
        rendezvous=FileRendezvous(folder / "rendezvous"),
        traced=assignment.traced_windows > 0,
    )


def own_address(interfaces: str | None) -> str:
    """IPv4 address of the first of the `interfaces`, or the one that the host's own name resolves to. Raises TrialError
    where there is none, or none that another host could reach."""
    host = socket.gethostname()
    if interfaces is None:
        return _address_of(host)
    there = psutil.net_if_addrs()
    for interface in interfaces.split(","):
        if interface not in there:
            raise TrialError(f"{host} has no network interface {interface!r}; it has {', '.join(sorted(there))}")
    for entry in there[interfaces.split(",")[0]]:
        if entry.family == socket.AF_INET:
            return entry.address
    raise TrialError(f"network interface {interfaces.split(',')[0]!r} of {host} has no IPv4 address")


def _address_of(host: str) -> str:
    try:
        address = socket.gethostbyname(host)
    except OSError as error:
        raise TrialError(f"{host} does not resolve its own name ({error}); give --network-interfaces") from None
    if address.startswith("127."):
        raise TrialError(
            f"{host} resolves its own name to {address}, which no other host can reach; give --network-interfaces"
        )
    return address
