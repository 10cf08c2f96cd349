"""Token classification samples: one sentence each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.protocols import Array
from bench.workload.arrays import NO_LABEL, SENTENCE_SPECIAL
from bench.workload.counter import Words, below, draw

SENTENCE = 0


class NerSampler:
    """Draws sentences, with replacement, from a corpus prepared by bench.workload.arrays."""

    def __init__(self, folder: Path, special: Mapping[str, int], sequence_length: int) -> None:
        self._tokens = np.asarray(np.load(folder / "tokens.npy", mmap_mode="r"))
        self._labels = np.asarray(np.load(folder / "labels.npy", mmap_mode="r"))
        self._offsets = np.load(folder / "offsets.npy")
        self._words = np.load(folder / "words.npy")
        self._special = special
        self._length = sequence_length

    def sample(self, keys: Words, own: slice) -> tuple[dict[str, Array], dict[str, float]]:
        """See bench.workload.batches.Sampler. [CLS] sentence [SEP] [PAD]...; labels 0 where the weight is 0."""
        sentence = below(draw(keys, SENTENCE), len(self._words))
        weights = {"ner": float(self._words[sentence].sum())}
        start = self._offsets[sentence[own]][:, None]
        end = self._offsets[sentence[own] + 1][:, None] - start + SENTENCE_SPECIAL - 1
        place = np.arange(self._length)
        source = start + place - 1
        ids = self._tokens.take(source, mode="clip").astype(np.int32)
        ids[:, 0] = self._special["[CLS]"]
        ids[place == end] = self._special["[SEP]"]
        ids[place > end] = self._special["[PAD]"]
        labels = self._labels.take(source, mode="clip")
        labelled = (place > 0) & (place < end) & (labels != NO_LABEL)
        arrays: dict[str, Array] = {
            "input_ids": ids,
            "token_type_ids": np.zeros_like(ids),
            "attention_mask": (place <= end).astype(np.int32),
            "labels": np.where(labelled, labels, 0).astype(np.int32),
            "label_weights": labelled.astype(np.float32),
        }
        return arrays, weights
