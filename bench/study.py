"""A study, decoded strictly: every key known, every value in range, lists under `matrix:` expanded to trials."""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from bench import catalog
from bench.errors import UserError
from bench.records import Count, Fraction, LauncherName, NotNegative, Positive, Record, Trial, Workload
from bench.strict import KeyPath, check_tree, check_value
from bench.trial_checks import check_trial, written_at
from bench.workload.models import SIZES
from bench.yaml_source import Source, suggestion
from bench.yaml_source import load as load_yaml

MOST_TRIALS = 1_000
MOST_REPLICAS = 16_384
SECTIONS = (("workload",), ("optimizer",), ("loss_scale",), ("timing",), ("quality",))


class Header(Record, frozen=True, kw_only=True):
    """The keys that belong to the study and not to a trial.

    repeats            fresh launches of every trial; with a target, the fewest
    target_half_width  relative, of the 95 % interval of a trial's speed: launches are added until it is met; 0: none
    most_repeats       the most launches of a trial that has a target
    budget_s           no launch is added after so many seconds of launches; 0: no limit
    sentinel           the first trial is launched once more before each round and at the end, to see the machine drift
    seed               of the order of launches
    bare               one run per framework on one device, without a wrapper, beside the others
    timeout_s          of one launch, start to end
    patience           factor on how long a launch may stand still before it counts as hung (bench.launch.deadlines)
    rendezvous_port    where ranks meet that need a port; 0: any free one
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    repeats: Count = 3
    target_half_width: Fraction = 0.0
    most_repeats: Count = 10
    budget_s: NotNegative = 0.0
    sentinel: bool = False
    seed: int = 1
    bare: bool = True
    timeout_s: Positive = 1_800.0
    patience: Positive = 1.0
    rendezvous_port: Annotated[int, Meta(ge=0, lt=65_536)] = 0


class StudyWorkload(Workload, frozen=True, kw_only=True):
    """`global_batch` keeps the whole job's batch fixed (strong scaling) in place of `batch_per_replica` (weak)."""

    global_batch: Count | None = None


class StudyTrial(Trial, frozen=True, kw_only=True):
    """A trial as a person writes it: two values may be left to the machine."""

    launcher: LauncherName | Literal["auto"] = "auto"  # type: ignore[assignment]
    threads_per_replica: Count | Literal["auto"] = "auto"  # type: ignore[assignment]
    workload: StudyWorkload = StudyWorkload()


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
    threads = max(1, _cores() // min(fullest, max(runnable, default=1)))
    num_hosts = max(1, len(hosts))
    trials: dict[str, Trial] = {}
    rejected: dict[str, Rejected] = {}
    for trial, reason in _resolved(points, header, path.parent, threads, slots, num_hosts):
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
    reasons = [_why_indivisible(point) for point in points]
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
        notes.append(f"{threads} thread(s) per replica: {_cores()} cores over the largest replica count{per_host}")
    if any(point.launcher == "auto" for point in points) and any(trial.launcher == "local" for trial in trials):
        notes.append("horovodrun is not installed here: ranks are started by paceline itself (launcher local)")
    for trial in trials if num_hosts == 1 else []:
        if trial.replicas * trial.threads_per_replica > _cores():
            notes.append(f"{trial.id} is oversubscribed: more threads than the {_cores()} cores")
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


# ---- from points to trials ----------------------------------------------------------------------------------


def _resolved(
    points: list[StudyTrial], header: Header, base: Path, threads: int, slots: int | None, num_hosts: int
) -> Iterator[tuple[Trial, str | None]]:
    """Each point as a trial with the reason why it cannot run; after a runnable one, its bare run."""
    for point in points:
        trial = _trial(point, base, threads)
        reason = _why_not(point, trial, slots, num_hosts)
        yield trial, reason
        bare = catalog.entry(trial.backend).bare
        if header.bare and bare is not None and reason is None:
            alone = _bare(point, trial, bare)
            yield alone, catalog.why_not_selectable(alone, num_hosts=1)


def _why_not(point: StudyTrial, trial: Trial, slots: int | None, num_hosts: int) -> str | None:
    indivisible = _why_indivisible(point)
    if indivisible is not None:
        return indivisible
    if slots is not None and point.replicas > slots:
        return f"-np {slots} leaves no room for {point.replicas} replicas"
    return catalog.why_not_selectable(trial, num_hosts)


def _why_indivisible(point: StudyTrial) -> str | None:
    whole, batch, parts = point.workload.global_batch, point.workload.batch_per_replica, point.workload.accumulation
    if whole is not None:
        if whole % point.replicas:
            return f"the global batch of {whole} does not divide among {point.replicas} replicas"
        batch = whole // point.replicas
    if batch % parts:
        return f"a batch of {batch} per replica does not divide into workload.accumulation {parts} microbatches"
    return None


def _trial(point: StudyTrial, base: Path, threads: int) -> Trial:
    """Fills in what was left to the machine, and the batch per replica; paths are relative to the study's folder."""
    workload = {name: getattr(point.workload, name) for name in Workload.__struct_fields__}
    # a model that is no folder stays a word, so that a misspelt size is answered with the sizes
    words_of = {
        "data": ("builtin",),
        "validation": ("held_out",),
        "vocabulary": ("trained",),
        "model": tuple(SIZES),
    }
    for name, words in words_of.items():
        is_path = workload[name] not in words and (name != "model" or os.sep in workload[name])
        workload[name] = str((base / workload[name]).resolve()) if is_path else workload[name]
    if point.workload.global_batch is not None:
        workload["batch_per_replica"] = max(1, point.workload.global_batch // point.replicas)
    fields = {name: getattr(point, name) for name in Trial.__struct_fields__}
    fields["workload"] = Workload(**workload)
    if fields["launcher"] == "auto":
        row = catalog.entry(point.backend)
        preferred = [name for name in ("horovodrun", "local") if name in row.launchers]
        found = [name for name in preferred if catalog.why_no_launcher(name) is None]
        fields["launcher"] = found[0] if found else row.launchers[0]
    if fields["threads_per_replica"] == "auto":
        fields["threads_per_replica"] = threads
    return Trial(**fields)


def _bare(point: StudyTrial, trial: Trial, bare: str) -> Trial:
    """The same work on one device without a wrapper: under strong scaling that device does the whole batch."""
    batch = point.workload.global_batch or trial.workload.batch_per_replica
    workload = msgspec.structs.replace(trial.workload, batch_per_replica=batch)
    return msgspec.structs.replace(
        trial, backend=bare, replicas=1, workload=workload, wire="float32", allreduce="auto", options={}
    )


def _cores() -> int:
    """Cores this process may use, which a container or taskset may have made fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
