"""From what the ranks left on disk to a Repeat, and from the repeats to result.json and windows.parquet.

Both are derived: `assemble` may be called again at any time and gives the same.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from bench import catalog, failure, gates, journal
from bench.errors import TrialError, UserError
from bench.launch.execute import Ended
from bench.records import (
    Assignment,
    DataDigest,
    Evaluation,
    Exchange,
    Facts,
    GateOutcome,
    Line,
    Plan,
    RankInfo,
    Repeat,
    Result,
    Settings,
    SetupTimes,
    StepLosses,
    Trial,
    TrialResult,
    Verification,
    Verified,
    Weights,
    Window,
)
from bench.sealed import Damaged, unseal

Some = TypeVar("Some")

VERIFICATION = "verification.json"


def write_atomically(path: Path, content: bytes) -> None:
    """A reader sees the old file or the new one, never half; survives a crash of the machine right after."""
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    with staged.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    staged.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


# ---- one launch ---------------------------------------------------------------------------------------------


def collect(folder: Path, assignment: Assignment, command: Sequence[str], started_utc: str, ended: Ended) -> Repeat:
    """Reads all ranks of one launch. Never raises for what a rank did: the reason becomes the Repeat's `error`."""
    shared = _shared(assignment, command, started_utc, ended.wall_ns)
    try:
        lines = [journal.read(folder, rank) for rank in range(assignment.ranks)]
        reason = failure.why(folder, lines, ended)
        if reason is None:
            return _whole(folder, assignment, lines, shared)
    except TrialError as error:
        reason = str(error)
    return _failed(shared, reason)


def failed(assignment: Assignment, command: Sequence[str], started_utc: str, reason: str) -> Repeat:
    """The Repeat of a launch that could not even be started."""
    return _failed(_shared(assignment, command, started_utc, 0), reason)


def _shared(assignment: Assignment, command: Sequence[str], started_utc: str, wall_ns: int) -> dict[str, Any]:
    return {
        "trial_id": assignment.trial_id,
        "repeat": assignment.repeat,
        "started_utc": started_utc,
        "wall_ns": wall_ns,
        "command": list(command),
    }


def _failed(shared: dict[str, Any], reason: str) -> Repeat:
    nothing: dict[str, Any] = {name: [] for name in ("gates", "losses", "facts", "setup", "hosts", "evaluations")}
    return Repeat(**shared, **nothing, error=reason, data_samples=None, data_digest=None, journals=[])


def _whole(folder: Path, assignment: Assignment, lines: list[list[Line]], shared: dict[str, Any]) -> Repeat:
    reports = [report(rank, of_rank) for rank, of_rank in enumerate(lines)]
    evaluations = [line for line in lines[0] if isinstance(line, Evaluation)]
    _check_windows(assignment.trial, reports, ended_early=bool(evaluations) and evaluations[-1].reached)
    outcomes = gates.of_launch(assignment, reports)
    digest = sum(report.data.digest for report in reports) % 2**64
    return Repeat(
        **shared,
        error=gates.first_failure(outcomes),
        gates=outcomes,
        losses=gates.step_losses(reports),
        facts=[report.facts for report in reports],
        setup=[only(of_rank, SetupTimes) for of_rank in lines],
        hosts=[only(of_rank, RankInfo).host for of_rank in lines],
        data_samples=sum(report.data.samples for report in reports),
        data_digest=f"{digest:016x}",
        evaluations=evaluations,
        journals=[journal.digest(folder, rank) or "" for rank in range(assignment.ranks)],
    )


def report(rank: int, lines: list[Line]) -> gates.RankReport:
    """What the gates look at. Raises TrialError where something is missing."""
    return gates.RankReport(
        rank=rank,
        windows=[line for line in lines if isinstance(line, Window)],
        losses=[line for line in lines if isinstance(line, StepLosses)],
        data=only(lines, DataDigest),
        weights=only(lines, Weights),
        facts=only(lines, Facts),
        exchange=only(lines, Exchange),
        settings=only(lines, Settings),
    )


def only(lines: list[Line], kind: type[Some]) -> Some:
    """The one record of this kind. Raises TrialError where there is none, or more."""
    found = [line for line in lines if isinstance(line, kind)]
    if len(found) != 1:
        raise TrialError(f"a rank wrote {len(found)} {kind.__name__} records, expected one")
    return found[0]


