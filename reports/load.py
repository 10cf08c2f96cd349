"""A run folder, checked and read: the only reader of files in this package."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas
import pyarrow

from bench.errors import UserError
from bench.records import Result
from bench.storage import Damaged, unseal

COUNTED = (
    "repeat", "rank", "index", "steps", "samples", "tokens_real", "tokens_padded",
    "start_ns", "duration_ns", "input_wait_ns", "cpu_ns",
)  # fmt: skip
OPTIONAL = ("rss_bytes", "received_bytes", "sent_bytes")
FLAGS = ("warmup", "exchange")
COLUMNS = ("trial_id", *COUNTED, *FLAGS, *OPTIONAL)


@dataclass(frozen=True, slots=True)
class LoadedRun:
    """One run, whole. `windows` has one line per (trial, repeat, rank, index) and the columns COLUMNS.

    Integers are pandas' nullable Int64: an unknown is <NA>, and no nanosecond passes through a float.
    """

    folder: Path
    result: Result
    windows: pandas.DataFrame


def load(run_folder: Path) -> LoadedRun:
    """Reads and verifies. Raises UserError: no run, no result yet, damaged or foreign result, altered windows."""
    if not run_folder.is_dir():
        found = "it is a file, give the folder that holds it" if run_folder.is_file() else "there is no such folder"
        raise UserError(f"{run_folder} is not a run folder: {found}")
    result = _read_result(run_folder)
    return LoadedRun(run_folder, result, _read_windows(run_folder / "windows.parquet", result.windows_sha256))


def _read_result(run_folder: Path) -> Result:
    path = run_folder / "result.json"
    if not path.exists():
        raise UserError(
            f"{run_folder} has no result.json: this run has not finished a trial, "
            f"`paceline run --resume {run_folder}` continues it"
        )
    try:
        return unseal(_bytes(path), Result)
    except Damaged as damage:
        raise UserError(f"{path}: {damage}") from None


def _read_windows(path: Path, expected: str) -> pandas.DataFrame:
    if not path.exists():
        raise UserError(f"{path} is missing: result.json and windows.parquet belong together")
    content = _bytes(path)
    received = hashlib.sha256(content).hexdigest()
    if received != expected:
        raise UserError(
            f"{path} is not the file that result.json describes: its SHA-256 is {received[:12]}..., "
            f"expected {expected[:12]}..."
        )
    try:
        frame = pandas.read_parquet(BytesIO(content), dtype_backend="numpy_nullable")
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a Parquet file: {error}") from None
    _check_columns(path, frame)
    return frame[list(COLUMNS)]


def _check_columns(path: Path, frame: Any) -> None:
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}")
    for names, kind, holds in (
        (COUNTED + OPTIONAL, "whole numbers", pandas.api.types.is_integer_dtype),
        (FLAGS, "true or false", pandas.api.types.is_bool_dtype),
    ):
        for name in names:
            # A column of nothing but unknowns has no integer type in Parquet.
            empty = name in OPTIONAL and frame[name].isna().all()
            if not empty and not holds(frame[name].dtype):
                raise UserError(f"{path}, column {name}: {frame[name].dtype} values, expected {kind}")
    for name in ("trial_id", *COUNTED, *FLAGS):
        if frame[name].isna().any():
            raise UserError(f"{path}, column {name}: a value is missing; only {', '.join(OPTIONAL)} may be unknown")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
