"""What a workload's input holds, before it is tokenised: texts to learn a vocabulary from, labels, arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.errors import UserError
from bench.records import Task, Workload
from bench.workload import conll, examples
from bench.workload.arrays import Arrays, classification_arrays, ner_arrays, pretraining_arrays
from bench.workload.generated import generate_sentences
from bench.workload.inputs import HELD_OUT_EVERY, Input, Item
from bench.workload.labels import LabelSet
from bench.workload.text import Source, builtin_sources, read_source
from bench.workload.topics import generate_examples
from bench.workload.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Content:
    """`labels` in index order, empty for pre-training. `arrays` tokenises with a vocabulary."""

    texts: list[str]
    labels: tuple[str, ...]
    arrays: Callable[[Vocabulary], Arrays]


def read_content(workload: Workload, given: Input, allowed: LabelSet | None) -> Content:
    """`allowed`: the label set of the model or of the training data; None: the data's own. Raises UserError."""
    return _READERS[workload.task](workload, given, allowed)


def _pretraining(workload: Workload, given: Input, allowed: LabelSet | None) -> Content:
    """Documents are counted through all sources, and keep theirs."""
    sources = [read_source(file) for file in given.files] or builtin_sources()
    pairs = [(source.name, document) for source in sources for document in source.documents]
    chosen = _select(workload, given, pairs, "documents")
    kept = [
        Source(source.name, tuple(document for name, document in chosen if name == source.name)) for source in sources
    ]
    return Content(
        [document for _, document in chosen],
        (),
        lambda vocabulary: pretraining_arrays(kept, vocabulary, workload.sequence_length),
    )


def _ner(workload: Workload, given: Input, allowed: LabelSet | None) -> Content:
    everything = [sentence for file in given.files for sentence in conll.read_conll(file, allowed)]
    if not given.files:
        everything = generate_sentences(_split(given))
        _check_generated(allowed, conll.labels_of(everything))
    labels = conll.labels_of(everything) if allowed is None else allowed.labels
    chosen = _select(workload, given, everything, "sentences")
    return Content(
        [" ".join(sentence.words) for sentence in chosen],
        labels,
        lambda vocabulary: ner_arrays(chosen, labels, vocabulary, workload.sequence_length),
    )


def _classification(workload: Workload, given: Input, allowed: LabelSet | None) -> Content:
    everything = [example for file in given.files for example in examples.read_examples(file, allowed)]
    if not given.files:
        everything = generate_examples(_split(given))
        _check_generated(allowed, examples.labels_of(everything, "builtin"))
    labels = examples.labels_of(everything, workload.data) if allowed is None else allowed.labels
    chosen = _select(workload, given, everything, "examples")
    return Content(
        [example.text for example in chosen],
        labels,
        lambda vocabulary: classification_arrays(chosen, labels, vocabulary, workload.sequence_length),
    )


_READERS: dict[Task, Callable[[Workload, Input, LabelSet | None], Content]] = {
    "pretraining": _pretraining,
    "ner": _ner,
    "classification": _classification,
}


def _split(given: Input) -> Literal["train", "dev"]:
    return "dev" if given.portion == "held_out" else "train"


def _check_generated(allowed: LabelSet | None, labels: tuple[str, ...]) -> None:
    for label in labels:
        if allowed is not None:
            allowed.check("builtin", label)


def _select(workload: Workload, given: Input, items: Sequence[Item], name: str) -> list[Item]:
    """The input's portion; a generator has already made its split. Raises UserError when nothing is held out."""
    if not given.files and workload.task != "pretraining":
        return list(items)
    chosen = given.select(items)
    if not chosen:
        raise UserError(
            f"workload.data is {workload.data!r}, whose {len(items)} {name} are too few to hold out every "
            f"{HELD_OUT_EVERY}th for validation; name other data in workload.validation"
        )
    return chosen
