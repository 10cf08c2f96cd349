"""All runs below a folder, in order of time, each in short; a damaged one with the reason in its place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from reports import SWEEP, load, table
from reports.across import reading
from reports.across.reading import RunReading
from reports.text import seconds

# What makes a folder a run's: planned, or finished, or a sweep of collectives.
MARKS = ("plan.json", "result.json", SWEEP)


@dataclass(frozen=True, slots=True)
class Shelved:
    """One run. `name`: its folder, seen from where was looked; `reading` None: `reason` says why it cannot be read."""

    folder: Path
    name: str
    reading: RunReading | None
    reason: str | None = None

    @property
    def at_s(self) -> float | None:
        """When it was begun, seconds since 1970; None where that is not known."""
        return seconds(self.reading.created_utc) if self.reading else None


def find(folder: Path, skipped: Sequence[Path] = ()) -> list[Path]:
    """Run folders below `folder`, or itself, by name. Hidden folders, links and `skipped` are not looked into.

    Raises UserError where there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder of runs: there is no such folder")
    return sorted(_below(folder, {path.resolve() for path in skipped}))


def read_all(folder: Path) -> list[Shelved]:
    """Every run of trials below `folder`, first those that cannot be read, then in order of time."""
    found = [read_one(path, name_of(path, folder)) for path in find(folder) if not (path / SWEEP).is_file()]
    return in_order(found)


def read_one(run_folder: Path, name: str) -> Shelved:
    """Reads it whole."""
    try:
        run = load.load(run_folder)
        return Shelved(run_folder, name, reading.read(run, table.rows(run)))
    except (UserError, OSError) as error:
        return Shelved(run_folder, name, None, str(error))


def in_order(found: Sequence[Shelved]) -> list[Shelved]:
    """Of time; unknown times first."""
    return sorted(found, key=lambda one: (one.at_s or 0.0, one.name))


def name_of(run_folder: Path, folder: Path) -> str:
    """As seen from `folder`."""
    return run_folder.name if run_folder == folder else run_folder.relative_to(folder).as_posix()


def _below(folder: Path, skipped: set[Path]) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        place = Path(here)
        if any(mark in files for mark in MARKS):
            folders.clear()
            yield place
            continue
        folders[:] = [name for name in folders if not name.startswith(".") and (place / name).resolve() not in skipped]
