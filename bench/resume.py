"""Whether a study is still the one that a run was planned from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from bench.records import Plan, Trial


def difference(planned_now: Plan, planned: Plan) -> str | None:
    """One clause that names what differs between a study as it is now and the plan, None when nothing does.

    Trials and repeats count; comments and the order of keys do not.
    """
    repeats_now, repeats = (
        max((repeat for _, repeat in each.order), default=-1) + 1 for each in (planned_now, planned)
    )
    if repeats_now != repeats:
        return f"repeats is {repeats_now} now and was {repeats}"
    now, then = ({trial.id: trial for trial in each.trials} for each in (planned_now, planned))
    added = [trial for trial_id, trial in now.items() if trial_id not in then]
    gone = [trial for trial_id, trial in then.items() if trial_id not in now]
    if not added and not gone:
        return None
    if added and gone:
        # The pair that differs least is most likely one trial before and after the change.
        keys = min((list(_differing(new, old)) for new in added for old in gone), key=len)
        return "; ".join(keys[:3])
    which, trial = ("is new", added[0]) if added else ("is gone", gone[0])
    return f"the trial {trial.backend} with {trial.replicas} replica(s) {which}"


def _differing(new: Trial, old: Trial) -> Iterator[str]:
    given, before = dict(_flat(msgspec.to_builtins(new))), dict(_flat(msgspec.to_builtins(old)))
    for key in sorted(given.keys() | before.keys()):
        if given.get(key) != before.get(key):
            yield f"{key} is {given.get(key)!r} now and was {before.get(key)!r}"


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
