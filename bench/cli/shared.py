"""What several commands share: the launch flags, the observer, and how an interrupt ends a run."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from bench.errors import UserError

if TYPE_CHECKING:
    from bench.launch.commands import Cluster
    from bench.study import Study

RUNS = Path("runs")
SLOTS = click.IntRange(1, 16_384)  # as a study's replicas: bench.points is not worth its import here
EXIT_PREEMPTED = 75  # EX_TEMPFAIL of sysexits.h: try again, here with --resume
EXIT_INTERRUPTED = 130


def cluster_options(command: Any) -> Any:
    """horovodrun's own flags, so that `./horovodrun.sh` takes what horovodrun takes."""
    for option in reversed(
        (
            click.option("-np", "--num-proc", "slots", type=SLOTS, help="Replicas there is room for."),
            click.option("-H", "--hosts", help="host1:slots,host2:slots, or hosts emulated on this machine, as in "
                         "emulated:4@1gbit (`paceline hosts`); this machine alone if not given."),
            click.option("--hostfile", "-hostfile", type=Path, help="File with `host slots=N` lines."),
            click.option("--network-interfaces", "interface", help="The network interface that ranks talk over."),
            click.option("--gloo", is_flag=True, help="Horovod's controller is Gloo, the default."),
            click.option("--mpi", is_flag=True, help="Horovod's controller is MPI."),
            click.option("-p", "--ssh-port", type=click.IntRange(1, 65535), help="For launching on other hosts."),
            click.option("-i", "--ssh-identity-file", help="For launching on other hosts."),
            click.option("--launcher", type=click.Choice(["horovodrun", "torchrun", "mpirun", "local"]),
                         help="In place of the study's own."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def refuse_changes(besides: Sequence[str]) -> None:
    """Raises UserError where --resume stands beside anything that says what to do, or where. `besides`: parameters that
    do not."""
    context = click.get_current_context()
    given = [each for each in context.command.params if each.name is not None and each.name not in besides]
    written = [each for each in given if context.get_parameter_source(str(each.name)) is ParameterSource.COMMANDLINE]
    changes = sorted(max(each.opts, key=len) if isinstance(each, click.Option) else each.human_readable_name
                     for each in written)  # fmt: skip
    if changes:
        raise UserError(f"--resume continues what was planned; leave out {', '.join(changes)}")


def _cluster(flags: dict[str, Any], start: bool) -> Cluster:
    from bench.hosts import PREFIX
    from bench.launch.commands import INTERFACES, Cluster, parse_hostfile, parse_hosts

    if flags["gloo"] and flags["mpi"]:
        raise UserError("give --gloo or --mpi, not both")
    if flags["hosts"] is not None and flags["hostfile"] is not None:
        raise UserError("give -H or --hostfile, not both")
    if flags["interface"] is not None and not INTERFACES.fullmatch(flags["interface"]):
        raise UserError(f"--network-interfaces: {flags['interface']!r} is no list of interface names such as eth0,eth1")
    if flags["ssh_identity_file"] is not None and not Path(flags["ssh_identity_file"]).is_file():
        raise UserError(f"-i: there is no file {flags['ssh_identity_file']!r}")
    if flags["hosts"] is not None and flags["hosts"].startswith(PREFIX):
        return _emulated(flags, flags["hosts"].removeprefix(PREFIX), start)
    hosts = () if flags["hostfile"] is None else parse_hostfile(flags["hostfile"])
    hosts = hosts if flags["hosts"] is None else parse_hosts(flags["hosts"])
    if not hosts:
        _check_interface(flags["interface"])
    return Cluster(
        hosts=hosts,
        network_interface=flags["interface"],
        mpi=flags["mpi"],
        ssh_port=flags["ssh_port"],
        ssh_identity_file=flags["ssh_identity_file"],
    )


def _emulated(flags: dict[str, Any], text: str, start: bool) -> Cluster:
    """Hosts that are there until the command ends, however it does; only described where nothing is to `start`."""
    import dataclasses

    from bench import hosts

    if flags["ssh_port"] or flags["ssh_identity_file"]:
        raise UserError("emulated hosts are reached without ssh; leave out -p and -i")
    hosts.check_interface(flags["interface"])
    if start:
        cluster = click.get_current_context().with_resource(hosts.emulated(text)).cluster
    else:
        cluster = hosts.described(text)
    return dataclasses.replace(cluster, mpi=flags["mpi"])


def _check_interface(interfaces: str | None) -> None:
    """Of this machine alone. Raises UserError for one that it does not have."""
    import psutil

    there = psutil.net_if_addrs()
    for name in interfaces.split(",") if interfaces else ():
        if name not in there:
            has = ", ".join(sorted(there))
            raise UserError(f"--network-interfaces: this machine has no network interface {name!r}; it has {has}")


def load_study(path: Path, flags: dict[str, Any], start: bool = True) -> tuple[Study, Cluster]:
    """The study at `path` and where to run it, as the flags of `cluster_options` say. Raises UserError.

    Emulated hosts are made if they are not there, and stay until the command ends; not without `start`.
    """
    from bench import study

    cluster = _cluster(flags, start)
    room = sum(slots for _, slots in cluster.hosts)
    slots = flags["slots"] or (room or None)
    if room and slots and slots > room:
        raise UserError(f"-np {slots} is more than the {room} slots of the given hosts")
    return study.load(path, flags["launcher"], slots, sharing_cores(cluster)), cluster


def sharing_cores(cluster: Cluster) -> tuple[tuple[str, int], ...]:
    """The hosts, each with the number of replicas that share its cores: on emulated ones all of them do."""
    room = sum(slots for _, slots in cluster.hosts)
    return tuple((name, room if cluster.emulated else slots) for name, slots in cluster.hosts)


def observe(verbose: bool) -> Any:
    """A context manager that gives a bench.run.Observer: a live view on a terminal; a line a launch if `verbose`, and
    on a terminal that shall get no escape codes (NO_COLOR, TERM=dumb); else silence."""
    from contextlib import nullcontext

    from rich.console import Console

    from bench.progress import LineObserver, TerminalObserver
    from bench.run import Observer

    lasting: Any = _Lasting(sys.stderr)
    if in_color(sys.stderr):
        return TerminalObserver(Console(file=lasting))
    plain = Console(file=lasting, force_terminal=False, no_color=True)
    return LineObserver(plain) if verbose or sys.stderr.isatty() else nullcontext(Observer())


class _Lasting:
    """A stream whose end is nobody's fault: where the terminal has gone, the study goes on unseen."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def in_color(stream: Any) -> bool:
    """Whether escape codes may be written to it: a terminal that understands them, and nobody said NO_COLOR."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "dumb") in ("dumb", "unknown")
    return bool(stream.isatty()) and not plain


class Preempted(KeyboardInterrupt):
    """The scheduler, or a closed terminal, wants this run to end."""


@contextmanager
def on_termination() -> Iterator[None]:
    """SIGTERM and a closed terminal end a run as Ctrl-C does: with its ranks, and with what is finished kept.

    The first signal starts the end, which takes seconds; further ones change nothing until the process has gone, so
    that no rank is left behind.
    """

    def end(number: int, frame: Any) -> None:
        for known in before:
            signal.signal(known, signal.SIG_IGN)
        raise KeyboardInterrupt if number == signal.SIGINT else Preempted

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    except Preempted:
        click.echo("paceline: told to end", err=True)
        sys.exit(EXIT_PREEMPTED)
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is end:
                signal.signal(number, handler)


class UserInterrupt(click.ClickException):
    """Ctrl-C or a signal: what is finished is kept, and the sentence says how to go on."""

    def __init__(self, folder: Path, cause: KeyboardInterrupt, command: str = "run") -> None:
        self.status = EXIT_PREEMPTED if isinstance(cause, Preempted) else EXIT_INTERRUPTED
        what = "told to end" if isinstance(cause, Preempted) else "interrupted"
        super().__init__(f"{what}; finished launches are kept: paceline {command} --resume {folder}")

    def show(self, file: Any = None) -> None:
        """One line on stderr, then the status."""
        click.echo(f"paceline: {self.message}", err=True)
        sys.exit(self.status)


def write(path: Path, content: str | bytes) -> None:
    """Writes atomically. Raises UserError with the system's reason."""
    from bench.storage import write_atomically

    try:
        write_atomically(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
