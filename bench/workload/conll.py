"""Sentences with one tag per word, from a CoNLL file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from bench.errors import UserError
from bench.quoting import quoted
from bench.workload.labels import LabelSet
from bench.workload.text import read_text

TAG = re.compile(r"O|[BI]-\S+")
DOCUMENT = "-DOCSTART-"


class Sentence(NamedTuple):
    """Words and their BIO tags, equally many."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


def read_conll(path: Path, allowed: LabelSet | None = None) -> list[Sentence]:
    """Sentences of a file with the word in the first column and the tag in the last, blank lines between sentences.

    Columns are separated by tabs where a line has one, else by spaces. A `# ...` line without a tag is a comment.
    An entity may begin with I- (IOB1). `allowed` are the tags that may occur; None: any. Raises UserError naming
    file and line.
    """
    sentences: list[Sentence] = []
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*read_text(path).split("\n"), ""], start=1):
        if line.strip(" \t"):
            word, tag = _columns(path, number, line)
            if tag is not None:
                if allowed is not None:
                    allowed.check(f"{path}:{number}", tag)
                words.append(word)
                tags.append(tag)
        elif words:
            sentences.append(Sentence(tuple(words), tuple(tags)))
            words, tags = [], []
    if not sentences:
        raise UserError(f"{path} has no usable sentence: expected lines with a word and a BIO tag")
    return sentences


def _columns(path: Path, number: int, line: str) -> tuple[str, str | None]:
    """Word and tag of a line; no tag for a line that is no word: a comment or a document's start."""
    columns = [column.strip(" ") for column in line.split("\t")] if "\t" in line else re.split(" +", line.strip(" "))
    word, tag = columns[0], columns[-1]
    valid = len(columns) > 1 and TAG.fullmatch(tag) is not None
    if word == DOCUMENT or (word == "#" and not valid):
        return word, None
    if len(columns) < 2 or not tag:
        given = quoted(line.strip())
        raise UserError(f"{path}:{number}: {given} has no tag; expected a word, a tab or space, and a BIO tag")
    if not valid:
        raise UserError(f"{path}:{number}: {quoted(tag)} is no BIO tag; allowed are O, B-<type> and I-<type>")
    if not word:
        raise UserError(f"{path}:{number}: the first column is empty; expected a word")
    return word, tag


def labels_of(sentences: list[Sentence]) -> tuple[str, ...]:
    """All labels in index order: O, then B- and I- of each type, by name, whether or not both occur."""
    types = sorted({tag[2:] for sentence in sentences for tag in sentence.tags if tag != "O"})
    return ("O", *(f"{position}-{name}" for name in types for position in "BI"))