def _check_windows(trial: Trial, reports: Sequence[gates.RankReport], ended_early: bool) -> None:
    """Every rank measured the same windows, all of the plan unless its target was reached. Raises TrialError."""
    planned = 1 + trial.timing.warmup_windows + trial.timing.windows
    expected = len(reports[0].windows) if ended_early else planned
    for report in reports:
        if [window.index for window in report.windows] != list(range(expected)):
            raise TrialError(f"rank {report.rank} has {len(report.windows)} windows of {expected}")


# ---- the whole run ------------------------------------------------------------------------------------------


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


def assemble(run_folder: Path) -> Result:
    """Writes windows.parquet and result.json from the plan and every finished repeat; returns the Result."""
    plan = read_plan(run_folder)
    trials = [_trial_result(run_folder, plan, trial) for trial in plan.trials]
    outcomes = gates.between(trials)
    trials = [_withheld(result, outcomes) for result in trials]
    trials += [_not_selectable(trial, reason) for trial, reason in plan.rejected]
    windows = _windows_table(run_folder, trials)
    write_atomically(run_folder / "windows.parquet", windows)
    result = Result(
        study=plan.study,
        study_yaml=plan.study_yaml,
        quick=plan.quick,
        created_utc=plan.created_utc,
        environment=plan.environment,
        order=plan.order,
        trials=trials,
        gates=outcomes,
        windows_sha256=hashlib.sha256(windows).hexdigest(),
        verification=_known_before(run_folder),
    )
    write_atomically(run_folder / "result.json", msgspec.json.encode(result))
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
        repeats=repeats,
    )


def _sound(run_folder: Path, repeat: Repeat) -> Repeat:
    """The same repeat, with an error when what its ranks measured can no longer be read."""
    try:
        if repeat.error is None:
            _windows(run_folder, repeat)
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
        repeats=[],
    )


def _mode(trial: Trial) -> Literal["bare", "solo", "full"]:
    row = catalog.entry(trial.backend)
    if row.max_replicas == 1:
        return "bare"
    return "solo" if trial.replicas == 1 else "full"


def _windows_table(run_folder: Path, trials: Sequence[TrialResult]) -> bytes:
    """All windows of all whole repeats, one row per rank and window, as Parquet."""
    import pyarrow as pa
    from pyarrow import parquet

    columns: dict[str, list[Any]] = {name: [] for name in ("trial_id", "repeat", "rank", *Window.__struct_fields__)}
    for result in trials:
        for repeat in result.repeats:
            if repeat.error is None:
                _add_windows(columns, run_folder, repeat)
    kinds = {"trial_id": pa.string(), "warmup": pa.bool_(), "exchange": pa.bool_()}
    schema = pa.schema([(name, kinds.get(name, pa.int64())) for name in columns])
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns, schema=schema), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _add_windows(columns: dict[str, list[Any]], run_folder: Path, repeat: Repeat) -> None:
    for rank, windows in enumerate(_windows(run_folder, repeat)):
        for window in windows:
            columns["trial_id"].append(repeat.trial_id)
            columns["repeat"].append(repeat.repeat)
            columns["rank"].append(rank)
            for name in Window.__struct_fields__:
                columns[name].append(getattr(window, name))


def _windows(run_folder: Path, repeat: Repeat) -> list[list[Window]]:
    """Per rank. Raises TrialError when a rank's file is gone, damaged or short: its windows would lack the slowest."""
    folder = run_folder / repeat.trial_id / str(repeat.repeat)
    for rank, expected in enumerate(repeat.journals):
        if journal.digest(folder, rank) not in (expected, None):
            raise TrialError(f"{folder / f'rank-{rank}.jsonl'} is not the file that the launch left")
    ranks = [
        [line for line in journal.read(folder, rank) if isinstance(line, Window)] for rank in range(len(repeat.facts))
    ]
    for rank, windows in enumerate(ranks):
        if [window.index for window in windows] != [window.index for window in ranks[0]] or not windows:
            raise TrialError(f"{folder / f'rank-{rank}.jsonl'} lacks windows that were measured")
    return ranks
