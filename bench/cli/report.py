"""`paceline report` and `paceline fsck`: what is in a run folder."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.shared import write


@click.command()
@click.argument("run_folder", type=Path, metavar="RUN")
@click.option("--format", "kind", type=click.Choice(["html", "csv", "json", "md", "text"]), default="html")
@click.option("-o", "--output", type=Path, help="File to write; `-` for standard output.")
def report(run_folder: Path, kind: str, output: Path | None) -> None:
    """Make the report of RUN from what it left on disk; RUN is of `paceline run` or `paceline collectives`."""
    import reports
    from bench.assemble import assemble

    if not reports.is_sweep(run_folder):
        assemble(run_folder.resolve())
    content = reports.render(run_folder, kind)
    if output is None and kind == "html":
        output = run_folder / "report.html"
    if output is None or str(output) == "-":
        click.echo(content, nl=not str(content).endswith("\n"))
        return
    write(output, content)
    click.echo(str(output))


@click.command()
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
            click.echo(f"      {finding.problem}" + (f"\n      remedy: {finding.remedy}" if finding.remedy else ""))
    return 1 if problems else 0
