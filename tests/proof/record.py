"""An experiment is a list of parts with seeds of their own; its record is JSON in docs/proof, kept in the repository.

A part that is recorded is not computed again, so that an experiment can be cut off and continued. The record carries
a stamp of the code that it proves; when that code changes, the record is stale and begins anew.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "docs" / "proof"
Part = Callable[[np.random.Generator], Any]


@dataclass(frozen=True)
class Experiment:
    """`proves`: files, relative to the repository, whose code the record stands for, the experiment's own included."""

    name: str
    about: str
    proves: Sequence[str]
    settings: Mapping[str, Any]
    parts: Mapping[str, Part]

    def stamp(self) -> str:
        """16 hex digits over the code, without comments and docstrings, and the settings."""
        content = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode())
        for path in self.proves:
            content.update(f"{path}\n{code_of((ROOT / path).read_text())}\n".encode())
        return content.hexdigest()[:16]

    def path(self, folder: Path = RECORDS) -> Path:
        return folder / f"{self.name}.json"


def code_of(source: str) -> str:
    """Source without docstrings, comment lines and blank lines: what may change without a new proof."""
    dropped = {line for node in ast.walk(ast.parse(source)) for line in _docstring_lines(node)}
    lines = enumerate(source.splitlines(), start=1)
    return "\n".join(
        line for number, line in lines if number not in dropped and not line.strip().startswith("#") and line.strip()
    )


def _docstring_lines(node: ast.AST) -> Iterator[int]:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return
    if ast.get_docstring(node, clean=False) is not None:
        first = node.body[0]
        yield from range(first.lineno, (first.end_lineno or first.lineno) + 1)


def read(experiment: Experiment, folder: Path = RECORDS) -> dict[str, Any] | None:
    """The record, whatever its stamp; None where there is none."""
    path = experiment.path(folder)
    return json.loads(path.read_text()) if path.exists() else None


def why_stale(experiment: Experiment, folder: Path = RECORDS) -> str | None:
    """One sentence, or None when the record stands for the code as it is and is whole."""
    found = read(experiment, folder)
    if found is None:
        return f"{experiment.name} has no record; make proof"
    if found["stamp"] != experiment.stamp():
        return f"the record of {experiment.name} proves other code than {', '.join(experiment.proves)}; make proof"
    missing = [name for name in experiment.parts if name not in found["parts"]]
    return f"the record of {experiment.name} lacks {', '.join(missing[:3])}; make proof" if missing else None


def prove(experiment: Experiment, folder: Path = RECORDS, told: Callable[[str], None] = lambda sentence: None) -> None:
    """Computes what the record lacks, saving after every part."""
    found = read(experiment, folder)
    parts = found["parts"] if found and found["stamp"] == experiment.stamp() else {}
    seed = int(experiment.settings["seed"])
    for name, part in experiment.parts.items():
        if name not in parts:
            told(f"{experiment.name}: {name}")
            parts[name] = part(np.random.default_rng([seed, zlib.crc32(name.encode())]))
            _write(experiment, {one: parts[one] for one in experiment.parts if one in parts}, folder)


def _write(experiment: Experiment, parts: Mapping[str, Any], folder: Path) -> None:
    content = {
        "experiment": experiment.name,
        "about": experiment.about,
        "proves": list(experiment.proves),
        "stamp": experiment.stamp(),
        "settings": dict(experiment.settings),
        "parts": dict(parts),
    }
    folder.mkdir(parents=True, exist_ok=True)
    staged = experiment.path(folder).with_suffix(f".{os.getpid()}")
    staged.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    staged.replace(experiment.path(folder))
