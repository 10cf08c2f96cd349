"""The `paceline` command. The only module that prints or exits; everything heavy is imported when it is needed.

Exit status: 0 all trials are fine, 1 at least one failed (its row says why), 2 the request was wrong,
130 interrupted.
"""

from __future__ import annotations

import itertools
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import bench
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.launch.commands import Cluster
    from bench.records import Plan, Result
    from bench.study import Study

RUNS = Path("runs")
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def main() -> None:
    """The console script: one handler for expected errors, one line each."""
    try:
        status = cli(standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except UserError as error:
        sys.exit(_complain(str(error), 2))
    except click.exceptions.Abort:
        sys.exit(_complain("interrupted", 130))
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        sys.exit(_complain(f"{error.filename or 'input or output'}: {error.strerror}", 2))


def _complain(sentence: str, status: int) -> int:
    click.echo(f"paceline: {sentence}", err=True)
    return status


@click.group(context_settings=CONTEXT)
@click.version_option(bench.__version__, prog_name="paceline")
def cli() -> None:
    """Benchmarks of distributed training that people can trust: one BERT, every stack, the same work."""


def cluster_options(command: Any) -> Any:
    """horovodrun's own flags, so that `./horovodrun.sh` takes what horovodrun takes."""
    for option in reversed(
        (
            click.option("-np", "--num-proc", "slots", type=click.IntRange(1), help="Replicas there is room for."),
            click.option("-H", "--hosts", help="host1:slots,host2:slots; this machine alone if not given."),
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


@cli.command()
def doctor() -> int:
    """Which backends, launchers, collectives and precisions work here, and why one does not."""
    from bench import doctor as examine

    click.echo("looking (each backend is imported for real) ...", err=True)
    for finding in itertools.chain(examine.backends(), examine.launchers()):
        mark = "ok" if finding.problem is None else "--"
        said = (finding.problem or finding.detail).replace("\n", "\n" + " " * 19)
        click.echo(f"{mark}  {finding.name:<14} {said}")
    for name, reason in examine.set_up_problems().items():
        click.echo(f"--  the set-up left out {name}: {reason}")
    return 0


@cli.command()
@click.argument("path", type=Path, default=Path("study.yaml"))
def init(path: Path) -> None:
    """Write a commented study to PATH to start from."""
    if path.exists():
        raise UserError(f"{path}: exists already; give another name")
    try:
        path.write_bytes((Path(bench.__file__).parent / "templates" / "study.yaml").read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    click.echo(f"{path} written; next: paceline plan {path}")


@cli.command()
@click.argument("study", type=Path)
@click.option("--quick", is_flag=True, help="As `run --quick` would.")
@click.option("--runs", type=Path, default=RUNS, help="Where earlier runs lie, for the estimated time.")
@cluster_options
def plan(study: Path, quick: bool, runs: Path, **flags: Any) -> None:
    """Show the trials of STUDY, the exact commands, and the estimated time. Starts nothing."""
    from datetime import UTC, datetime

    from bench.run import plan as decide

    loaded, cluster = _load(study, flags)
    planned = decide(loaded, quick, cluster, datetime.now(UTC))
    _show_plan(planned, cluster, runs)


@cli.command()
@click.argument("study", type=Path, required=False)
@click.option("--quick", is_flag=True, help="One repeat, few windows: a look, not a measurement.")
@click.option("--runs", type=Path, default=RUNS, help="Folder for run folders.  [default: ./runs]")
@click.option("--resume", type=Path, metavar="RUN", help="Continue RUN: make only the launches it lacks.")
@click.option("--verbose", is_flag=True, help="One line a launch where there is no terminal.")
@cluster_options
def run(study: Path | None, quick: bool, runs: Path, resume: Path | None, verbose: bool, **flags: Any) -> int:
    """Run every trial of STUDY, then show the table and write report.html."""
    from bench import run as program

    if (study is None) == (resume is None):
        raise UserError("give a study to run, or --resume with a run folder to continue")
    given = [name for name, value in {**flags, "quick": quick}.items() if value]
    if resume is not None and given:
        raise UserError(f"--resume continues a run as it was planned; leave out {', '.join(sorted(given))}")
    with _on_termination(), _observer(verbose) as observer:
        if resume is not None:
            folder = resume
        else:
            assert study is not None
            loaded, cluster = _load(study, flags)
            folder = program.begin(loaded, runs, quick, cluster, observer)
            for note in loaded.notes:
                click.echo(f"note: {note}", err=True)
        try:
            result = program.proceed(folder.resolve(), observer)
        except KeyboardInterrupt:
            raise UserInterrupt(folder) from None
    return _finish(folder, result)


@contextmanager
def _on_termination() -> Iterator[None]:
    """SIGTERM and a closed terminal end a run as Ctrl-C does: with its ranks, and with what is finished kept."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class UserInterrupt(click.ClickException):
    """Ctrl-C: what is finished is kept, and the sentence says how to go on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"interrupted; finished launches are kept: paceline run --resume {folder}")

    def show(self, file: Any = None) -> None:
        """One line on stderr, then status 130."""
        click.echo(f"paceline: {self.message}", err=True)
        sys.exit(130)


@cli.command()
@click.argument("run_folder", type=Path, metavar="RUN")
@click.option("--format", "kind", type=click.Choice(["html", "csv", "json", "md", "text"]), default="html")
@click.option("-o", "--output", type=Path, help="File to write; `-` for standard output.")
def report(run_folder: Path, kind: str, output: Path | None) -> None:
    """Make the report of RUN from what it left on disk."""
    import reports
    from bench.collect import assemble

    assemble(run_folder.resolve())
    content = reports.render(run_folder, kind)
    if output is None and kind == "html":
        output = run_folder / "report.html"
    if output is None or str(output) == "-":
        click.echo(content, nl=not str(content).endswith("\n"))
        return
    _write(output, content)
    click.echo(str(output))


# ---- what the commands share ----------------------------------------------------------------------------------


def _cluster(flags: dict[str, Any]) -> Cluster:
    from bench.launch.commands import Cluster, parse_hostfile, parse_hosts

    if flags["gloo"] and flags["mpi"]:
        raise UserError("give --gloo or --mpi, not both")
    if flags["hosts"] and flags["hostfile"]:
        raise UserError("give -H or --hostfile, not both")
    hosts = parse_hostfile(flags["hostfile"]) if flags["hostfile"] else ()
    hosts = parse_hosts(flags["hosts"]) if flags["hosts"] else hosts
    return Cluster(
        hosts=hosts,
        network_interface=flags["interface"],
        mpi=flags["mpi"],
        ssh_port=flags["ssh_port"],
        ssh_identity_file=flags["ssh_identity_file"],
    )


def _load(path: Path, flags: dict[str, Any]) -> tuple[Study, Cluster]:
    from bench import study

    cluster = _cluster(flags)
    room = sum(slots for _, slots in cluster.hosts)
    slots = flags["slots"] or (room or None)
    if room and slots and slots > room:
        raise UserError(f"-np {slots} is more than the {room} slots of the given hosts")
    return study.load(path, flags["launcher"], slots, cluster.hosts), cluster


def _show_plan(planned: Plan, cluster: Cluster, runs: Path) -> None:
    import os
    import shlex

    from bench import forecast
    from bench.launch.commands import commands

    for trial in planned.trials:
        seconds, measured = forecast.launch_s(trial, runs)
        about = "as measured before" if measured else "a rough guess"
        launches = sum(trial_id == trial.id for trial_id, _ in planned.order)
        click.echo(f"{trial.id}: {launches} x {seconds:.0f} s ({about})")
        for command in commands(trial, runs.resolve() / "RUN" / trial.id / "0", sys.executable, cluster, os.environ):
            click.echo(f"  {shlex.join(command.argv)}")
    for trial, reason in planned.rejected:
        click.echo(f"{trial.id}: not selectable, because {reason}")
    for note in planned.notes:
        click.echo(f"note: {note}")
    seconds, measured = forecast.study_s(planned, runs)
    about = "as measured before" if measured else "a rough guess: nothing was started"
    click.echo(f"{len(planned.order)} launches, about {seconds / 60:.1f} minutes ({about})")


def _observer(verbose: bool) -> Any:
    from contextlib import nullcontext

    from rich.console import Console

    from bench.progress import LineObserver, TerminalObserver
    from bench.run import Observer

    console = Console(stderr=True)
    if console.is_terminal:
        return TerminalObserver(console)
    return nullcontext(LineObserver(console) if verbose else Observer())


def _finish(folder: Path, result: Result) -> int:
    """Table on standard output, report beside the result; 1 when a trial failed."""
    import reports

    color = sys.stdout.isatty()
    click.echo(reports.render(folder, "terminal" if color else "text"), nl=False)
    path = folder / "report.html"
    _write(path, reports.render(folder, "html"))
    click.echo(f"\n{path}")
    return 1 if any(trial.status == "failed" for trial in result.trials) else 0


def _write(path: Path, content: str | bytes) -> None:
    from bench.collect import write_atomically

    try:
        write_atomically(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
