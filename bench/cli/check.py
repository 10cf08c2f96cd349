"""`paceline check`: is a run slower than its baseline?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.shared import observe, on_termination
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.baselines import Reading, Store
    from bench.regression import Finding, Rule

STATUS = {"pass": 0, "regress": 1, "inconclusive": 3}


@click.command(short_help="Say whether a run is slower than its baseline.")
@click.argument("run_folder", type=Path, metavar="RUN")
@click.option("--baseline", "base", type=Path, help="Run folder to hold RUN against; else the store's reference.")
@click.option("--store", "store_folder", type=Path, help="Folder of saved baselines.  [default: .baselines beside RUN]")
@click.option("--save", is_flag=True, help="Add RUN to the store, its regressed trials left out.")
@click.option("--accept", is_flag=True, help="Save RUN as the new reference, slower or not.")
@click.option("--resolve", "resolving", is_flag=True, help="While inconclusive, launch more repeats, up to ten.")
@click.option("--minimum-effect", type=click.FloatRange(0, 100), default=2.0, help="Percent; less never fails.")
@click.option("--rule-out", type=click.FloatRange(0.1, 100), default=5.0, help="Percent; a pass excludes as much.")
def check(run_folder: Path, base: Path | None, store_folder: Path | None, resolving: bool, **choices: Any) -> int:
    """Say whether RUN is slower than its baseline: exit 0 pass, 1 regress, 3 inconclusive."""
    from bench import baselines, regression

    save, accept, rule = choices["save"], choices["accept"], _rule(**choices)
    store = baselines.Store(store_folder or run_folder.resolve().parent / baselines.STORE)
    readings = _read(run_folder)
    if base is not None and run_folder.resolve() == base.resolve():
        raise UserError(f"{base} is the run itself: it would always pass; give another run as --baseline")
    if base is None and (save or accept) and not any(_match(reading, store) for reading in readings):
        return _save(store, readings, reference=True)
    findings = _findings(run_folder, base, store, rule, resolving)
    for finding in findings:
        click.echo(f"{finding.verdict:<13} {finding.trial_id}: {finding.sentence}")
    if save or accept:
        slower = {finding.trial_id for finding in findings if finding.verdict == "regress" and not accept}
        _save(store, [reading for reading in _read(run_folder) if reading.trial_id not in slower], reference=accept)
    return STATUS[regression.verdict(findings)]


def _rule(minimum_effect: float, rule_out: float, **others: Any) -> Rule:
    from bench.regression import Rule

    if not minimum_effect < rule_out:  # nor is nan
        raise UserError("--rule-out must be more than --minimum-effect, or a pass would allow what fails")
    return Rule(minimum_effect / 100, rule_out / 100)


def _read(run_folder: Path) -> list[Reading]:
    from bench import baselines

    readings = baselines.read_run(run_folder)
    if not readings:
        raise UserError(f"{run_folder}: none of its trials was launched, so there is nothing to compare")
    return readings


def _others(reading: Reading, store: Store) -> list[Reading]:
    from bench import baselines

    return [other for other in store.references() if not baselines.same_run(other, reading)]


def _match(reading: Reading, store: Store) -> bool:
    from bench import baselines

    return baselines.match(reading, _others(reading, store))[0] is not None


def _findings(run_folder: Path, base: Path | None, store: Store, rule: Rule, resolving: bool) -> list[Finding]:
    from bench import baselines, regression

    fixed = baselines.read_run(base) if base else None

    def look() -> list[Finding]:
        readings = _read(run_folder)
        candidates = _others(readings[0], store) if fixed is None else fixed
        return baselines.hold_against(readings, candidates, store, rule, whole=fixed is not None)

    if not resolving:
        return look()

    def more_launches(count: int) -> None:
        click.echo(f"inconclusive: {count} more launches of each trial", err=True)
        launch_more(run_folder.resolve(), count)

    return regression.resolve(look, more_launches)


def launch_more(run_folder: Path, count: int) -> None:
    """Extends the run's plan by `count` rounds and makes them. Refuses where this is not the run's own machine."""
    from bench import assemble, environment
    from bench import run as program
    from reports.across import circumstances

    planned = assemble.read_plan(run_folder)
    differing = circumstances.differing(planned.environment, environment.capture(os.environ))
    if differing:
        raise UserError(f"--resolve cannot add launches to {run_folder} here: {', '.join(differing)}")
    with on_termination(), observe(False) as observer:
        program.proceed(run_folder, observer, extra_rounds=count)


def _save(store: Store, readings: list[Reading], reference: bool) -> int:
    for reading in readings:
        if not reading.launch_rates:
            click.echo(f"not saved: {reading.trial_id}: {reading.reason}", err=True)
            continue
        store.save(reading, reference)
        click.echo(f"saved {reading.trial_id}: {len(reading.launch_rates)} launches", err=True)
    return 0
