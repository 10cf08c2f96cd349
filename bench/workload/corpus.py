"""The corpus of a workload, tokenised once into memory-mapped arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.records import Record, Task, Workload
from bench.workload.content import Content, read_content
from bench.workload.generated import generator_digest
from bench.workload.inputs import HELD_OUT, Input, training_input, validation_input
from bench.workload.labels import LabelSet
from bench.workload.models import model_config, model_labels
from bench.workload.staging import file_digest, publish
from bench.workload.text import builtin_sources
from bench.workload.topics import topics_digest
from bench.workload.vocabulary import (
    Vocabulary,
    read_vocabulary,
    train_vocabulary,
    vocabulary_digest,
    vocabulary_file,
)

CODE_VERSION = 2
TRAINED = "trained"
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A prepared corpus. `labels` in index order, empty for pre-training. `digest` covers the arrays' content."""

    folder: Path
    labels: tuple[str, ...]
    digest: str


class Meta(Record, frozen=True, kw_only=True):
    """meta.json of a prepared corpus: what its arrays do not say. `special` maps [PAD], ... to ids."""

    task: Task
    labels: tuple[str, ...]
    special: dict[str, int]
    vocabulary_size: int
    sequence_length: int
    samples_or_documents: int
    tokens: int
    digest: str


def read_meta(folder: Path) -> Meta:
    """meta.json of a prepared corpus."""
    return msgspec.json.decode((folder / "meta.json").read_bytes(), type=Meta)


def prepare(workload: Workload, cache: Path, report: Report) -> Corpus:
    """The prepared training corpus, read, tokenised and written unless the cache has it. Raises UserError.

    `report` gets one sentence when there is work to do. The folder is named by the content of all inputs.
    """
    model_size = model_config(workload).vocab_size
    given = None if workload.vocabulary == TRAINED else vocabulary_file(workload.vocabulary)
    files, allowed = training_input(workload), model_labels(workload)
    key = [
        [CODE_VERSION, metadata.version("tokenizers")],
        _content_digests(workload, files),
        TRAINED if given is None else vocabulary_digest(given),
        [workload.task, workload.sequence_length, model_size],
        None if allowed is None else allowed.labels,
    ]

    def fill(staged: Path) -> None:
        report(f"preparing the {workload.task} data from {workload.data} (once)")
        content = read_content(workload, files, allowed)
        vocabulary = (
            train_vocabulary(content.texts, model_size) if given is None else read_vocabulary(given, model_size)
        )
        _write(staged, content, workload, vocabulary)

    return _published(cache, key, fill)


def prepare_validation(workload: Workload, cache: Path, report: Report) -> Corpus:
    """The same for the validation data, in the vocabulary and the label set of the training corpus."""
    training = prepare(workload, cache, report)
    files = validation_input(workload)
    key = [training.folder.name, _content_digests(workload, files)]

    def fill(staged: Path) -> None:
        source = workload.data if workload.validation == HELD_OUT else workload.validation
        report(f"preparing the {workload.task} validation data from {source} (once)")
        allowed = LabelSet("the labels of the training data", training.labels) if training.labels else None
        vocabulary = read_vocabulary(training.folder / "tokenizer.json", model_config(workload).vocab_size)
        _write(staged, read_content(workload, files, allowed), workload, vocabulary)

    return _published(cache, key, fill)


def _published(cache: Path, key: list[Any], fill: Callable[[Path], None]) -> Corpus:
    name = hashlib.sha256(msgspec.json.encode(key)).hexdigest()[:32]
    folder = publish(cache / "data" / name, fill)
    meta = read_meta(folder)
    return Corpus(folder, meta.labels, meta.digest)


def _content_digests(workload: Workload, given: Input) -> list[Any]:
    """All that the read content depends on. The place of a file is not part of it."""
    if given.files:
        return [given.portion, [[file.suffix, file_digest(file)] for file in given.files]]
    digests = {"ner": generator_digest, "classification": topics_digest, "pretraining": _text_digest}
    return [given.portion, digests[workload.task]()]


def _text_digest() -> str:
    documents = builtin_sources()[0].documents
    return hashlib.sha256("\0".join(documents).encode()).hexdigest()


def _write(staged: Path, content: Content, workload: Workload, vocabulary: Vocabulary) -> None:
    arrays = {**content.arrays(vocabulary), "replacements": vocabulary.replacements()}
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        np.save(staged / f"{name}.npy", array)
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(array.tobytes())
    (staged / "tokenizer.json").write_text(vocabulary.tokenizer.to_str(), encoding="utf-8")
    meta = Meta(
        task=workload.task,
        labels=content.labels,
        special=vocabulary.special,
        vocabulary_size=vocabulary.size,
        sequence_length=workload.sequence_length,
        samples_or_documents=len(arrays["offsets"]) - 1,
        tokens=len(arrays["tokens"]),
        digest=digest.hexdigest(),
    )
    (staged / "meta.json").write_bytes(msgspec.json.format(msgspec.json.encode(meta), indent=2))
