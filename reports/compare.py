"""Like with like: which trials did the same work, what tells two trials apart, and what a trial is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

from bench.records import Trial, TrialResult

Scalar = str | bool | int | float | None
Key = dict[str, Scalar]

# Trials that agree in these trained the same model on the same data by the same rule, on the same means, and were
# measured alike. Everything else (backend, launcher, all-reduce, accumulation, compile, options) is what a study
# compares, once their losses are shown to be the same.
EQUAL_WORK = ("workload.", "optimizer.", "replicas", "threads_per_replica", "timing.")
# A bare run has one replica, and neither a wire nor an all-reduce.
EQUAL_MODEL = ("workload.", "optimizer.", "compute", "threads_per_replica", "compile", "preset", "device")
# None changes what a step trains: data that is looked at beside it, how a replica splits its batch, what shares a row.
_NO_WORK = ("workload.validation", "workload.accumulation", "workload.packed")
# One replica has no exchange to leave out: this is worth a word only where as many replicas differ in it.
_OF_REPLICAS = ("timing.local_windows",)
_TASKS = {"pretraining": "pre-training", "ner": "named-entity recognition", "classification": "classification"}
# Their values say by themselves what they are.
_SELF_SPEAKING = ("allreduce", "launcher", "workload.task")


def flatten(value: object, prefix: str = "") -> Key:
    """Dotted names to scalars: {"workload": {"task": "ner"}} becomes {"workload.task": "ner"}; lists become text."""
    if not isinstance(value, Mapping):
        scalar = value if isinstance(value, str | bool | int | float) or value is None else str(value)
        return {prefix.rstrip("."): scalar}
    found: Key = {}
    for name, part in value.items():
        found.update(flatten(part, f"{prefix}{name}."))
    return found


def settings(trial: Trial) -> Key:
    """Every scalar of the trial by its dotted name."""
    return dict(_flat(msgspec.json.encode(trial)))


@lru_cache(maxsize=1024)  # each trial is held against each other one
def _flat(trial: bytes) -> Key:
    return flatten(msgspec.json.decode(trial))


def key(trial: Trial, names: Sequence[str] = EQUAL_WORK) -> Key:
    """The settings whose name starts with one of `names`, without those that do not change the work."""
    return {
        name: value for name, value in settings(trial).items() if name.startswith(tuple(names)) and name not in _NO_WORK
    }


def arithmetic(trial: Trial) -> Key:
    """What the work is computed in. Two trials that differ here differ in rounding, which must be shown to stay within
    bounds before their speeds are set against each other."""
    wire = ("wire",) if trial.replicas > 1 else ()
    scale = ("loss_scale.",) if trial.compute == "float16" else ()
    return key(trial, ("compute", *wire, *scale))


def differing(one: Key, other: Key) -> list[str]:
    """ "name (value and value)" of each setting in which the two disagree."""
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return [f"{name} ({one.get(name)} and {other.get(name)})" for name in names]


def same_work(trials: Sequence[TrialResult], across: bool = False) -> list[list[TrialResult]]:
    """Groups of trials with equal work, most replicas first, else in the order of the study.

    `across`: whatever their arithmetic.
    """
    groups: dict[str, list[TrialResult]] = {}
    for result in trials:
        own = key(result.trial) | ({} if across else arithmetic(result.trial))
        groups.setdefault(repr(sorted(own.items())), []).append(result)
    return sorted(groups.values(), key=lambda group: -group[0].trial.replicas)


def baseline(
    result: TrialResult, trials: Sequence[TrialResult], batch: int | None = None
) -> tuple[TrialResult | None, str | None]:
    """The bare run that `result` is set against, or None and why there is none. `batch`: of that bare run; None: that
    of one replica (weak scaling), else the whole job's (strong scaling)."""
    bare = [other for other in trials if other.mode == "bare" and other.framework == result.framework]
    if not bare:
        return None, "no bare run to set it against"
    asked = (result.trial.workload.batch_per_replica, result.trial.global_batch) if batch is None else (batch,)
    own = _model(result.trial)
    found = [(_distance(own, other.trial, asked), _rank(asked, other.trial), other) for other in bare]
    distance, _, nearest = min(found, key=lambda one: (len(one[0]), one[1]))
    if distance:
        return None, f"the bare run of {result.framework} differs in {', '.join(distance)}"
    return nearest, None


def _model(trial: Trial) -> Key:
    return {name: value for name, value in key(trial, EQUAL_MODEL).items() if name != "workload.batch_per_replica"}


def _distance(own: Key, bare: Trial, asked: Sequence[int]) -> list[str]:
    """What a bare run differs in. One of the `asked` batches will do."""
    given = bare.workload.batch_per_replica
    wanted = f"{asked[0]} per replica, {asked[1]} in all," if len(asked) > 1 else f"{asked[0]}"
    rest = [] if given in asked else [f"the batch ({wanted} and {given})"]
    return differing(own, _model(bare)) + rest


def _rank(asked: Sequence[int], bare: Trial) -> int:
    given = bare.workload.batch_per_replica
    return asked.index(given) if given in asked else len(asked)


def labels(trials: Sequence[TrialResult]) -> dict[str, str]:
    """Trial id to name: the backend, and what tells it from the other trials of that backend and replica count."""
    named: dict[str, str] = {}
    for result in trials:
        rivals = [
            settings(other.trial)
            for other in trials
            if (other.trial.backend, other.trial.replicas) == (result.trial.backend, result.trial.replicas)
        ]
        named[result.trial_id] = called(settings(result.trial), rivals)
    return named


def called(own: Key, rivals: Sequence[Key]) -> str:
    """The backend, and the settings in which it is not any of the `rivals`."""
    varying = [name for name in own if any(rival.get(name) != own[name] for rival in rivals)]
    parts = ", ".join(_said(name, own[name]) for name in varying)
    return f"{own['backend']} ({parts})" if parts else f"{own['backend']}"


def _said(name: str, value: Scalar) -> str:
    return str(value) if name in _SELF_SPEAKING else f"{name.rpartition('.')[2].replace('_', ' ')} {value}"


def precision(trial: Trial) -> str:
    """As asked, in words; one device exchanges nothing."""
    if trial.replicas == 1:
        return f"computed in {trial.compute}"
    if trial.compute == trial.wire:
        return f"computed and exchanged in {trial.compute}"
    return f"computed in {trial.compute}, exchanged in {trial.wire}"


def describe(trial: Trial, others: Sequence[Trial], across: bool = False) -> str:
    """The work in words, with every setting in which it is not the work of the run's other trials.

    `across`: of a group of several precisions, which the caller names.
    """
    replicas = f"{trial.replicas} replica{'' if trial.replicas == 1 else 's'}"
    words = [f"{_TASKS[trial.workload.task]} of BERT-{trial.workload.model}", replicas]
    words += [] if across else [precision(trial)]
    said = ("workload.task", "workload.model", "replicas", "compute", "wire")
    work = [key(each) | ({} if across else arithmetic(each)) for each in (trial, *others)]
    for name, value in work[0].items():
        rivals = [other for other in work if name not in _OF_REPLICAS or other["replicas"] == trial.replicas]
        if name not in said and any(name in other and other[name] != value for other in rivals):
            words.append(_said(name, value))
    return ", ".join(words)
