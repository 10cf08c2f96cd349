"""Emulated hosts for a launch: what to tell the launcher, and how to start it among them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.errors import UserError
from bench.hosts import lifetime
from bench.hosts.network import INTERFACE, host_name
from bench.hosts.shell import enter, shell_folder
from bench.hosts.spec import Spec, parse
from bench.launch.commands import Cluster, Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulated:
    """A set of hosts that is there. Launchers start on its first host and reach the others through its own `ssh`.

    environment   what a launcher needs beside its own: the folder of that `ssh` first in PATH, and Open MPI's
                  variables that keep it on the shaped links
    """

    identifier: str
    spec: Spec
    cluster: Cluster
    environment: Mapping[str, str]

    def inside(self, host: int) -> tuple[str, ...]:
        """The words that start the command after them on that host."""
        return enter(self.identifier, host_name(host))

    def place(self, commands: Sequence[Command]) -> list[Command]:
        """The same commands, the first on the first host and so on: a launcher that starts one per host has as many."""
        return [
            Command((*self.inside(host), *command.argv), {**command.environment, **self.environment})
            for host, command in enumerate(commands)
        ]


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
    found = re.fullmatch(lifetime.IDENTIFIER, text)
    holding = lifetime.existing(text) if found else lifetime.temporary(parse(text))
    with holding as (identifier, spec):
        yield Emulated(
            identifier=identifier,
            spec=spec,
            cluster=Cluster(
                hosts=tuple((host_name(host), spec.slots) for host in range(spec.count)), network_interface=INTERFACE
            ),
            environment=_environment(identifier, os.environ.get("PATH", os.defpath) if path is None else path),
        )


def _environment(identifier: str, path: str) -> dict[str, str]:
    folder = shell_folder(identifier)
    return {
        "PATH": f"{folder}:{path}",
        "OMPI_MCA_plm_rsh_agent": str(folder / "ssh"),
        "OMPI_MCA_btl_tcp_if_include": INTERFACE,
        "OMPI_MCA_oob_tcp_if_include": INTERFACE,
    }
