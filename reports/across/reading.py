"""A run in short: the speeds of its trials and their circumstances, small enough to keep for hundreds of runs."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records import Record, Result, TrialResult
from reports.across import circumstances
from reports.compare import Key
from reports.load import LoadedRun
from reports.table import Row, gates
from reports.verdict import not_compared, verdicts


class TrialReading(Record, frozen=True, kw_only=True):
    """One trial of one run. `launch_rates`: samples per second in order of repeat, empty where `reason` says why.

    `fingerprint` and `ran` as reports.across.circumstances has them.
    """

    trial_id: str
    backend: str
    replicas: int
    status: str
    reason: str | None
    launch_rates: list[float]
    fingerprint: Key
    ran: Key


class RunReading(Record, frozen=True, kw_only=True):
    """One run. `surroundings` as in circumstances; `gates`: per gate how often it held, failed, could not
    be applied; `sentences`: what the run's report says on top."""

    study: str
    created_utc: str
    quick: bool
    surroundings: Key
    gates: dict[str, tuple[int, int, int]]
    sentences: list[str]
    trials: list[TrialReading]


def read(run: LoadedRun, found: Sequence[Row]) -> RunReading:
    """`found`: the run's rows (reports.table)."""
    result = run.result
    told = verdicts(result, found)
    decided = [one for one in told if one.outcome != "no verdict"] or told[:1]
    return RunReading(
        study=result.study,
        created_utc=result.created_utc,
        quick=result.quick,
        surroundings=circumstances.surroundings(result.environment),
        gates=_gates(result),
        sentences=[one.sentence for one in decided] or not_compared(result, found),
        trials=[_trial(run, row, trial) for row, trial in zip(found, result.trials, strict=True)],
    )


def _trial(run: LoadedRun, row: Row, result: TrialResult) -> TrialReading:
    return TrialReading(
        trial_id=row.trial_id,
        backend=row.trial.backend,
        replicas=row.trial.replicas,
        status=row.status,
        reason=row.reason,
        launch_rates=list(row.measured.launch_rates) if row.measured else [],
        fingerprint=circumstances.fingerprint(result, run.result.environment),
        ran=circumstances.as_ran(result),
    )


def _gates(result: Result) -> dict[str, tuple[int, int, int]]:
    outcomes: dict[str, list[bool | None]] = {}
    for found in gates(result):
        outcomes.setdefault(found.gate.gate, []).append(found.gate.holds)
    return {name: (held.count(True), held.count(False), held.count(None)) for name, held in outcomes.items()}
