"""A run as offline runs of Weights & Biases, one for each trial; nothing leaves the machine before `wandb sync`."""

from __future__ import annotations

import re
from pathlib import Path

from reports.exports.tracked import Tracked, tracked
from reports.load import LoadedRun
from reports.text import one_line

_LONGEST = 128


def write(run: LoadedRun, target: Path) -> None:
    """Below `target`/wandb; the study is the project and the run folder the group."""
    target.mkdir(parents=True, exist_ok=True)
    project = re.sub(r"[/\\#?%:]", "_", one_line(run.result.study, _LONGEST))
    for trial in tracked(run):
        _write_trial(trial, target, project, run.folder.resolve().name)


def _write_trial(trial: Tracked, target: Path, project: str, group: str) -> None:
    # Of this machine nothing is told: the run's own environment is in its report.
    import wandb

    quiet = wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_save_requirements=False,
        host="unknown",
    )
    with wandb.init(
        mode="offline", dir=str(target), project=project, group=group[:_LONGEST], name=trial.name[:_LONGEST],
        config={**trial.settings, "paceline": trial.words}, settings=quiet,
    ) as own:  # fmt: skip
        own.define_metric("launch_*", step_metric="steps")
        for launch in trial.launches:
            for point in launch.points:
                own.log(
                    {f"launch_{launch.repeat}/{name}": one for name, one in point.values.items()}
                    | {"steps": point.steps}
                )
        own.summary.update(trial.numbers)
