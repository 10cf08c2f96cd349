"""A run as offline runs of Weights & Biases, one for each trial; nothing leaves the machine before `wandb sync`.

That takes them to a server, so what is told of this machine stays out: its name, its paths, its logs and errors.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from bench.errors import UserError
from reports.exports.tracked import Tracked, tracked
from reports.load import LoadedRun
from reports.text import one_line

_LONGEST = 128
# Texts that quote logs and errors, and with them hosts and paths.
_QUOTING = ("reason", "allreduce_evidence", "verified_error")


def write(run: LoadedRun, target: Path) -> None:
    """Below `target`/wandb; the study is the project and the run folder the group. A trial's id there is the same in
    every export, so that none becomes two. Raises UserError, and writes nothing, where one is there already."""
    group = run.folder.resolve().name
    found = {_id(group, trial): trial for trial in tracked(run)}
    for own in found:
        if next((target / "wandb").glob(f"offline-run-*-{own}"), None):
            raise UserError(f"{target} has {group} already: remove it there, or give another place with -o")
    target.mkdir(parents=True, exist_ok=True)
    project = re.sub(r"[/\\#?%:]", "_", one_line(run.result.study, _LONGEST))
    for own, trial in found.items():
        _write_trial(trial, target, {"project": project, "group": group[:_LONGEST], "id": own})


def _id(group: str, trial: Tracked) -> str:
    """Of the letters that are allowed in one."""
    return hashlib.sha256(f"{group}/{trial.trial_id}".encode()).hexdigest()[:16]


def _config(trial: Tracked) -> dict[str, object]:
    words = {name: _without_paths(trial, text) for name, text in trial.words.items() if name not in _QUOTING}
    settings = {
        name: _without_paths(trial, value) if isinstance(value, str) else value
        for name, value in trial.settings.items()
    }
    return {**settings, "paceline": words}


def _without_paths(trial: Tracked, text: str) -> str:
    """Of each path that the trial names its last part: where this machine keeps a file is its own business."""
    paths = [value for value in trial.settings.values() if isinstance(value, str) and "/" in value]
    for path in sorted(paths, key=len, reverse=True):
        text = text.replace(path, path.rstrip("/").rpartition("/")[2])
    return text


def _write_trial(trial: Tracked, target: Path, place: dict[str, str]) -> None:
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
        mode="offline", dir=str(target), name=_without_paths(trial, trial.name)[:_LONGEST], settings=quiet,
        config=_config(trial), **place,
    ) as own:  # fmt: skip
        own.define_metric("launch_*", step_metric="steps")
        for launch in trial.launches:
            for point in launch.points:
                own.log(
                    {f"launch_{launch.repeat}/{name}": one for name, one in point.values.items()}
                    | {"steps": point.steps}
                )
        own.summary.update(trial.numbers)
