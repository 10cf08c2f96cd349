"""TensorBoard's event files: a folder per trial with its settings and numbers, and in it one per launch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from reports.exports import new_folder
from reports.exports.tracked import Launch, Tracked, tracked
from reports.load import LoadedRun
from reports.markdown import as_markdown


def write(run: LoadedRun, target: Path) -> None:
    """`target`/RUN/TRIAL/launch-N; the tab HParams compares the trials, Text holds the report."""
    folder = new_folder(target, run.folder.resolve().name)
    with _writer(folder) as writer:
        writer.add_text("report", as_markdown(run))
    for trial in tracked(run):
        place = folder / trial.trial_id
        _write_trial(place, trial)
        for launch in trial.launches:
            _write_launch(place / f"launch-{launch.repeat}", launch)


def _writer(place: Path) -> Any:
    from tensorboardX import SummaryWriter

    return SummaryWriter(str(place))


def _write_trial(place: Path, trial: Tracked) -> None:
    from tensorboardX.summary import hparams

    with _writer(place) as writer:
        settings = {_tag(name): str(value) if value is None else value for name, value in trial.settings.items()}
        for summary in hparams({**settings, "trial": trial.name}, dict.fromkeys(trial.numbers, 0.0)):
            writer.file_writer.add_summary(summary)
        for name, value in trial.numbers.items():
            writer.add_scalar(name, value, 0, display_name=name)
        for launch in trial.launches:
            if launch.rate is not None:
                writer.add_scalar("samples_per_second_of_launch", launch.rate, launch.repeat, launch.started_s)


def _write_launch(place: Path, launch: Launch) -> None:
    with _writer(place) as writer:
        for point in launch.points:
            for name, value in point.values.items():
                writer.add_scalar(_tag(name), value, point.steps, point.at_s)


def _tag(name: str) -> str:
    """Option names are the user's."""
    return re.sub(r"[^\w.-]", "_", name)[:200]
