"""`paceline report` and `paceline fsck`: what is in a run folder."""

from __future__ import annotations

import gc
from pathlib import Path

import click

from bench.cli.shared import write
from bench.errors import UserError
from bench.quoting import printable


@click.command(short_help="Make the report of a run again.")
@click.argument("run_folder", type=Path, metavar="RUN", required=False)
@click.option("--history", "runs", type=Path, metavar="DIR", help="In place of RUN: all runs below DIR, through time.")
@click.option("--format", "kind", type=click.Choice(["html", "csv", "json", "md", "text"]), default="html")
@click.option("-o", "--output", type=Path, help="File to write; `-` for standard output.")
def report(run_folder: Path | None, runs: Path | None, kind: str, output: Path | None) -> None:
    """Make the report of RUN from what it left on disk; RUN is of `paceline run` or `paceline collectives`.

    With --history: the speed of every trial over all runs of its study, where its level changed, and what else changed
    there (html, text, json).
    """
    gc.disable()  # hundreds of thousands of small objects that all stay: to look at them again and again costs 0.5 s
    try:
        content, beside = _history(runs, kind) if run_folder is None else _report(run_folder, runs, kind)
    finally:
        gc.enable()
    if output is None and kind == "html":
        output = beside
    if output is None or str(output) == "-":
        click.echo(content, nl=not str(content).endswith("\n"))
        return
    write(output, content)
    click.echo(str(output))


def _report(run_folder: Path, runs: Path | None, kind: str) -> tuple[str | bytes, Path]:
    """The document, and where its page belongs."""
    import reports
    from bench.assemble import assemble

    if runs is not None:
        raise UserError(f"give {run_folder} or --history {runs}, not both")
    if not reports.is_sweep(run_folder):
        assemble(run_folder.resolve())
    return reports.render(run_folder, kind), run_folder / "report.html"


def _history(runs: Path | None, kind: str) -> tuple[str, Path]:
    from reports.across import looking_back

    if runs is None:
        raise UserError("give a run folder, or --history with a folder of runs")
    return looking_back.render(runs, kind), runs / "history.html"


@click.command(short_help="Say what of a run is whole, and what to do.")
@click.argument("run_folder", type=Path, metavar="RUN")
def fsck(run_folder: Path) -> int:
    """Say what of RUN is whole, and what to do about the rest. Changes nothing."""
    from bench.fsck import examine

    problems = 0
    for finding in examine(run_folder.resolve()):
        mark = "ok" if finding.problem is None else "--"
        click.echo(f"{mark}  {finding.path.relative_to(run_folder.resolve())}")
        if finding.problem is not None:
            problems += 1
            click.echo(
                f"      {printable(finding.problem)}" + (f"\n      remedy: {finding.remedy}" if finding.remedy else "")
            )
    return 1 if problems else 0
