"""A study, decoded strictly: every key known, every value in range, lists under `matrix:` expanded to trials."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench import catalog
from bench.errors import UserError
from bench.points import MOST_REPLICAS, Header, StudyTrial, cores, resolved, why_indivisible
from bench.records import Record, Trial
from bench.strict import KeyPath, check_tree, check_value
from bench.trial_checks import check_trial, written_at
from bench.yaml_source import Source, suggestion
from bench.yaml_source import load as load_yaml

MOST_TRIALS = 1_000
SECTIONS = (("workload",), ("optimizer",), ("loss_scale",), ("timing",), ("quality",))


class Rejected(Record, frozen=True, kw_only=True):
    """A point of the matrix that cannot run here, and why; it keeps its row."""

    trial: Trial
    reason: str


class Study(Record, frozen=True, kw_only=True):
    """What a run executes. `trials` in the file's order with the bare runs first, each once.

    `notes` say, for people, what was chosen for this machine where the study left it open.
    """

    header: Header
    yaml: str
    trials: list[Trial]
    rejected: list[Rejected]
    notes: list[str]


def load(
    path: Path, launcher: str | None = None, slots: int | None = None, hosts: Sequence[tuple[str, int]] = ()
) -> Study:
    """Reads, checks and expands the study at `path`. Nothing is started.

    `launcher` replaces the study's own. `slots` (horovodrun's -np) is the room there is: a study without a
    `replicas` axis runs at that many, an axis keeps its points up to it. Raises UserError for any mistake.
    """
    source = load_yaml(path)
    header, fixed, axes = _sections(source)
    points = [_point(source, fixed, axes, values) for values in itertools.product(*axes.values())]
    if slots is not None and ("replicas",) not in axes:
        points = [msgspec.structs.replace(point, replicas=slots) for point in points]
    if launcher is not None:
        points = [msgspec.structs.replace(point, launcher=launcher) for point in points]
    _check_batches(source, points)
    runnable = [point.replicas for point in points if slots is None or point.replicas <= slots]
    fullest = max((room for _, room in hosts), default=MOST_REPLICAS)
    threads = max(1, cores() // min(fullest, max(runnable, default=1)))
    num_hosts = max(1, len(hosts))
    trials: dict[str, Trial] = {}
    rejected: dict[str, Rejected] = {}
    for trial, reason in resolved(points, header, path.parent, threads, slots, num_hosts):
        check_trial(source, trial)
        if reason is None:
            trials.setdefault(trial.id, trial)
        else:
            rejected.setdefault(trial.id, Rejected(trial=trial, reason=reason))
    ordered = sorted(trials.values(), key=lambda trial: catalog.entry(trial.backend).max_replicas != 1)
    return Study(
        header=header,
        yaml=source.text,
        trials=ordered,
        rejected=list(rejected.values()),
        notes=_notes(points, ordered, threads, num_hosts),
    )


def _check_batches(source: Source, points: Sequence[StudyTrial]) -> None:
    """Raises UserError for a batch that no number of replicas of the study can divide."""
    reasons = [why_indivisible(point) for point in points]
    for point, reason in zip(points, reasons, strict=True):
        whole = point.workload.global_batch
        if reason is not None and (whole is None or None not in reasons):
            key = "workload.accumulation" if whole is None else "workload.global_batch"
            raise source.error(written_at(source, key), reason)


def _notes(points: list[StudyTrial], trials: list[Trial], threads: int, num_hosts: int) -> list[str]:
    """What was left to the machine and could surprise."""
    notes = []
    if any(point.threads_per_replica == "auto" for point in points):
        per_host = " on one host; all hosts are taken to be like this one" if num_hosts > 1 else ""
        notes.append(f"{threads} thread(s) per replica: {cores()} cores over the largest replica count{per_host}")
    if any(point.launcher == "auto" for point in points) and any(trial.launcher == "local" for trial in trials):
        notes.append("horovodrun is not installed here: ranks are started by paceline itself (launcher local)")
    for trial in trials if num_hosts == 1 else []:
        if trial.replicas * trial.threads_per_replica > cores():
            notes.append(f"{trial.id} is oversubscribed: more threads than the {cores()} cores")
    return notes


# ---- from text to points ------------------------------------------------------------------------------------


def _sections(source: Source) -> tuple[Header, dict[str, Any], dict[KeyPath, list[Any]]]:
    """Splits the document into the study's own keys, the fixed trial keys and the axes; checks each key and value."""
    tree = dict(source.tree)
    matrix = tree.pop("matrix", {})
    own = {key: tree.pop(key) for key in list(tree) if key in Header.__struct_fields__}
    own.setdefault("name", Path(source.name).stem)
    check_tree(source, own, Header, also=())
    check_tree(source, tree, StudyTrial, also=[*Header.__struct_fields__, "matrix"])
    if not isinstance(matrix, dict):
        raise source.error(("matrix",), "matrix must hold `key: [values]` lines")
    axes: dict[KeyPath, list[Any]] = {}
    for key, values in matrix.items():
        if not isinstance(values, list) or not values:
            raise source.error(("matrix", key), f"matrix.{key} must be a list of values, got {values!r}")
        path = tuple(key.split("."))
        if path in SECTIONS:
            raise source.error(
                ("matrix", key), f"{key} is a section; make its keys the axes, as in {key}.KEY: [values]"
            )
        for value in values:
            check_value(source, path, value, StudyTrial, at=("matrix", key))
        axes[path] = values
    if len(list(itertools.islice(itertools.product(*axes.values()), MOST_TRIALS + 1))) > MOST_TRIALS:
        raise source.error(("matrix",), f"the matrix has more than {MOST_TRIALS} points")
    return msgspec.convert(own, Header), tree, axes


def _point(
    source: Source, fixed: dict[str, Any], axes: dict[KeyPath, list[Any]], values: tuple[Any, ...]
) -> StudyTrial:
    tree: dict[str, Any] = copy.deepcopy(fixed)
    for path, value in zip(axes, values, strict=True):
        parent = tree
        for key in path[:-1]:
            parent = parent.setdefault(key, {})
        parent[path[-1]] = value
    if "backend" not in tree:
        raise source.error((), f"a study needs a backend; allowed are {', '.join(sorted(catalog.entries()))}")
    workload = tree.get("workload", {})
    if "global_batch" in workload and "batch_per_replica" in workload:
        raise source.error(
            ("workload", "global_batch"), "give workload.global_batch or workload.batch_per_replica, not both"
        )
    try:
        point = msgspec.convert(tree, StudyTrial)
        catalog.entry(point.backend)
        _known_options(point.options)
    except (msgspec.ValidationError, UserError) as error:
        at = ("matrix", "backend") if ("backend",) in axes else ("backend",)
        raise source.error(("options",) if "option " in str(error) else at, str(error)) from None
    return point


def _known_options(options: Mapping[str, Any]) -> None:
    """An option that no backend has is a mistake; one that only another backend has makes the trial not selectable."""
    known = {name for row in catalog.entries().values() for name in row.options}
    for option in options:
        if option not in known:
            raise UserError(f"no backend has an option {option!r}{suggestion(option, known)}")
