"""`paceline trace`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.shared import observe, on_termination

if TYPE_CHECKING:
    from bench.records import Traced


@click.command(short_help="Trace a run: when it computes, when it exchanges.")
@click.argument("run_folder", type=Path, metavar="RUN")
@click.option("--trial", "trials", multiple=True, metavar="ID", help="Only this one; may be repeated.")
@click.option("--windows", type=click.IntRange(1, 100), help="Windows to trace, as many untraced beside.  [default: 3]")
@click.option("--verbose", is_flag=True, help="Progress where there is no terminal.")
def trace(run_folder: Path, trials: tuple[str, ...], windows: int | None, verbose: bool) -> int:
    """Launch each trial of RUN once more and trace it: when does it compute, when does it exchange gradients?

    The numbers of RUN stay as they are; its report gets a section of its own. 1 when a trial could not be traced.
    """
    from bench.trace_run import FOLDER, WINDOWS
    from bench.trace_run import trace as make_traces

    folder, failed = run_folder.resolve(), 0
    with on_termination(), observe(verbose) as observer:
        for target, traced in make_traces(folder, trials, windows or WINDOWS, observer):
            failed += traced.error is not None
            click.echo(_said(target, traced))
    click.echo(f"\nfigures beside the others: paceline report {run_folder}")
    if len(list((folder / FOLDER).glob("*/trace.json.gz"))):
        click.echo("a trace.json.gz shows all ranks at https://ui.perfetto.dev (Open trace file; it is not uploaded)")
    return 1 if failed else 0


def _said(target: Path, traced: Traced) -> str:
    from bench.trace_run import MERGED
    from reports.traces import sentence

    where = "" if traced.error else f"\n  {target / MERGED}"
    return f"{traced.trial_id}: {sentence(traced)}{where}"
