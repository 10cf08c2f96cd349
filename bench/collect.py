"""From what the ranks of one launch left on disk to a Repeat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from bench import failure, gates, journal, windows
from bench.errors import TrialError
from bench.launch.execute import Ended
from bench.records import (
    Assignment,
    CollectiveTimes,
    DataDigest,
    Device,
    DeviceWindow,
    Evaluation,
    Exchange,
    Facts,
    Line,
    Probe,
    RankInfo,
    Repeat,
    Settings,
    SetupTimes,
    StepLosses,
    Trial,
    Weights,
    Window,
)

Some = TypeVar("Some")


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
    return Repeat(
        **shared,
        **nothing,
        error=reason,
        warmup_windows=None,
        settled=None,
        data_samples=None,
        data_digest=None,
        journals=[],
    )


def _whole(folder: Path, assignment: Assignment, lines: list[list[Line]], shared: dict[str, Any]) -> Repeat:
    reports = [report(rank, of_rank) for rank, of_rank in enumerate(lines)]
    evaluations = [line for line in lines[0] if isinstance(line, Evaluation)]
    _check_windows(assignment.trial, reports, ended_early=bool(evaluations) and evaluations[-1].reached)
    outcomes = gates.of_launch(assignment, reports)
    settled = windows.settled(assignment.trial.timing, [report.windows for report in reports])
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
        warmup_windows=settled.windows,
        settled=settled.in_time,
        evaluations=evaluations,
        journals=[journal.digest(folder, rank) or "" for rank in range(assignment.ranks)],
        standalone=[line for of_rank in lines for line in of_rank if isinstance(line, CollectiveTimes)],
        devices=[line for of_rank in lines for line in of_rank if isinstance(line, Device)],
        device_windows=[line for of_rank in lines for line in of_rank if isinstance(line, DeviceWindow)],
        probes=[line for of_rank in lines for line in of_rank if isinstance(line, Probe)],
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
    kinds = (True, False) if trial.timing.local_windows else (True,)
    planned = 1 + trial.timing.warmup_windows + trial.timing.windows
    last = len(reports[0].windows) // len(kinds) if ended_early else planned
    expected = [(index, exchange) for index in range(last) for exchange in kinds]
    for report in reports:
        if [(window.index, window.exchange) for window in report.windows] != expected:
            raise TrialError(f"rank {report.rank} has {len(report.windows)} windows of {len(expected)}")
