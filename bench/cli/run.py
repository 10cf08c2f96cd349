"""`paceline plan` and `paceline run`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.shared import (
    RUNS,
    UserInterrupt,
    cluster_options,
    in_color,
    load_study,
    observe,
    on_termination,
    refuse_changes,
    sharing_cores,
    write,
)
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.launch.commands import Cluster
    from bench.records import Plan, Result


@click.command(short_help="Show the trials of a study, and how long it takes.")
@click.argument("study", type=Path)
@click.option("--quick", is_flag=True, help="As `run --quick` would.")
@click.option("--runs", type=Path, default=RUNS, help="Where earlier runs lie, for the estimated time.")
@cluster_options
def plan(study: Path, quick: bool, runs: Path, **flags: Any) -> None:
    """Show the trials of STUDY, the exact commands, and the estimated time. Starts nothing."""
    from datetime import UTC, datetime

    from bench.run import plan as decide

    loaded, cluster = load_study(study, flags, start=False)
    planned = decide(loaded, quick, cluster, datetime.now(UTC))
    _show_plan(planned, cluster, runs)


@click.command(short_help="Run every trial of a study, and report.")
@click.argument("study", type=Path, required=False)
@click.option("--quick", is_flag=True, help="One repeat, few windows: a look, not a measurement.")
@click.option("--runs", type=Path, default=RUNS, help="Folder for run folders.  [default: ./runs]")
@click.option("--resume", type=Path, metavar="RUN", help="Continue RUN: make only the launches it lacks.")
@click.option("--verbose", is_flag=True, help="One line a launch where there is no terminal.")
@cluster_options
def run(study: Path | None, quick: bool, runs: Path, resume: Path | None, verbose: bool, **flags: Any) -> int:
    """Run every trial of STUDY, then show the table and write report.html."""
    from bench import run as program

    if study is None and resume is None:
        raise UserError("give a study to run, or --resume with a run folder to continue")
    if resume is not None:
        refuse_changes(besides=("resume", "verbose", "study", "runs"))
    cluster: Cluster | None = None
    with on_termination(), observe(verbose) as observer:
        if resume is not None:
            folder = resume
            if study is not None:
                _refuse_changed(study, resume)
        else:
            assert study is not None
            loaded, cluster = load_study(study, flags)
            folder = program.begin(loaded, runs, quick, cluster, observer)
            for note in loaded.notes:
                click.echo(f"note: {note}", err=True)
        try:
            result = program.proceed(folder.resolve(), observer, cluster=cluster)
        except KeyboardInterrupt as cause:
            raise UserInterrupt(folder, cause) from None
    with on_termination():
        return _finish(folder, result)


def _refuse_changed(path: Path, run_folder: Path) -> None:
    """Raises UserError when the study is no longer the one that the run was planned from."""
    from datetime import UTC, datetime

    from bench import study
    from bench.assemble import read_plan
    from bench.launch.commands import Cluster
    from bench.resume import difference
    from bench.run import plan as decide

    planned = read_plan(run_folder.resolve())
    cluster = Cluster(hosts=tuple(planned.hosts), emulated=planned.environment.emulated_hosts)
    room = sum(slots for _, slots in planned.hosts) or None
    loaded = study.load(path, None, room, sharing_cores(cluster))
    found = difference(decide(loaded, planned.quick, cluster, datetime.now(UTC)), planned)
    if found is not None:
        raise UserError(f"{path} is not the study of {run_folder}: {found}; run it anew, or resume without it")


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


def _finish(folder: Path, result: Result) -> int:
    """Table on standard output, report beside the result; 1 when a trial failed."""
    import reports

    color = in_color(sys.stdout)
    click.echo(reports.render(folder, "terminal" if color else "text"), nl=False)
    path = folder / "report.html"
    write(path, reports.render(folder, "html"))
    click.echo(f"\n{path}")
    return 1 if any(trial.status == "failed" for trial in result.trials) else 0
