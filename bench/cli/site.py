"""`paceline site`: a folder of runs as a small static site."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Make a small site of many runs.")
@click.argument("folder", type=Path, metavar="RUNS")
@click.option("--into", type=Path, help="Folder of the site.  [default: RUNS/site]")
def site(folder: Path, into: Path | None) -> None:
    """Make a small site of all runs below RUNS: an index, every report, the history of every study.

    Only what has changed is made again. The pages need no server and no network: open index.html. A run that cannot be
    read is listed with the reason. Only you may read the folder; copy it to where others may.
    """
    from reports.across.site import build

    built = build(folder, into or folder / "site", lambda sentence: click.echo(sentence, err=True))
    click.echo(f"{built.runs} runs, {built.rendered} read anew, {len(built.damaged)} without a page", err=True)
    click.echo(str(built.index))
