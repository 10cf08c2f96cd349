"""Samples that carry labels, one sentence or text each: token classification (NER) and classification."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.protocols import Array
from bench.workload.arrays import NO_LABEL, SENTENCE_SPECIAL
from bench.workload.counter import Words, below, draw

SENTENCE = 0

Numbers = NDArray[np.int64]


class LabelledSampler:
    """Draws sentences, with replacement, from a corpus prepared by bench.workload.arrays."""

    def __init__(self, folder: Path, special: Mapping[str, int], sequence_length: int) -> None:
        self._tokens = np.asarray(np.load(folder / "tokens.npy", mmap_mode="r"))
        self._labels = np.asarray(np.load(folder / "labels.npy", mmap_mode="r"))
        self._offsets = np.load(folder / "offsets.npy")
        self._special = special
        self._length = sequence_length
        self.distinct: int | None = len(self._offsets) - 1

    def sample(self, keys: Words, own: slice) -> tuple[dict[str, Array], dict[str, float]]:
        """See bench.workload.batches.Sampler."""
        sentences = below(draw(keys, SENTENCE), len(self._offsets) - 1)
        return self._arrays(sentences[own]), self._weights(sentences)

    def fixed(self, numbers: Numbers) -> tuple[dict[str, Array], dict[str, float]]:
        """See bench.workload.batches.Sampler."""
        return self._arrays(numbers), self._weights(numbers)

    def _arrays(self, sentences: Numbers) -> dict[str, Array]:
        """[CLS] sentence [SEP] [PAD]..., and the labels; axes (sentence, ...)."""
        start = self._offsets[sentences][:, None]
        end = self._offsets[sentences + 1][:, None] - start + SENTENCE_SPECIAL - 1
        place = np.arange(self._length)
        source = start + place - 1
        ids = self._tokens.take(source, mode="clip").astype(np.int32)
        ids[:, 0] = self._special["[CLS]"]
        ids[place == end] = self._special["[SEP]"]
        ids[place > end] = self._special["[PAD]"]
        return {
            "input_ids": ids,
            "token_type_ids": np.zeros_like(ids),
            "attention_mask": (place <= end).astype(np.int32),
            **self._label_arrays(sentences, source, (place > 0) & (place < end)),
        }

    def _label_arrays(self, sentences: Numbers, source: Numbers, inside: NDArray[np.bool_]) -> dict[str, Array]:
        """`source`: the place in the corpus of each token, where it is `inside` the sentence."""
        raise NotImplementedError

    def _weights(self, sentences: Numbers) -> dict[str, float]:
        """The weight sum over these sentences, per head."""
        raise NotImplementedError


class NerSampler(LabelledSampler):
    """A label on the first piece of each word; 0 where the weight is 0."""

    def __init__(self, folder: Path, special: Mapping[str, int], sequence_length: int) -> None:
        super().__init__(folder, special, sequence_length)
        self._words = np.load(folder / "words.npy")

    def _label_arrays(self, sentences: Numbers, source: Numbers, inside: NDArray[np.bool_]) -> dict[str, Array]:
        labels = self._labels.take(source, mode="clip")
        labelled = inside & (labels != NO_LABEL)
        return {
            "labels": np.where(labelled, labels, 0).astype(np.int32),
            "label_weights": labelled.astype(np.float32),
        }

    def _weights(self, sentences: Numbers) -> dict[str, float]:
        return {"ner": float(self._words[sentences].sum())}


class ClassificationSampler(LabelledSampler):
    """One label per text; each sample weighs 1."""

    def _label_arrays(self, sentences: Numbers, source: Numbers, inside: NDArray[np.bool_]) -> dict[str, Array]:
        return {"labels": self._labels[sentences]}

    def _weights(self, sentences: Numbers) -> dict[str, float]:
        return {"classification": float(len(sentences))}
