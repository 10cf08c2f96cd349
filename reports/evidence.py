"""What stands behind the numbers: effective settings, commands and gates, ready to be shown."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.records import Environment, Facts, Result, TrialResult
from reports.table import gates
from reports.text import DASH, counted, number, size

VALUES = 16  # different ones of a fact that are told


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the effective settings: a text per trial; `differs` when two trials say different things."""

    name: str
    values: tuple[str, ...]
    differs: bool


@dataclass(frozen=True, slots=True)
class GateLine:
    """One outcome in one wording, and the trials and launches it was found in."""

    gate: str
    holds: bool | None
    sentence: str
    where: str


@dataclass(frozen=True, slots=True)
class Commands:
    """How a trial was launched: the distinct command lines, quoted for a shell, with the launches of each."""

    label: str
    lines: tuple[tuple[str, str], ...]


def effective(result: Result, labels: Mapping[str, str]) -> tuple[list[str], list[Setting]]:
    """(names of the trials that said something, one Setting per fact); where ranks or launches disagree, all of it."""
    speaking = [trial for trial in result.trials if any(repeat.facts for repeat in trial.repeats)]
    tables = [_facts(trial) for trial in speaking]
    names = dict.fromkeys(name for table in tables for name in table)
    found = []
    for name in names:
        values = tuple(table.get(name, DASH) for table in tables)
        found.append(Setting(name, values, len(set(values) - {DASH}) > 1))
    return [f"{labels[trial.trial_id]} \u00d7{trial.trial.replicas}" for trial in speaking], found


def commands(result: Result, labels: Mapping[str, str]) -> list[Commands]:
    """Of every trial that was started, in the order of the study."""
    found = []
    for trial in result.trials:
        by_line: dict[str, list[int]] = {}
        for repeat in trial.repeats:
            by_line.setdefault(shlex.join(repeat.command), []).append(repeat.repeat)
        lines = tuple((_launches(repeats, len(trial.repeats)), line) for line, repeats in by_line.items())
        if lines:
            found.append(Commands(f"{labels[trial.trial_id]} \u00d7{trial.trial.replicas}", lines))
    return found


def gate_lines(result: Result, labels: Mapping[str, str]) -> list[GateLine]:
    """Failed gates first, then those that could not be applied; equal outcomes are one line."""
    total = {trial.trial_id: len(trial.repeats) for trial in result.trials}
    names = {trial.trial_id: f"{labels[trial.trial_id]} \u00d7{trial.trial.replicas}" for trial in result.trials}
    merged: dict[tuple[str, bool | None, str], dict[str | None, list[int]]] = {}
    for one in gates(result):
        if one.verification:
            continue
        found = merged.setdefault((one.gate.gate, one.gate.holds, one.gate.sentence), {}).setdefault(one.trial_id, [])
        found.extend([] if one.repeat is None else [one.repeat])
    lines = []
    for (name, holds, sentence), owners in merged.items():
        said = [_where(names, owner, repeats, total) for owner, repeats in owners.items()]
        lines.append(GateLine(name, holds, sentence, ", ".join(said)))
    return sorted(lines, key=lambda line: {False: 0, None: 1, True: 2}[line.holds])


def environment(found: Environment) -> list[tuple[str, str]]:
    """Name and value, unknown as a dash."""
    pairs: list[tuple[str, object]] = [
        ("host", found.hostname),
        ("emulated hosts", found.emulated_hosts),
        ("platform", found.platform),
        ("CPU", found.cpu),
        ("cores", found.cores),
        ("memory", size(found.memory_bytes)),
        ("load average before the run", None if found.load_average is None else number(found.load_average, 2)),
        ("CPU governor", found.governor),
        ("Python", found.python),
        ("paceline", found.paceline),
        ("revision", found.revision),
        *((f"package {name}", version) for name, version in found.packages.items()),
        *((f"variable {name}", value) for name, value in found.variables.items()),
    ]
    return [(name, _said(value)) for name, value in pairs]


def _facts(trial: TrialResult) -> dict[str, str]:
    """Fact to text; where ranks or launches say different things, all of it, or the first of very many."""
    said: dict[str, dict[str, None]] = {}
    for repeat in trial.repeats:
        for facts in repeat.facts:
            for name, value in _lines(facts, trial):
                said.setdefault(name, {})[value] = None
    return {name: _joined(list(values)) for name, values in said.items()}


def _joined(values: Sequence[str]) -> str:
    more = [f"and {len(values) - VALUES:,} more"] if len(values) > VALUES else []
    return " | ".join([*values[:VALUES], *more])


def _lines(facts: Facts, trial: TrialResult) -> Iterator[tuple[str, str]]:
    asked = trial.trial
    yield "compute precision", _against(asked.compute, facts.compute_dtype)
    yield "wire precision", _against(asked.wire, facts.wire_dtype)
    yield "loss scale", _said(facts.loss_scale)
    yield "steps left out because a gradient was not finite", _said(facts.skipped_steps)
    yield "all-reduce", _against(asked.allreduce, facts.algorithm)
    yield "evidence of the all-reduce", facts.algorithm_evidence
    yield "threads per rank", _said(facts.threads)
    yield "trained parameters of one replica", f"{facts.parameter_elements:,}"
    yield "elements exchanged per step and rank", _grouped(facts.exchange_elements)
    yield "bytes exchanged per step and rank", _grouped(facts.exchange_bytes)
    yield "buckets", _said(facts.buckets)
    yield "devices", ", ".join(facts.devices)
    for name, version in facts.versions.items():
        yield f"version of {name}", version
    for name, value in facts.settings.items():
        yield name.replace("_", " "), _said(value)


def _against(asked: str, effective: str | None) -> str:
    """What ran, and what was asked for where that is something else ("auto" asks for nothing)."""
    return _said(effective) if effective in (None, asked) or asked == "auto" else f"{effective} (asked for: {asked})"


def _said(value: object) -> str:
    return DASH if value is None else str(value)


def _grouped(value: int | None) -> str:
    return DASH if value is None else f"{value:,}"


def _where(names: Mapping[str, str], owner: str | None, repeats: Sequence[int], total: Mapping[str, int]) -> str:
    if owner is None:
        return "the whole run"
    name = names.get(owner, owner)
    return f"{name}: {_launches(repeats, total.get(owner, 0))}" if total.get(owner, 0) > 1 and repeats else name


def _launches(repeats: Sequence[int], total: int) -> str:
    if len(repeats) == total:
        return "the launch" if total == 1 else f"all {counted(total, 'launch', 'launches')}"
    return f"launch {', '.join(str(repeat) for repeat in repeats)}"
