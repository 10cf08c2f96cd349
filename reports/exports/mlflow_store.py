"""A run in a local store of MLflow: one MLflow run for the whole, and one below it for each trial. Asks no network."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.errors import UserError
from reports.export import as_json
from reports.exports.tracked import Tracked, tracked
from reports.load import LoadedRun
from reports.markdown import as_markdown
from reports.table import rows
from reports.text import one_line
from reports.verdict import equality, verdicts

DATABASE = "mlflow.db"
RUN = "paceline.run"
_PARENT = "mlflow.parentRunId"
_BATCH = 1000  # metrics, of one call
_LONGEST = 500


def write(run: LoadedRun, target: Path) -> None:
    """Adds to the store in the folder `target`, made where it is not there. Raises UserError when it has this run."""
    target.mkdir(parents=True, exist_ok=True)
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # before the first import, or it tells its maker
    from mlflow.exceptions import MlflowException

    try:
        _write(run, target)
    except MlflowException as error:
        raise UserError(f"MLflow refused {target}: {one_line(str(error), _LONGEST)}") from None


def _write(run: LoadedRun, target: Path) -> None:
    client = _client(target.resolve() / DATABASE)
    experiment = _experiment(client, one_line(run.result.study, 200), target.resolve() / "artifacts")
    name = run.folder.resolve().name
    if client.search_runs([experiment], filter_string=f'tags.`{RUN}` = "{name}"', max_results=1):
        raise UserError(f"{target} has {name} already: delete it there, or give another place with -o")
    found = verdicts(run.result, rows(run))
    said = {"equal_work": equality(run.result).sentence, "verdict": " ".join(one.sentence for one in found)}
    parent = _begin(client, experiment, name, {RUN: name, **said})
    client.log_text(parent, as_json(run), "report.json")
    client.log_text(parent, as_markdown(run), "report.md")
    for trial in tracked(run):
        _write_trial(client, experiment, trial, {RUN: name, _PARENT: parent})
    client.set_terminated(parent)


def _client(database: Path) -> Any:
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{database}")


def _write_trial(client: Any, experiment: str, trial: Tracked, tags: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    own = _begin(client, experiment, trial.name, {**tags, **trial.words})
    client.log_batch(own, params=[Param(_key(name), str(value)[:_LONGEST]) for name, value in trial.settings.items()])
    metrics = list(_metrics(trial))
    for first in range(0, len(metrics), _BATCH):
        client.log_batch(own, metrics=metrics[first : first + _BATCH])
    client.set_terminated(own, "FINISHED" if trial.words["status"] == "ok" else "FAILED")


def _metrics(trial: Tracked) -> Iterator[Any]:
    """The row's numbers; over the launches their speed; over the steps of each launch what was seen there."""

    from mlflow.entities import Metric

    for name, value in trial.numbers.items():
        yield Metric(_key(name), value, 0, 0)
    for launch in trial.launches:
        if launch.rate is not None:
            yield Metric("samples_per_second_of_launch", launch.rate, _ms(launch.started_s), launch.repeat)
        for point in launch.points:
            for name, value in point.values.items():
                yield Metric(_key(f"launch_{launch.repeat}/{name}"), value, _ms(point.at_s), point.steps)


def _begin(client: Any, experiment: str, name: str, tags: Mapping[str, str]) -> str:
    kept = {_key(key): value[:_LONGEST] for key, value in tags.items()}
    return str(client.create_run(experiment, tags=kept, run_name=name).info.run_id)


def _experiment(client: Any, name: str, artifacts: Path) -> str:
    known = client.get_experiment_by_name(name)
    return str(known.experiment_id if known else client.create_experiment(name, artifact_location=artifacts.as_uri()))


def _ms(at_s: float | None) -> int:
    """Since 1970; 0 where it is not known."""
    return 0 if at_s is None else round(at_s * 1000)


def _key(name: str) -> str:
    """MLflow takes letters, digits, and few other characters; option names are the user's."""
    return re.sub(r"[^\w./ -]", "_", name)[:200]
