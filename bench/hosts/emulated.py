"""Emulated hosts for a launch: what to tell the launcher, and how to start it among them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.errors import UserError
from bench.hosts import lifetime
from bench.hosts.network import INTERFACE, host_name
from bench.hosts.shell import enter, shell_folder
from bench.hosts.spec import Spec, parse
from bench.launch.commands import Cluster

PREFIX = "emulated:"
UNMADE = "NAME"  # stands for the name of a set that is made when the run begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulated:
    """A set of hosts that is there. Launchers start on its first host and reach the others through its own `ssh`."""

    identifier: str
    spec: Spec
    cluster: Cluster

    def inside(self, host: int) -> tuple[str, ...]:
        """The words that start the command after them on that host."""
        return enter(self.identifier, host_name(host))


def check_interface(interface: str | None) -> None:
    """Emulated hosts have one network interface. Raises UserError for any other."""
    if interface not in (None, INTERFACE):
        raise UserError(f"emulated hosts have no network interface {interface!r}; they have {INTERFACE}")


@contextmanager
def emulated(text: str, path: str | None = None) -> Iterator[Emulated]:
    """The hosts that `text` asks for (`4@1gbit`), or the set of that name made by `paceline hosts up`.

    New ones are removed on leaving, whatever happened; processes that are left on them are ended. `path` is what the
    launcher's PATH would be. Raises UserError where there cannot be such hosts here.
    """
    holding = lifetime.existing(text) if _is_name(text) else lifetime.temporary(parse(text))
    with holding as (identifier, spec):
        yield Emulated(identifier=identifier, spec=spec, cluster=cluster(identifier, spec, path))


def described(text: str) -> Cluster:
    """What `emulated` would make, without making it: UNMADE stands for the name of a new set. Raises as it does."""
    if _is_name(text):
        return cluster(text, lifetime.spec_of(text))
    spec = parse(text)
    lifetime.refuse(spec)
    return cluster(UNMADE, spec)


def cluster(identifier: str, spec: Spec, path: str | None = None) -> Cluster:
    """How launchers reach the hosts of a set: the folder of its `ssh` first in PATH, and Open MPI on the shaped links
    only."""
    folder = shell_folder(identifier)
    found = os.environ.get("PATH", os.defpath) if path is None else path
    return Cluster(
        hosts=tuple((host_name(host), spec.slots) for host in range(spec.count)),
        network_interface=INTERFACE,
        emulated=spec.text,
        door=enter(identifier, host_name(0)),
        variables={
            "PATH": f"{folder}:{found}",
            "OMPI_MCA_plm_rsh_agent": str(folder / "ssh"),
            "OMPI_MCA_btl_tcp_if_include": INTERFACE,
            "OMPI_MCA_oob_tcp_if_include": INTERFACE,
        },
    )


def _is_name(text: str) -> bool:
    return re.fullmatch(lifetime.IDENTIFIER, text) is not None
