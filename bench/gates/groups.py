"""Which trials did the same work, and which of them is believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from bench.gates.outcome import fails, unknown
from bench.gates.report import is_programmed
from bench.records import GateOutcome, Trial

# How the work is split, and what is only looked at beside it: the same samples and sums in every case.
NOT_WORK = ("batch_per_replica", "accumulation", "packed", "validation", "dropout")


class Identified(Protocol):
    """Whatever a trial left."""

    @property
    def trial_id(self) -> str: ...

    @property
    def trial(self) -> Trial: ...


Member = TypeVar("Member", bound=Identified)
Check = Callable[[Member, Member], GateOutcome]


def model_key(trial: Trial) -> object:
    """Trials with the same one train the same model."""
    return trial.workload.model, trial.workload.task, is_programmed(trial)


def data_key(trial: Trial) -> object:
    """Trials with the same one have the same global batch at every step."""
    workload = {name: getattr(trial.workload, name) for name in trial.workload.__struct_fields__}
    return tuple((name, value) for name, value in workload.items() if name not in NOT_WORK), trial.global_batch


def study_key(trial: Trial) -> object:
    """Trials with the same one train the same model on the same data by the same rule, in whatever precision."""
    return data_key(trial), trial.workload.dropout, trial.optimizer, is_programmed(trial)


def precision_key(trial: Trial) -> tuple[str, str]:
    """(compute, wire); one replica has no wire, and loses nothing on it."""
    return trial.compute, trial.wire if trial.replicas > 1 else "float32"


def work_key(trial: Trial) -> object:
    """Trials with the same one do the same arithmetic, but for the order of sums."""
    scale = trial.loss_scale if trial.compute == "float16" else None
    return study_key(trial), precision_key(trial), scale


def grouped(members: Sequence[Member], key: Callable[[Trial], object]) -> list[list[Member]]:
    """Members whose trials have the same key, in the order of their first."""
    groups: dict[object, list[Member]] = {}
    for member in members:
        groups.setdefault(key(member.trial), []).append(member)
    return list(groups.values())


def reference_of(group: Sequence[Member], check: Check[Member]) -> tuple[Member | None, list[GateOutcome]]:
    """The member with which most others agree, and every member's outcome against it.

    So one wrong stack is named by two right ones, whichever comes first. None where nobody agrees with anybody.
    """
    against = {reference.trial_id: [check(member, reference) for member in group] for reference in group}
    reference = max(group, key=lambda each: sum(outcome.holds is True for outcome in against[each.trial_id]))
    outcomes = against[reference.trial_id]
    return (reference if sum(outcome.holds is True for outcome in outcomes) > 1 else None), outcomes


def of_group(gate: str, group: Sequence[Member], check: Check[Member]) -> list[GateOutcome]:
    """One outcome per member but the reference. Where nobody agrees, nobody is believed."""
    own = [check(member, member) for member in group]
    if len(group) == 1 or own[0].holds is None:
        alone = unknown(gate, "not shown: no other trial did the same work", group[0].trial_id)
        return [alone] if len(group) == 1 and own[0].holds is True else own
    reference, outcomes = reference_of(group, check)
    if reference is not None:
        return [outcome for outcome in outcomes if outcome.trial_id != reference.trial_id or outcome.holds is False]
    return [
        outcome if outcome.holds is False else fails(gate, "no other trial with the same work agrees", outcome.trial_id)
        for outcome in outcomes
    ]
