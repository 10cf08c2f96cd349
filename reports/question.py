"""What a page begins with: the question of the study, on what it was answered, and what that says nothing about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.records import Result, Trial
from reports.text import counted

SPEAKING = 3  # more values of one setting are counted, not named


@dataclass(frozen=True, slots=True)
class Question:
    """Three sentences. `silent`: what was not measured; None: nothing of it."""

    asked: str
    means: str
    silent: str | None


def question(result: Result) -> Question | None:
    """None of a run without trials."""
    trials = [found.trial for found in result.trials]
    if not trials:
        return None
    devices = {name for found in result.trials for repeat in found.repeats for facts in repeat.facts
               for name in facts.devices}  # fmt: skip
    hosts = {host for found in result.trials for repeat in found.repeats for host in repeat.hosts}
    only_cpu = bool(devices) and all("cpu" in name.lower() for name in devices)
    silent = [*(["GPUs"] if only_cpu else []), *(["several hosts"] if len(hosts) == 1 else [])]
    where = [
        f"{counted(result.environment.cores, 'CPU core')}{' on this host' if len(hosts) > 1 else ''}",
        *(["no GPU used"] if only_cpu else []),
        *([counted(len(hosts), "host")] if hosts else []),
    ]
    return Question(
        asked=_asked(result),
        means=f"{', '.join([*where, *_work(trials)])}. {_design(result, trials)}",
        silent=f"Says nothing about {' or '.join(silent)}." if silent else None,
    )


def _asked(result: Result) -> str:
    stacks = list(dict.fromkeys(found.trial.backend for found in result.trials if found.mode != "bare"))
    models = _values((found.trial.workload.model for found in result.trials), "models")
    whom = "How fast is each trial" if not stacks else f"How fast is {stacks[0]}"
    if len(stacks) < 2:
        return f"{whom}, training BERT-{models} here?"
    return f"Which of {len(stacks)} stacks trains BERT-{models} fastest here?"


def _work(trials: list[Trial]) -> list[str]:
    return [
        f"batch {_values((one.workload.batch_per_replica for one in trials), 'sizes')} per replica",
        f"sequence length {_values((one.workload.sequence_length for one in trials), 'lengths')}",
    ]


def _design(result: Result, trials: list[Trial]) -> str:
    launches = [len(found.repeats) for found in result.trials]
    most = "" if min(launches) == max(launches) else "up to "
    windows = _values((one.timing.windows for one in trials), "numbers")
    steps = _values((one.timing.steps_per_window for one in trials), "numbers")
    return (
        f"{counted(len(trials), 'trial')}, {most}{counted(max(launches), 'launch', 'launches')} each, {windows} "
        f"windows a launch; a window is {steps} steps timed together."
    )


def _values(found: Iterable[object], plural: str) -> str:
    """ "4", "4 or 8", "5 different sizes"."""
    values = list(dict.fromkeys(str(one) for one in found))
    return " or ".join(values) if len(values) <= SPEAKING else f"of {len(values)} {plural}"
