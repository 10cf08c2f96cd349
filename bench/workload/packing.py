"""Several samples in one row: where each token of a padded batch goes, so that little padding is left.

A batch keeps its arrays as they are; `packed_places` beside them says where its tokens are computed. Samples are not
split, and a sample attends to its own tokens only, so that losses are those of the padded batch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bench.protocols import Array, Batch

PLACES = "packed_places"


def rows_needed(lengths: NDArray[np.int64], row_tokens: int) -> tuple[NDArray[np.int64], int]:
    """(first place of each sample, rows): the longest first, each into the first row with room for it.

    >>> rows_needed(np.array([3, 6, 2, 5]), 8)
    (array([13,  0,  6,  8]), 2)
    """
    free = np.full(len(lengths), row_tokens, np.int64)
    first = np.zeros(len(lengths), np.int64)
    for sample in np.argsort(-lengths, kind="stable"):
        row = int(np.argmax(free >= lengths[sample]))
        first[sample] = row * row_tokens + row_tokens - free[row]
        free[row] -= lengths[sample]
    return first, int(np.count_nonzero(free < row_tokens))


def place(attention_mask: Array, least_rows: int) -> NDArray[np.int32]:
    """Of each token of samples with axes (sample, token): row x length + place in it; rows x length, one past the last,
    where it is padding. At least `least_rows` rows, so that most batches have one shape."""
    samples, length = attention_mask.shape
    lengths = attention_mask.sum(axis=-1, dtype=np.int64)
    first, rows = rows_needed(lengths, length)
    rows = min(max(rows, least_rows), samples)
    tokens = np.arange(length)
    return np.where(tokens < lengths[:, None], first[:, None] + tokens, rows * length).astype(np.int32)


def packed(batch: Batch, least_rows: int) -> Batch:
    """The same samples with their places, each replica's microbatch by itself, and the tokens that are computed."""
    masks = batch.arrays["attention_mask"]
    places = np.stack([np.stack([place(own, least_rows) for own in replicas]) for replicas in masks])
    arrays = {**batch.arrays, PLACES: places}
    return dataclasses.replace(batch, arrays=arrays, tokens_padded=total_rows(arrays) * masks.shape[-1])


def num_rows(places: Array) -> int:
    """Rows of one replica's microbatch: the largest place is in the last one's end, or right behind it."""
    length: int = places.shape[-1]
    return -(-int(places.max()) // length)


def most_rows(arrays: Mapping[str, Array]) -> int:
    """Of a packed batch's microbatch."""
    return max(num_rows(own) for replicas in arrays[PLACES] for own in replicas)


def total_rows(arrays: Mapping[str, Array]) -> int:
    """Of all microbatches and local replicas; where nothing is packed each sample is a row."""
    if PLACES not in arrays:
        return math.prod(arrays["input_ids"].shape[:-1])
    return sum(num_rows(own) for replicas in arrays[PLACES] for own in replicas)
