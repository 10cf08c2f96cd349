"""An experiment is a list of parts with seeds of their own; its record is JSON in docs/proof, kept in the repository.

A part that is recorded is not computed again, so that an experiment can be cut off and continued. A part that raises
AssertionError found a promise broken: it is computed again by the next start, and the record keeps what it said. The
record carries a stamp of the code that it proves; when that code changes, the record is stale and begins anew.
"""

from __future__ import annotations

import ast
import hashlib
import json
import multiprocessing
import os
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
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


def broken(experiment: Experiment, folder: Path = RECORDS) -> Mapping[str, list[str]]:
    """By part, what was said whenever it did not hold; a part that holds now may be among them."""
    found = read(experiment, folder)
    return found.get("broken", {}) if found and found["stamp"] == experiment.stamp() else {}


def prove(
    experiment: Experiment,
    folder: Path = RECORDS,
    told: Callable[[str], None] = lambda sentence: None,
    jobs: int = 1,
) -> None:
    """Computes what the record lacks, so many parts at a time, saving after every part."""
    found = read(experiment, folder)
    parts = found["parts"] if found and found["stamp"] == experiment.stamp() else {}
    failures = dict(broken(experiment, folder))
    for name, outcome in _computed(experiment, [one for one in experiment.parts if one not in parts], jobs):
        if isinstance(outcome, AssertionError):
            sentence = str(outcome).strip().partition("\n")[0]
            told(f"{experiment.name}: {name} DOES NOT HOLD: {outcome}")
            failures[name] = [*failures.get(name, []), sentence]
        else:
            told(f"{experiment.name}: {name}")
            parts[name] = outcome
        _write(experiment, {one: parts[one] for one in experiment.parts if one in parts}, failures, folder)


def _computed(experiment: Experiment, names: Sequence[str], jobs: int) -> Iterator[tuple[str, Any]]:
    """Each part and what it gives, an AssertionError that it raises included; in order of ending."""
    compute = partial(_compute, experiment)
    if jobs == 1:
        yield from ((name, compute(name)) for name in names)
        return
    global _inherited
    _inherited = compute
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork")) as pool:
        begun = {pool.submit(_of_parent, name): name for name in names}
        yield from ((begun[one], one.result()) for one in as_completed(begun))


# Parts are closures, which cannot be sent to a process, but a forked one has them.
_inherited: Callable[[str], Any]


def _of_parent(name: str) -> Any:
    return _inherited(name)


def _compute(experiment: Experiment, name: str) -> Any:
    seed = int(experiment.settings["seed"])
    try:
        return experiment.parts[name](np.random.default_rng([seed, zlib.crc32(name.encode())]))
    except AssertionError as failure:  # outside pytest a plain `assert` has no words of its own
        return AssertionError(str(failure) or traceback.extract_tb(failure.__traceback__)[-1].line)


def _write(experiment: Experiment, parts: Mapping[str, Any], failures: Mapping[str, list[str]], folder: Path) -> None:
    content = {
        "experiment": experiment.name,
        "about": experiment.about,
        "proves": list(experiment.proves),
        "stamp": experiment.stamp(),
        "settings": dict(experiment.settings),
        "parts": dict(parts),
        **({"broken": dict(failures)} if failures else {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    staged = experiment.path(folder).with_suffix(f".{os.getpid()}")
    staged.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    staged.replace(experiment.path(folder))
