"""Which files a workload trains on, and which it is validated on.

Validation is part of the workload, so the training data is the same with and without an evaluation:

built-in NER, classification   the generators make a training and a dev split
`validation` is a path         all of the data is trained on, except files that the path names
a dev, valid or validation     that file is for validation, the others of the folder or glob are trained on
  file beside the data
neither                        every HELD_OUT_EVERY-th document, sentence or example is not trained on
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from bench.errors import UserError
from bench.records import Task, Workload
from bench.workload.text import input_files

BUILTIN = "builtin"
HELD_OUT = "held_out"
HELD_OUT_EVERY = 20
VALIDATION_STEMS = ("dev", "valid", "validation")
SUFFIXES: dict[Task, tuple[str, ...]] = {
    "pretraining": (".txt",),
    "ner": (".conll",),
    "classification": (".tsv", ".parquet"),
}
ONE_FILE = {"ner": "NER takes one CoNLL file", "classification": "classification takes one TSV or Parquet file"}

Portion = Literal["whole", "kept", "held_out"]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Input:
    """What is read: `files`, none for built-in data, and which of their items."""

    files: tuple[Path, ...]
    portion: Portion

    def select(self, items: Sequence[Item]) -> list[Item]:
        """The items of this portion, in order."""
        if self.portion == "whole":
            return list(items)
        held_out = self.portion == "held_out"
        return [item for number, item in enumerate(items, start=1) if (number % HELD_OUT_EVERY == 0) == held_out]


def training_input(workload: Workload) -> Input:
    """Raises UserError where the files are missing, or are those of the validation."""
    if workload.validation != HELD_OUT:
        portion: Portion = "whole"
    elif workload.data == BUILTIN:
        portion = "kept" if workload.task == "pretraining" else "whole"
    else:
        portion = "whole" if _beside(_found(workload)) else "kept"
    return Input(() if workload.data == BUILTIN else data_files(workload), portion)


def validation_input(workload: Workload) -> Input:
    """Raises UserError where the files are missing."""
    given = _given(workload)
    if given:
        return Input(given, "whole")
    if workload.data == BUILTIN:
        return Input((), "held_out")
    beside = _beside(_found(workload))
    return Input(beside, "whole") if beside else Input(data_files(workload), "held_out")


def data_files(workload: Workload) -> tuple[Path, ...]:
    """The training files. Raises UserError; only pre-training takes several."""
    found = _found(workload)
    apart = {file.resolve() for file in _given(workload) or _beside(found)}
    files = tuple(file for file in found if file.resolve() not in apart)
    if not files:
        raise UserError(
            f"workload.validation names what workload.data does ({found[0]}): validate on data that is not trained on"
        )
    if workload.task == "pretraining":
        return files
    train = tuple(file for file in files if file.stem == "train")
    chosen = train if len(train) == 1 else files
    if len(chosen) > 1:
        names = ", ".join(file.name for file in files)
        raise UserError(f"workload.data is {workload.data!r}: {ONE_FILE[workload.task]}, given are {names}")
    return chosen


def _found(workload: Workload) -> tuple[Path, ...]:
    return tuple(input_files(workload.data, SUFFIXES[workload.task], "workload.data"))


def _given(workload: Workload) -> tuple[Path, ...]:
    """The files that `validation` names, none where it is HELD_OUT."""
    if workload.validation == HELD_OUT:
        return ()
    return tuple(input_files(workload.validation, SUFFIXES[workload.task], "workload.validation"))


def _beside(found: tuple[Path, ...]) -> tuple[Path, ...]:
    """The dev or valid file in the data's folder, of the data's kind, unless it alone is the data."""
    folder, suffix = found[0].parent, found[0].suffix
    candidates = [folder / f"{stem}{suffix}" for stem in VALIDATION_STEMS]
    there = [file for file in candidates if file.is_file() and found != (file,)]
    return tuple(there[:1])
