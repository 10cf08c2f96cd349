"""`paceline trace`: each trial of a finished run launched once more, to see when it computes and when it exchanges.

What the run measured is not touched: traces are slower than what they show, and how much is in their own record.
RUN/traces/TRIAL holds rank-N.trace.json.gz, trace.json.gz with all ranks, and traces.json with the figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import assemble, journal, storage, traces
from bench.errors import TrialError, UserError
from bench.launch.commands import Cluster
from bench.launching import assign, launch, lines
from bench.records import SCHEMA, Assignment, Plan, RankTrace, Traced, Trial, Window
from bench.run import Observer, alone, fresh_folder, planned_cluster, prepare
from bench.yaml_source import suggestion

FOLDER, FIGURES, MERGED = "traces", "traces.json", "trace.json.gz"
WINDOWS = 3


def trace(folder: Path, trial_ids: Sequence[str], windows: int, observer: Observer) -> Iterator[tuple[Path, Traced]]:
    """Traces those trials of the run, all if none are given, one after the other; gives each with its folder. Raises
    UserError when the folder holds no finished run, or no such trial, before any launch."""
    planned = assemble.read_plan(folder)
    chosen = _chosen(planned, trial_ids)
    if not (folder / "result.json").exists():
        raise UserError(f"{folder} has no result yet; finish the run first: paceline run --resume {folder}")
    with alone(folder), planned_cluster(planned) as cluster:
        for trial in chosen:
            observer.preparing(f"tracing {trial.id}")
            target = fresh_folder(folder / FOLDER / trial.id)
            assignment = assign(trial, prepare(trial, folder.parent, observer), cluster, planned)
            assignment = msgspec.structs.replace(assignment, traced_windows=windows)
            traced = _launch(assignment, target, planned, cluster, observer)
            storage.write_atomically(target / FIGURES, storage.seal(traced))
            yield target, traced


def _chosen(planned: Plan, trial_ids: Sequence[str]) -> list[Trial]:
    known = {trial.id: trial for trial in planned.trials}
    for trial_id in trial_ids:
        if trial_id not in known:
            raise UserError(f"--trial: {trial_id!r} is no trial of this run{suggestion(trial_id, list(known))}")
    return [trial for trial in planned.trials if trial.id in trial_ids or not trial_ids]


def _launch(assignment: Assignment, folder: Path, planned: Plan, cluster: Cluster, observer: Observer) -> Traced:
    """One launch of all ranks in trace mode, to its end, whatever that is."""
    made = launch(assignment, folder, cluster, planned, observer.tick)
    try:
        lines(made, assignment, folder)
        return gathered(assignment, folder, made.command)
    except TrialError as error:
        return _record(assignment, made.command, error=str(error))


def gathered(assignment: Assignment, folder: Path, command: Sequence[str] = ()) -> Traced:
    """The figures of what the ranks left, and all of it in one file. Raises TrialError where something is missing."""
    untraced, traced = zip(*[_pairs(assignment, folder, rank) for rank in range(assignment.ranks)], strict=True)
    files = [traces.read(folder / f"rank-{rank}.trace.json.gz") for rank in range(assignment.ranks)]
    steps = assignment.traced_windows * assignment.trial.timing.steps_per_window
    traces.merge(folder / MERGED, files)
    figures = [traces.figures(found, steps) for found in files]
    return _record(assignment, command, untraced=_slowest(untraced), traced=_slowest(traced), ranks=figures)


def _pairs(assignment: Assignment, folder: Path, rank: int) -> tuple[list[int], list[int]]:
    """Durations of the untraced and of the traced windows of one rank: after warm-up they took turns."""
    lines = journal.read(folder, rank)
    measured = [line.duration_ns for line in lines if isinstance(line, Window) and not line.warmup]
    if len(measured) != 2 * assignment.traced_windows:
        raise TrialError(f"rank {rank} has {len(measured)} windows of {2 * assignment.traced_windows}")
    return measured[::2], measured[1::2]


def _slowest(ranks: Sequence[Sequence[int]]) -> list[int]:
    """Window by window the longest of all ranks."""
    return [max(of_ranks) for of_ranks in zip(*ranks, strict=True)]


def _record(
    assignment: Assignment,
    command: Sequence[str],
    error: str | None = None,
    untraced: Sequence[int] = (),
    traced: Sequence[int] = (),
    ranks: Sequence[RankTrace] = (),
) -> Traced:
    return Traced(
        trial_id=assignment.trial_id,
        created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        command=list(command),
        error=error,
        steps_per_window=assignment.trial.timing.steps_per_window,
        untraced_ns=list(untraced),
        traced_ns=list(traced),
        ranks=list(ranks),
        schema=SCHEMA,
    )
