"""`paceline verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.shared import RUNS, cluster_options, load_study, observe, on_termination

if TYPE_CHECKING:
    from bench.records import Verification, Verified, Worst


@click.command(short_help="Prove that the trials of a study do the same work.")
@click.argument("study", type=Path)
@click.option("--steps", type=click.IntRange(2, 10_000), default=10, show_default=True, help="Of every trial.")
@click.option("--runs", type=Path, default=RUNS, help="Folder for run folders.  [default: ./runs]")
@click.option("--verbose", is_flag=True, help="One line a launch where there is no terminal.")
@cluster_options
def verify(study: Path, steps: int, runs: Path, verbose: bool, **flags: Any) -> int:
    """Prove that the trials of STUDY do the same work: every gate, at the study's own sizes, nothing timed."""
    from bench import verify as program

    with on_termination(), observe(verbose) as observer:
        loaded, cluster = load_study(study, flags)
        folder, verification = program.verify(loaded, runs, steps, cluster, observer)
    click.echo(agreement(verification), nl=False)
    click.echo(f"\n{folder / 'verification.json'}")
    failed = any(each.error or any(gate.holds is False for gate in each.gates) for each in verification.trials)
    return 1 if failed else 0


def agreement(verification: Verification) -> str:
    """The table, as text of at most 80 columns, then one line for each thing that does not hold."""
    rows = [("trial", "losses", "gradients", "updates", "gates")]
    rows += [_row(each) for each in verification.trials]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    for each in verification.trials:
        lines += _notes(each)
    lines += [f"{trial.id}: not selectable, because {reason}" for trial, reason in verification.rejected]
    return "\n".join(lines) + "\n"


def _row(each: Verified) -> tuple[str, str, str, str, str]:
    if each.error:
        return each.trial_id, "-", "-", "-", "not run"
    held, failed = (sum(gate.holds is kind for gate in each.gates) for kind in (True, False))
    said = f"{failed} of {held + failed} fail" if failed else f"{held} hold"
    if each.reference == each.trial_id:
        return each.trial_id, "reference", "reference", "reference", said
    return each.trial_id, _cell(each.losses), _cell(each.gradients), _cell(each.updates), said


def _cell(worst: Worst | None) -> str:
    if worst is None:
        return "-"
    return f"{'?' if worst.difference is None else f'{worst.difference:.0e}'} of {worst.allowed:.0e}"


def _notes(each: Verified) -> list[str]:
    """Failures; else, for a trial that was compared, its worst tensors."""
    if each.error:
        return [f"{each.trial_id}: {each.error}"]
    failed = [f"{each.trial_id}: gate {gate.gate!r}: {gate.sentence}" for gate in each.gates if gate.holds is False]
    if failed:
        return failed
    if each.reference is None:
        why = next((gate.sentence for gate in each.gates if gate.gate == "same losses"), "equality not shown")
        return [f"{each.trial_id}: {why}"]
    worst = [("gradients", each.gradients), ("updates", each.updates)]
    said = [f"worst {kind}: {found.where}" for kind, found in worst if found is not None]
    return [f"{each.trial_id}: {', '.join(said)}"] if said else []
