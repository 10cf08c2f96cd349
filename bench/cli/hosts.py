"""`paceline hosts`: emulated hosts that stay until they are taken down."""

from __future__ import annotations

import click

from bench.cli.shared import on_termination
from bench.errors import UserError


@click.group(short_help="Emulate hosts with links of known speed.")
def hosts() -> None:
    """Hosts on this one machine, with links of known speed. Linux and root only."""


@hosts.command(short_help="Make a set of hosts, and say how to use it.")
@click.option("--count", type=int, default=2, show_default=True, help="How many hosts.")
@click.option("--rate", default="1gbit", show_default=True, help="Of each host's link, in each direction.")
@click.option("--latency", help="One way, as in 2ms; needs netem in the kernel.")
@click.option("--slots", type=int, default=1, show_default=True, help="Ranks for which a host has room.")
def up(count: int, rate: str, latency: str | None, slots: int) -> None:
    """Make a set of hosts, and say how to use it."""
    from bench import hosts as emulation
    from bench.hosts.network import host_name
    from bench.hosts.shell import shell_folder
    from bench.hosts.spec import make

    spec = make(count, rate, latency, slots)
    with on_termination():
        identifier = emulation.up(spec)
    click.echo(f"{identifier}: {spec}, {host_name(0)} to {host_name(count - 1)}")
    click.echo(f"run a study on them  paceline run --hosts emulated:{identifier} STUDY")
    click.echo(f"a shell on one       {shell_folder(identifier)}/ssh {host_name(0)}")
    click.echo(f"take them down       paceline hosts down {identifier}")


@hosts.command(short_help="Remove the named sets of hosts, or all.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def down(names: tuple[str, ...]) -> None:
    """Remove the named sets, or all: also leftovers of a killed `up` or `run`, and what still runs on them.

    A set that a run is using now stays.
    """
    from bench import hosts as emulation

    with on_termination():
        removed, used = emulation.down(names)
    for identifier in removed:
        click.echo(f"{identifier} removed")
    if names and used:
        raise UserError(f"the emulated hosts {used[0]} are in use by a run; end it first")
    for identifier in used:
        click.echo(f"{identifier} is in use by a run, and stays")
    if not removed and not used:
        click.echo("no emulated hosts are left")
