"""A run folder, checked and read: the only reader of a run's result and windows in this package."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import update_wrapper
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import pyarrow

from bench.errors import UserError
from bench.records import Result
from bench.storage import Damaged, unseal
from reports.windows import Windows

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class LoadedRun:
    """One run, whole. What its ranks measured is read from `windows` when it is asked for; `made`: see `once`."""

    folder: Path
    result: Result
    windows: Windows
    made: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)


class Named(Protocol):
    """A row of a report."""

    @property
    def trial_id(self) -> str: ...


SomeRow = TypeVar("SomeRow", bound=Named)
More = ParamSpec("More")
Made = TypeVar("Made")


def once(
    make: Callable[Concatenate[LoadedRun, Sequence[SomeRow], More], Made],
) -> Callable[Concatenate[LoadedRun, Sequence[SomeRow], More], Made]:
    """Of one run and the same rows `make` is called once: a page and the JSON in it show the same, and millions of
    windows are gone through once."""

    def made(run: LoadedRun, rows: Sequence[SomeRow], /, *more: More.args, **named: More.kwargs) -> Made:
        key = (make, *(row.trial_id for row in rows))
        if key not in run.made:
            run.made[key] = make(run, rows, *more, **named)
        found: Made = run.made[key]
        return found

    update_wrapper(made, make)
    return made


def load(run_folder: Path) -> LoadedRun:
    """Reads and verifies. Raises UserError: no run, no result yet, damaged or foreign result, altered windows."""
    if not run_folder.is_dir():
        found = "it is a file, give the folder that holds it" if run_folder.is_file() else "there is no such folder"
        raise UserError(f"{run_folder} is not a run folder: {found}")
    result = _read_result(run_folder)
    return LoadedRun(run_folder, result, _open_windows(run_folder / "windows.parquet", result.windows_sha256))


def _read_result(run_folder: Path) -> Result:
    path = run_folder / "result.json"
    if not path.exists():
        raise UserError(
            f"{run_folder} has no result.json: this run has not finished a trial, "
            f"`paceline run --resume {run_folder}` continues it"
        )
    try:
        return unseal(path.read_bytes(), Result)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except Damaged as damage:
        raise UserError(f"{path}: {damage}") from None


def _open_windows(path: Path, expected: str) -> Windows:
    """What is read later is the very file whose checksum was right: it stays open, whatever becomes of its name."""
    if not path.exists():
        raise UserError(f"{path} is missing: result.json and windows.parquet belong together")
    try:
        file = pyarrow.OSFile(str(path))
        received = _digest(file)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    if received != expected:
        raise UserError(
            f"{path} is not the file that result.json describes: its SHA-256 is {received[:12]}..., "
            f"expected {expected[:12]}..."
        )
    return Windows(path, file)


def _digest(file: pyarrow.NativeFile) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()
