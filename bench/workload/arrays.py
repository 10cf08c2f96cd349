"""From text to the arrays of a prepared corpus: the only step that tokenises."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.workload.conll import Sentence
from bench.workload.examples import Example
from bench.workload.text import Source
from bench.workload.vocabulary import Vocabulary

Arrays = dict[str, NDArray[np.generic]]

# [CLS] A [SEP] B [SEP]; [CLS] sentence [SEP]
PAIR_SPECIAL = 3
SENTENCE_SPECIAL = 2
MIN_DOCUMENT = 2
NO_LABEL = -1


def pretraining_arrays(sources: list[Source], vocabulary: Vocabulary, sequence_length: int) -> Arrays:
    """`tokens` (token) and `offsets` (document + 1): document i is tokens[offsets[i]:offsets[i + 1]].

    Documents of one source that cannot fill a pair alone are joined with those that follow them, so that little of
    a batch is padding. Raises UserError when all of it is shorter than one sequence.
    """
    room = sequence_length - PAIR_SPECIAL
    joined = [document for source in sources for document in _join(_encode(source, vocabulary), room)]
    total = sum(map(len, joined))
    if total < room:
        raise UserError(
            f"{sources[0].name}: the corpus has {total} usable tokens, one sequence of "
            f"workload.sequence_length {sequence_length} needs {room}"
        )
    offsets = np.cumsum([0, *map(len, joined)], dtype=np.int64)
    return {"tokens": _compact(np.concatenate(joined), vocabulary), "offsets": offsets}


def _encode(source: Source, vocabulary: Vocabulary) -> list[NDArray[np.int32]]:
    return [vocabulary.encode_lines(document.split("\n")) for document in source.documents]


def _join(documents: list[NDArray[np.int32]], room: int) -> list[NDArray[np.int32]]:
    """Documents of at least `room` tokens where the source has as many; the rest goes to the last one."""
    joined: list[list[NDArray[np.int32]]] = []
    length = room
    for document in documents:
        if length >= room:
            joined.append([])
            length = 0
        joined[-1].append(document)
        length += len(document)
    if length < room and len(joined) > 1:
        joined[-2:] = [joined[-2] + joined[-1]]
    whole = [np.concatenate(parts) for parts in joined]
    return [document for document in whole if len(document) >= MIN_DOCUMENT]


def _compact(ids: NDArray[np.int32], vocabulary: Vocabulary) -> NDArray[np.generic]:
    return ids.astype(np.uint16 if vocabulary.size <= 1 << 16 else np.int32)


def ner_arrays(
    sentences: list[Sentence], labels: tuple[str, ...], vocabulary: Vocabulary, sequence_length: int
) -> Arrays:
    """`tokens` and `labels` (piece), `offsets` (sample + 1), `words` (sample): how many pieces carry a label.

    A word's label is on its first piece; the others have NO_LABEL. A sentence that does not fit becomes several
    samples, cut between words.
    """
    room = sequence_length - SENTENCE_SPECIAL
    index = {label: number for number, label in enumerate(labels)}
    pieces = vocabulary.encode_each([word for sentence in sentences for word in sentence.words])
    tokens: list[int] = []
    marks: list[int] = []
    offsets, words = [0], []
    position = 0
    for sentence in sentences:
        of_sentence = [word[:room] for word in pieces[position : position + len(sentence.words)]]
        position += len(sentence.words)
        for start, end in _cuts([len(word) for word in of_sentence], sentence.tags, room):
            for word, tag in zip(of_sentence[start:end], sentence.tags[start:end], strict=True):
                tokens += word
                marks += [index[tag], *[NO_LABEL] * (len(word) - 1)]
            offsets.append(len(tokens))
            words.append(end - start)
    return {
        "tokens": _compact(np.array(tokens, np.int32), vocabulary),
        "labels": np.array(marks, np.int32),
        "offsets": np.array(offsets, np.int64),
        "words": np.array(words, np.int64),
    }


def classification_arrays(
    examples: list[Example], labels: tuple[str, ...], vocabulary: Vocabulary, sequence_length: int
) -> Arrays:
    """`tokens` (piece), `offsets` (sample + 1), `labels` (sample). A text that does not fit is cut at its end."""
    room = sequence_length - SENTENCE_SPECIAL
    index = {label: number for number, label in enumerate(labels)}
    pieces = [text[:room] for text in vocabulary.encode_each([example.text for example in examples])]
    return {
        "tokens": _compact(np.array([piece for text in pieces for piece in text], np.int32), vocabulary),
        "offsets": np.cumsum([0, *map(len, pieces)], dtype=np.int64),
        "labels": np.array([index[example.label] for example in examples], np.int32),
    }


def _cuts(lengths: list[int], tags: tuple[str, ...], room: int) -> list[tuple[int, int]]:
    """Ranges of words of at most `room` pieces each; an entity is kept whole unless it fills a range alone."""
    ranges: list[tuple[int, int]] = []
    start, used = 0, 0
    for word, length in enumerate(lengths):
        while used + length > room:
            cut = word
            while cut > start and tags[cut].startswith("I-"):
                cut -= 1
            cut = cut if cut > start else word
            ranges.append((start, cut))
            start, used = cut, sum(lengths[cut:word])
        used += length
    return [*ranges, (start, len(lengths))]
