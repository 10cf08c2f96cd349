"""Floating-point operations of one training step of BERT: of its matrix products, counted exactly from their shapes.

A product of an (a, b) and a (b, c) matrix is a x c sums of b products: 2abc operations, as devices' peaks are counted.
With T tokens, P the sum over samples of the square of their length, B samples, M predicted words, hidden size h,
intermediate size i, vocabulary v, n labels, one forward pass is

  each layer              8Th^2 (query, key, value, output) + 4Ph (scores, and weights times values) + 4Thi
  pooler                  2Bh^2                             for pre-training and classification
  pre-training            2Mh^2 + 2Mhv (masked words), 4Bh (next sentence)
  ner                     2Thn
  classification          2Bhn

and the backward pass has two products of the same size for each of these: by the input and by the weights (by both
factors in attention). Every input of a product depends on trained weights, so none of them falls away. Looking up an
embedding is no arithmetic; additions, GELU, softmax, LayerNorm and the optimizer are left out, as everybody does: they
are some percent and not what peaks are of. What a kernel computes twice to save memory is not counted either.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.protocols import Batch
from bench.records import Task
from bench.workload.packing import total_rows

SIZES = ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")
BACKWARD = 2  # products for each one of the forward pass


class Amounts(NamedTuple):
    """Of one batch: samples, tokens, sum of squared lengths, predicted words."""

    samples: int
    tokens: int
    pairs: int
    predictions: int


class Flops(NamedTuple):
    """executed: all that the batch's shape asks for. useful: as if it had no padding and no empty prediction."""

    executed: int
    useful: int


class Shape(NamedTuple):
    """What of a model the count depends on; `labels` of "ner" and "classification"."""

    task: Task
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    labels: int

    @classmethod
    def of_checkpoint(cls, folder: Path, task: Task) -> Shape:
        """From its config.json."""
        config = json.loads((folder / "config.json").read_bytes())
        layers, hidden, intermediate, vocabulary = (config[key] for key in SIZES)
        return cls(task, layers, hidden, intermediate, vocabulary, len(config.get("id2label", ())))

    def forward(self, amounts: Amounts) -> int:
        """Operations of one forward pass.

        >>> Shape("classification", 1, 2, 8, 10, 3).forward(Amounts(samples=1, tokens=4, pairs=16, predictions=0))
        532
        """
        samples, tokens, pairs, predictions = amounts
        hidden = self.hidden
        layer = 8 * tokens * hidden**2 + 4 * pairs * hidden + 4 * tokens * hidden * self.intermediate
        heads = {
            "pretraining": 2 * predictions * hidden * (hidden + self.vocabulary) + 2 * samples * hidden * (hidden + 2),
            "ner": 2 * tokens * hidden * self.labels,
            "classification": 2 * samples * hidden * (hidden + self.labels),
        }
        return self.layers * layer + heads[self.task]

    def training(self, batch: Batch) -> Flops:
        """Operations of one step of a rank on its share."""
        steps = (self.forward(amounts) for amounts in (executed(batch), useful(batch)))
        return Flops(*((1 + BACKWARD) * each for each in steps))


def executed(batch: Batch) -> Amounts:
    """Every place of the rows counts; in attention every pair of a row, also where it holds several samples."""
    *leading, length = batch.arrays["input_ids"].shape
    tokens = total_rows(batch.arrays) * length
    predictions = batch.arrays["masked_ids"].size if "masked_ids" in batch.arrays else 0
    return Amounts(math.prod(leading), tokens, tokens * length, predictions)


def useful(batch: Batch) -> Amounts:
    """Only what is attended to, and words that have a weight in the loss."""
    lengths = batch.arrays["attention_mask"].sum(axis=-1, dtype=np.int64)
    weights = batch.arrays.get("masked_weights")
    predictions = 0 if weights is None else int(np.count_nonzero(weights))
    return Amounts(lengths.size, int(lengths.sum()), int((lengths**2).sum()), predictions)
