"""The corpus of a workload, tokenised once into memory-mapped arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import msgspec
import numpy as np

from bench.errors import UserError
from bench.records import Record, Task, Workload
from bench.workload.arrays import Arrays, ner_arrays, pretraining_arrays
from bench.workload.conll import labels_of, read_conll
from bench.workload.generated import generate_sentences, generator_digest
from bench.workload.models import model_config
from bench.workload.staging import file_digest, publish
from bench.workload.text import builtin_sources, input_files, read_source
from bench.workload.vocabulary import (
    Vocabulary,
    read_vocabulary,
    train_vocabulary,
    vocabulary_digest,
    vocabulary_file,
)

CODE_VERSION = 1
BUILTIN = "builtin"
TRAINED = "trained"


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


def prepare(workload: Workload, cache: Path, report: Callable[[str], None]) -> Corpus:
    """The prepared corpus, read, tokenised and written unless the cache has it. Raises UserError.

    `report` gets one sentence when there is work to do. The folder is named by the content of all inputs.
    """
    model_size = model_config(workload).vocab_size
    files = [] if workload.data == BUILTIN else data_files(workload)
    given = None if workload.vocabulary == TRAINED else vocabulary_file(workload.vocabulary)
    key = msgspec.json.encode(
        [
            [CODE_VERSION, metadata.version("tokenizers")],
            [[file.suffix, file_digest(file)] for file in files] or _builtin_digest(workload.task),
            TRAINED if given is None else vocabulary_digest(given),
            [workload.task, workload.sequence_length, model_size],
        ]
    )
    folder = cache / "data" / hashlib.sha256(key).hexdigest()[:32]
    if not folder.is_dir():
        report(f"preparing the {workload.task} data from {workload.data} (once)")
        publish(folder, lambda staged: _fill(staged, workload, files, given, model_size))
    meta = read_meta(folder)
    return Corpus(folder, meta.labels, meta.digest)


def data_files(workload: Workload) -> list[Path]:
    """The input files. Raises UserError; NER takes exactly one."""
    if workload.task == "pretraining":
        return input_files(workload.data, (".txt",))
    files = input_files(workload.data, (".conll",))
    train = [file for file in files if file.stem == "train"]
    chosen = train if len(train) == 1 else files
    if len(chosen) > 1:
        names = ", ".join(file.name for file in files)
        raise UserError(f"workload.data is {workload.data!r}: NER takes one CoNLL file, given are {names}")
    return chosen


def _builtin_digest(task: Task) -> str:
    if task == "ner":
        return generator_digest()
    documents = builtin_sources()[0].documents
    return hashlib.sha256("\0".join(documents).encode()).hexdigest()


def _fill(staged: Path, workload: Workload, files: list[Path], given: Path | None, model_size: int) -> None:
    if workload.task == "ner":
        sentences = [s for file in files for s in read_conll(file)] or generate_sentences("train")
        vocabulary = _vocabulary(given, [" ".join(sentence.words) for sentence in sentences], model_size)
        labels = labels_of(sentences)
        arrays = ner_arrays(sentences, labels, vocabulary, workload.sequence_length)
    else:
        sources = [read_source(file) for file in files] or builtin_sources()
        vocabulary = _vocabulary(given, [text for source in sources for text in source.documents], model_size)
        labels = ()
        arrays = pretraining_arrays(sources, vocabulary, workload.sequence_length)
    _write(staged, {**arrays, "replacements": vocabulary.replacements()}, workload, labels, vocabulary)


def _vocabulary(given: Path | None, texts: list[str], model_size: int) -> Vocabulary:
    return train_vocabulary(texts, model_size) if given is None else read_vocabulary(given, model_size)


def _write(staged: Path, arrays: Arrays, workload: Workload, labels: tuple[str, ...], vocabulary: Vocabulary) -> None:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        np.save(staged / f"{name}.npy", array)
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(array.tobytes())
    (staged / "tokenizer.json").write_text(vocabulary.tokenizer.to_str(), encoding="utf-8")
    meta = Meta(
        task=workload.task,
        labels=labels,
        special=vocabulary.special,
        vocabulary_size=vocabulary.size,
        sequence_length=workload.sequence_length,
        samples_or_documents=len(arrays["offsets"]) - 1,
        tokens=len(arrays["tokens"]),
        digest=digest.hexdigest(),
    )
    (staged / "meta.json").write_bytes(msgspec.json.format(msgspec.json.encode(meta), indent=2))
