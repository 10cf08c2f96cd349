"""`paceline compare`: several runs, trial by trial."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.shared import write

if TYPE_CHECKING:
    from bench.records import GateOutcome, TrialResult

FORMATS = ("text", "md", "json", "html")
NOTHING_COMPARED = 3


@click.command(short_help="Set runs against each other, trial by trial.")
@click.argument("run_folders", type=Path, nargs=-1, required=True, metavar="RUN RUN...")
@click.option("--across", multiple=True, metavar="KEY", help="May differ, and is named in the verdict: "
              "packages.torch, cpu, packages, trial.workload, ...; may be repeated.")  # fmt: skip
@click.option("--format", "kind", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("-o", "--output", type=Path, help="File to write; `-` for standard output.")
def compare(run_folders: tuple[Path, ...], across: tuple[str, ...], kind: str, output: Path | None) -> int:
    """Set runs against each other, trial by trial: which is faster, by how much, and what else is not the same.

    Only like is compared with like: same trial, data, machine and packages, or the differing keys are named. Exit
    status 3: no trial could be compared.
    """
    from reports.across import comparing

    found = comparing.compare_folders(run_folders, across, _gates)
    content = comparing.render(found, kind)
    if output is None or str(output) == "-":
        click.echo(content, nl=False)
    else:
        write(output, content)
        click.echo(str(output))
    return 0 if any(pair.ratio is not None for pair in found.pairs) else NOTHING_COMPARED


def _gates(one: TrialResult, other: TrialResult) -> Sequence[GateOutcome]:
    """Of the same work, done in two runs. The second needs another id, or the two would be taken for one."""
    import msgspec

    from bench import gates

    return gates.between([one, msgspec.structs.replace(other, trial_id=f"{other.trial_id} of the other run")])
