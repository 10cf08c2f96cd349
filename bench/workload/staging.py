"""Folders that are either whole or not there, whoever writes at the same time and whoever is killed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.errors import UserError

PREFIX = ".staged-"
ABANDONED_AFTER_S = 24 * 3600


def publish(folder: Path, fill: Callable[[Path], None]) -> Path:
    """`folder`; if it is not there yet, `fill` writes into a staged folder beside it, which is renamed into place.

    Of several writers at once the first wins and the others use its folder: their content is equal, as the name
    is a hash of the inputs. Raises UserError when the disk refuses, and whatever `fill` raises.
    """
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder.parent)
        staged = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{folder.name}-", dir=folder.parent))
        try:
            fill(staged)
            _settle(staged, folder)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise UserError(f"the cache {folder.parent} cannot be written: {error}") from error
    return folder


def _settle(staged: Path, folder: Path) -> None:
    """Renames, after the content has reached the disk: a rename must not survive a power cut that the data did not.

    Everybody may read the result: temporary folders and safetensors' files are private by default.
    """
    staged.chmod(0o755)
    for path in staged.iterdir():
        path.chmod(0o644)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    try:
        staged.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _remove_abandoned(parent: Path) -> None:
    """Removes what killed writers left behind, once it is too old to belong to a living one."""
    for path in parent.glob(f"{PREFIX}*"):
        try:
            abandoned = time.time() - path.stat().st_mtime > ABANDONED_AFTER_S
        except FileNotFoundError:
            continue
        if abandoned:
            shutil.rmtree(path, ignore_errors=True)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content. Raises UserError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
