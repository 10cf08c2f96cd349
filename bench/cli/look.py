"""`paceline doctor` and `paceline init`: what is here, and where to start."""

from __future__ import annotations

import itertools
from pathlib import Path

import click

import bench
from bench.errors import UserError


@click.command(short_help="Say what works on this machine, and why not.")
def doctor() -> int:
    """Which backends, launchers, collectives and precisions work here, and why one does not."""
    from bench import catalog
    from bench import doctor as examine

    click.echo("looking (each backend is imported for real: half a minute, or more where others work) ...", err=True)
    real, works = {name for name, row in catalog.entries().items() if row.framework != "none"}, 0
    for finding in itertools.chain(examine.backends(), examine.launchers(), examine.devices()):
        works += finding.problem is None and finding.name in real
        mark = "ok" if finding.problem is None else "--"
        said = (finding.problem or finding.detail).replace("\n", "\n" + " " * 19)
        click.echo(f"{mark}  {finding.name:<14} {said}")
    for name, reason in examine.set_up_problems().items():
        click.echo(f"--  the set-up left out {name}: {reason}")
    click.echo(f"{works} of {len(real)} backends work here")
    return 0


@click.command(short_help="Write a commented study to start from.")
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
