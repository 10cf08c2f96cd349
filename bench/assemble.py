"""From a plan and its finished launches to result.json and windows.parquet.

Both are derived: `assemble` may be called again at any time and gives the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from bench import catalog, gates, replication, windows
from bench.errors import TrialError, UserError
from bench.records import (
    GateOutcome,
    Plan,
    Repeat,
    Result,
    Trial,
    TrialResult,
    Verification,
    Verified,
)
from bench.storage import Damaged, seal, unseal, write_atomically

VERIFICATION = "verification.json"


def read_plan(run_folder: Path) -> Plan:
    """The plan of a run. Raises UserError where there is none, or one of another schema."""
    path = run_folder / "plan.json"
    if not run_folder.is_dir():
        raise UserError(f"{run_folder}: no such run folder")
    if not path.is_file():
        raise UserError(f"{run_folder}: no plan.json; this is not a run folder")
    try:
        return unseal(path.read_bytes(), Plan)
    except Damaged as damage:
        raise UserError(f"{path}: {damage}") from None


def read_repeat(run_folder: Path, trial_id: str, repeat: int) -> Repeat | None:
    """A finished launch, None where it has not been made, was cut off before it was written, or is damaged."""
    try:
        return unseal((run_folder / trial_id / str(repeat) / "repeat.json").read_bytes(), Repeat)
    except (OSError, Damaged):
        return None


def is_whole(folder: Path, trial_id: str, repeat: int) -> bool:
    """Whether this launch need not be made again. A failed gate is a finding that stands: to repeat the launch until it
    passes would hide it."""
    found = read_repeat(folder, trial_id, repeat)
    return found is not None and (found.error is None or any(gate.holds is False for gate in found.gates))


def assemble(run_folder: Path) -> Result:
    """Writes windows.parquet and result.json from the plan and every finished repeat; returns the Result."""
    plan = read_plan(run_folder)
    trials = [_trial_result(run_folder, plan, trial) for trial in plan.trials]
    outcomes = gates.between(trials)
    trials = [_withheld(result, outcomes) for result in trials]
    trials += [_not_selectable(trial, reason) for trial, reason in plan.rejected]
    table = windows.table(run_folder, trials)
    write_atomically(run_folder / "windows.parquet", table)
    result = Result(
        study=plan.study,
        study_yaml=plan.study_yaml,
        quick=plan.quick,
        created_utc=plan.created_utc,
        environment=plan.environment,
        order=plan.order,
        sentinel=plan.sentinel,
        trials=trials,
        gates=outcomes,
        windows_sha256=hashlib.sha256(table).hexdigest(),
        verification=_known_before(run_folder),
    )
    write_atomically(run_folder / "result.json", seal(result))
    return result


def _known_before(run_folder: Path) -> list[Verified]:
    """What bench.proofs had of the trials when the run began."""
    try:
        return unseal((run_folder / VERIFICATION).read_bytes(), Verification).trials
    except (OSError, Damaged):
        return []


def _trial_result(run_folder: Path, plan: Plan, trial: Trial) -> TrialResult:
    numbers = sorted(repeat for trial_id, repeat in plan.order if trial_id == trial.id)
    repeats = [_sound(run_folder, found) for number in numbers if (found := read_repeat(run_folder, trial.id, number))]
    errors = [f"repeat {repeat.repeat}: {repeat.error}" for repeat in repeats if repeat.error]
    missing = len(numbers) - len(repeats)
    if missing:
        errors.append(f"{missing} of {len(numbers)} launches not made yet; `paceline run --resume` makes them")
    return TrialResult(
        trial=trial,
        trial_id=trial.id,
        mode=_mode(trial),
        framework=catalog.entry(trial.backend).framework,
        status="failed" if errors else "ok",
        reason=errors[0] if errors else None,
        wrapped=list(catalog.entry(trial.backend).wrapped),
        stopped=None if missing else _why_stopped(run_folder, plan, repeats),
        repeats=repeats,
    )


def _sound(run_folder: Path, repeat: Repeat) -> Repeat:
    """The same repeat, with an error when what its ranks measured can no longer be read."""
    try:
        if repeat.error is None:
            windows.read(run_folder, repeat)
    except (TrialError, OSError) as error:
        return msgspec.structs.replace(repeat, error=str(error))
    return repeat


def _withheld(result: TrialResult, outcomes: Sequence[GateOutcome]) -> TrialResult:
    reason = gates.first_failure([outcome for outcome in outcomes if outcome.trial_id == result.trial_id])
    return msgspec.structs.replace(result, status="failed", reason=reason) if reason else result


def _not_selectable(trial: Trial, reason: str) -> TrialResult:
    row = catalog.entries().get(trial.backend)
    return TrialResult(
        trial=trial,
        trial_id=trial.id,
        mode=_mode(trial),
        framework=row.framework if row else "unknown",
        status="not_selectable",
        reason=reason,
        wrapped=list(row.wrapped) if row else [],
        stopped=None,
        repeats=[],
    )


def _mode(trial: Trial) -> Literal["bare", "solo", "full"]:
    row = catalog.entry(trial.backend)
    if row.max_replicas == 1:
        return "bare"
    return "solo" if trial.replicas == 1 else "full"


def so_far(run_folder: Path, plan: Plan) -> tuple[dict[str, list[float]], float]:
    """The rates of each trial's whole launches in order, and the wall time of all launches, s."""
    rates: dict[str, list[float]] = {trial.id: [] for trial in plan.trials}
    spent_s = 0.0
    for trial_id, number in sorted(plan.order):
        repeat = read_repeat(run_folder, trial_id, number)
        if repeat is not None:
            spent_s += repeat.wall_ns / 1e9
            rates[trial_id] += _rates(run_folder, [repeat])
    return rates, spent_s


def _rates(run_folder: Path, repeats: Sequence[Repeat]) -> list[float]:
    found = [windows.rate(run_folder, repeat) for repeat in repeats if repeat.error is None]
    return [rate for rate in found if rate is not None]


def _why_stopped(run_folder: Path, plan: Plan, repeats: Sequence[Repeat]) -> str | None:
    spent_s = so_far(run_folder, plan)[1] if plan.target_half_width else 0.0
    rates = _rates(run_folder, repeats) if plan.target_half_width else []
    return replication.why_stopped(plan, rates, len(repeats), spent_s)
