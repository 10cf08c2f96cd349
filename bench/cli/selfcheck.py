"""`paceline selfcheck`: does every number come back that was programmed?"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.shared import on_termination

if TYPE_CHECKING:
    from bench.selfcheck import Finding, Scenario

ATTEMPTS = 3


@click.command(short_help="Measure programmed parts, to test the measuring.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the first scenario; the next ones follow.")
@click.option("--simulated", type=click.IntRange(1), default=20, show_default=True, help="Scenarios with own clocks.")
@click.option("--real", type=click.IntRange(0), default=2, show_default=True, help="Scenarios with real processes.")
def selfcheck(seed: int, simulated: int, real: int) -> int:
    """Programmed step, exchange, overlap, input and straggler times through the whole pipeline: do they come back?

    With injected clocks they must, exactly; with real processes within 2 %. A real scenario gets three attempts,
    because another program on this machine costs time too, and is then not what is measured. Exit status: 0 every
    number came back, 1 one did not, 3 the machine was too busy for the real processes to show anything.
    """
    from bench import selfcheck as ruler

    with on_termination(), tempfile.TemporaryDirectory(prefix="paceline-selfcheck-") as folder:
        runs = Path(folder)
        exact = [ruler.worst(ruler.simulate(ruler.scenario(seed + n), runs, _publish)) for n in range(simulated)]
        passed = _say(f"{simulated} scenarios with injected clocks", max(exact, key=lambda one: one.error), ruler.EXACT)
        shown = [
            _real(ruler.scenario(seed + number, ranks=2), runs, f"real processes, scenario {seed + number}")
            for number in range(real)
        ]
    if not passed or False in shown:
        click.echo("a number did not come back: do not trust this installation")
        return 1
    if None in shown:
        click.echo("this machine is too busy for real processes to show anything: end what else runs, and try again")
        return 3
    click.echo("every number came back")
    return 0


def _real(given: Scenario, runs: Path, what: str) -> bool | None:
    """None where the machine was too busy, in every attempt, to tell."""
    from bench import selfcheck as ruler

    told = None
    for number in range(1, ATTEMPTS + 1):
        attempt = ruler.launch(given, runs, _publish)
        found = ruler.worst(attempt.findings)
        busy = f", with {attempt.overslept_ms:.1g} ms a step overslept" if attempt.busy else ""
        if _say(f"{what}, attempt {number}{busy}", found, ruler.REAL):
            return True
        told = told if attempt.busy else False
    return told


def _say(what: str, found: Finding, allowed: float) -> bool:
    passed = found.error <= allowed
    published = "nothing" if found.published is None else f"{found.published:.6g}"
    click.echo(
        f"{'ok' if passed else '--'}  {what}: worst is {found.name}, programmed {found.programmed:.6g}, published "
        f"{published}, {found.error:.1e} off (allowed {allowed:.0e})"
    )
    return passed


def _publish(folder: Path) -> Any:
    import reports

    return json.loads(reports.render(folder, "json"))
