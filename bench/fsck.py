"""What of a run folder is whole: every launch of the plan, its records and its ranks' files; or every launch of a
sweep."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import assemble, journal, sweep
from bench.errors import TrialError
from bench.records import Repeat, Result
from bench.storage import Damaged, unseal


@dataclass(frozen=True, slots=True)
class Finding:
    """One file or launch. `problem` None: whole. `remedy` says what to do, None where nothing helps or needs help."""

    path: Path
    problem: str | None
    remedy: str | None = None


def examine(run_folder: Path) -> Iterator[Finding]:
    """The plan, each launch, the windows and the result. Raises UserError when the plan itself cannot be read."""
    if (run_folder / sweep.FILE).is_file():
        yield from _sweep(run_folder)
        return
    planned = assemble.read_plan(run_folder)
    yield Finding(run_folder / "plan.json", None)
    again = f"paceline run --resume {run_folder}"
    for trial_id, repeat in sorted(planned.order):
        yield _launch(run_folder / trial_id / str(repeat), again)
    yield from _result(run_folder)


def _sweep(folder: Path) -> Iterator[Finding]:
    """Its one file holds all that was found."""
    _, made = sweep.read(folder)
    yield Finding(folder / sweep.FILE, None)
    again = f"paceline collectives --resume {folder}"
    errors = {(launch.trial_id, launch.repeat): launch.error for launch in made.launches}
    for key in sorted(made.order):
        lacking = len(sweep.lacks(made, *key))
        reason = errors.get(key) or "not made yet, or cut off before it was finished"
        problem = f"{lacking} of {len(made.requests[key[0]])} requests are lacking: {reason}" if lacking else None
        yield Finding(folder / key[0] / str(key[1]), problem, again if lacking else None)


def _launch(folder: Path, again: str) -> Finding:
    path = folder / "repeat.json"
    try:
        repeat = unseal(path.read_bytes(), Repeat)
    except FileNotFoundError:
        return Finding(folder, "not made yet, or cut off before it was finished", again)
    except (OSError, Damaged) as damage:
        return Finding(path, str(damage), again)
    if repeat.error is not None:
        return Finding(folder, f"it failed, as its record says: {repeat.error}", again)
    for rank, expected in enumerate(repeat.journals):
        problem = _journal(folder, rank, expected)
        if problem is not None:
            return Finding(folder / f"rank-{rank}.jsonl", problem, f"remove {path}, then {again}")
    return Finding(folder, None)


def _journal(folder: Path, rank: int, expected: str) -> str | None:
    found = journal.digest(folder, rank)
    if found is None:
        return "it is gone"
    if found == expected:
        return None
    try:
        journal.read(folder, rank)
    except TrialError as error:
        return str(error)
    return "it is not the file that the launch left: its checksum is another"


def _result(run_folder: Path) -> Iterator[Finding]:
    made_anew = f"paceline report {run_folder} derives it anew"
    path = run_folder / "result.json"
    try:
        result = unseal(path.read_bytes(), Result)
    except OSError:
        yield Finding(path, "not there", made_anew)
        return
    except Damaged as damage:
        yield Finding(path, str(damage), made_anew)
        return
    yield Finding(path, None)
    windows = run_folder / "windows.parquet"
    same = windows.is_file() and hashlib.sha256(windows.read_bytes()).hexdigest() == result.windows_sha256
    yield Finding(windows, None if same else "not the file that result.json describes", None if same else made_anew)
