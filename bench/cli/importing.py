"""`paceline import`: results of other benchmarks in this project's units."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.shared import write


@click.command("import", short_help="Convert results of other benchmarks.")
@click.argument("files", type=Path, nargs=-1, required=True, metavar="FILE...")
@click.option("--format", "kind", type=click.Choice(["text", "csv", "json"]), default="text")
@click.option("-o", "--output", type=Path, help="File to write; standard output if not given.")
def import_(files: tuple[Path, ...], kind: str, output: Path | None) -> None:
    """Convert results of Horovod's synthetic benchmarks, nccl-tests or pytest-benchmark.

    Several FILEs of the same benchmark are its launches: from three on there is an interval.
    """
    from bench import importers

    content = importers.render(importers.read(files), kind)
    if output is None:
        click.echo(content, nl=False)
        return
    write(output, content)
    click.echo(str(output))
