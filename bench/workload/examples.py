"""Texts with one label each, from a TSV or Parquet file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench.errors import UserError
from bench.quoting import quoted
from bench.workload.labels import LabelSet
from bench.workload.text import read_columns, read_text

HEADER = "label\ttext"


class Example(NamedTuple):
    """A text and its label, neither empty."""

    label: str
    text: str


def read_examples(path: Path, allowed: LabelSet | None = None) -> list[Example]:
    """All rows of a .parquet file with the columns `label` (text or integer) and `text`, or of a TSV file.

    A TSV file has the first line `label<TAB>text`, then one such pair a line; blank lines are skipped. `allowed` are
    the labels that may occur; None: any. Raises UserError naming file and line (row, from 1, in Parquet).
    """
    rows = _parquet_rows(path) if path.suffix == ".parquet" else _tsv_rows(path)
    examples = [_checked(place, label, text, allowed) for place, label, text in rows]
    if not examples:
        raise UserError(f"{path} has no example: expected rows with a label and a text")
    return examples


def labels_of(examples: Iterable[Example], name: str) -> tuple[str, ...]:
    """All labels, sorted: their order is that of the classes. Raises UserError, naming the data, for fewer than two."""
    labels = tuple(sorted({example.label for example in examples}))
    if len(labels) < 2:
        raise UserError(f"{name} has only the label {quoted(labels[0])}; a classification needs two")
    return labels


def _checked(place: str, label: object, text: object, allowed: LabelSet | None) -> Example:
    label, text = (str(value).strip() if value is not None else "" for value in (label, text))
    if not label or not text:
        raise UserError(f"{place}: the {'text' if label else 'label'} is empty; expected a label and a text")
    if allowed is not None:
        allowed.check(place, label)
    return Example(label, text)


def _tsv_rows(path: Path) -> Iterator[tuple[str, str, str]]:
    lines = read_text(path).split("\n")
    if lines[0] != HEADER:
        raise UserError(f"{path}:1: the first line is {quoted(lines[0])}; expected the header label<TAB>text")
    for number, line in enumerate(lines[1:], start=2):
        if line.strip():
            columns = line.split("\t")
            if len(columns) != 2:
                raise UserError(f"{path}:{number}: {len(columns)} column(s); expected two, label<TAB>text")
            yield f"{path}:{number}", columns[0], columns[1]


def _parquet_rows(path: Path) -> Iterator[tuple[str, object, object]]:
    columns = read_columns(path, {"label": ("string", "integer"), "text": ("string",)})
    for number, (label, text) in enumerate(zip(columns["label"], columns["text"], strict=True), start=1):
        yield f"{path}, row {number}", label, text
