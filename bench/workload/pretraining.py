"""Masked-LM and next-sentence samples as the original BERT's, drawn for a whole batch at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.protocols import Array
from bench.workload.arrays import PAIR_SPECIAL
from bench.workload.counter import Words, below, draw, draw_rows, sample_keys

Ints = NDArray[np.int64]

ANCHOR, SHORT, LENGTH, START, SPLIT, NEXT, OTHER, OTHER_START, CHOOSE, ACTION, REPLACE = range(11)

MASKED_PERCENT = 15
SHORT_PERCENT = 10
RANDOM_NEXT_PERCENT = 50
TOKEN_MASKED, TOKEN_REPLACED = 80, 10

FIXED_SEED = 2019

_POSITION_BITS = np.uint64(0xFFFF)
_NO_POSITION = np.uint64(0xFFFFFFFFFFFFFFFF)


def max_predictions(sequence_length: int) -> int:
    """Length of the prediction axis: 15 % of the tokens of a full sequence, at least one."""
    return max(1, round(MASKED_PERCENT * sequence_length / 100))


@dataclass(frozen=True, slots=True)
class Pairs:
    """Where the segments of n samples lie: A is tokens[first:first + a], B is tokens[second:second + b].

    `random_next`: 1 where B is from elsewhere, 0 where it follows A. Each array has the axis (sample).
    """

    first: Ints
    a: Ints
    second: Ints
    b: Ints
    random_next: Ints

    @property
    def real(self) -> Ints:
        """Tokens that are no padding."""
        return self.a + self.b + PAIR_SPECIAL

    def __getitem__(self, own: slice) -> Pairs:
        return Pairs(self.first[own], self.a[own], self.second[own], self.b[own], self.random_next[own])


class PretrainingSampler:
    """Draws pairs from the token stream of a corpus prepared by bench.workload.arrays."""

    def __init__(self, folder: Path, special: Mapping[str, int], sequence_length: int) -> None:
        self._tokens = np.asarray(np.load(folder / "tokens.npy", mmap_mode="r"))
        self._offsets = np.load(folder / "offsets.npy")
        self._replacements = np.load(folder / "replacements.npy")
        self._special = special
        self._length = sequence_length
        self._predictions = max_predictions(sequence_length)
        self.distinct: int | None = None

    def sample(self, keys: Words, own: slice) -> tuple[dict[str, Array], dict[str, float]]:
        """See bench.workload.batches.Sampler. Only the pairs' places are drawn for the other ranks' samples."""
        pairs = self._pairs(keys)
        counts = self._masked_counts(pairs.real)
        weights = {"mlm": float(counts.sum()), "nsp": float(len(keys))}
        arrays = self._unmasked(pairs[own])
        arrays |= self._mask(keys[own], arrays["input_ids"], pairs[own], counts[own])
        arrays["next_sentence_labels"] = pairs[own].random_next.astype(np.int32)
        return arrays, weights

    def fixed(self, numbers: Ints) -> tuple[dict[str, Array], dict[str, float]]:
        """See bench.workload.batches.Sampler: pairs and masks drawn from FIXED_SEED, whatever the workload's seed."""
        return self.sample(sample_keys(FIXED_SEED, 0, numbers), slice(None))

    def _pairs(self, keys: Words) -> Pairs:
        """A pair fills the sequence in 90 % of the samples, else a random part of it (as BERT's short_seq_prob).

        A document is chosen with a probability proportional to its length, then a place in it; B is as likely to
        follow A as to come from another document.
        """
        total, room = len(self._tokens), self._length - PAIR_SPECIAL
        start, length = self._document(below(draw(keys, ANCHOR), total))
        short = below(draw(keys, SHORT), 100) < SHORT_PERCENT
        target = np.where(short, 2 + below(draw(keys, LENGTH), room - 1), room)
        both = np.minimum(target, length)
        first = start + below(draw(keys, START), length - both + 1)
        a = 1 + below(draw(keys, SPLIT), both - 1)
        random_next = below(draw(keys, NEXT), 100) < RANDOM_NEXT_PERCENT
        other_start, other_length = self._other_document(below(draw(keys, OTHER), total - length), start, length)
        other_b = np.minimum(target - a, other_length)
        other = other_start + below(draw(keys, OTHER_START), other_length - other_b + 1)
        return Pairs(
            first=first,
            a=a,
            second=np.where(random_next, other, first + a),
            b=np.where(random_next, other_b, both - a),
            random_next=random_next.astype(np.int64),
        )

    def _document(self, token: Ints) -> tuple[Ints, Ints]:
        """Start and length of the documents that hold these places."""
        document = np.searchsorted(self._offsets, token, side="right") - 1
        start = self._offsets[document]
        return start, self._offsets[document + 1] - start

    def _other_document(self, token: Ints, start: Ints, length: Ints) -> tuple[Ints, Ints]:
        """The same for places counted without the documents at `start`; a lone document is its own other."""
        if len(self._offsets) == 2:
            return start, length
        return self._document(np.where(token >= start, token + length, token))

    def _masked_counts(self, real: Ints) -> Ints:
        """15 % of the real tokens, rounded; at least one."""
        return np.clip((MASKED_PERCENT * real + 50) // 100, 1, self._predictions)

    def _unmasked(self, pairs: Pairs) -> dict[str, Array]:
        """input_ids, token_type_ids and attention_mask (sample, token): [CLS] A [SEP] B [SEP] [PAD]..."""
        place = np.arange(self._length)
        end_a, end_b = (pairs.a + 1)[:, None], (pairs.real - 1)[:, None]
        source = np.where(place < end_a, pairs.first[:, None] + place - 1, pairs.second[:, None] + place - end_a - 1)
        ids = self._tokens.take(source, mode="clip").astype(np.int32)
        ids[:, 0] = self._special["[CLS]"]
        ids[(place == end_a) | (place == end_b)] = self._special["[SEP]"]
        ids[place > end_b] = self._special["[PAD]"]
        return {
            "input_ids": ids,
            "token_type_ids": ((place > end_a) & (place <= end_b)).astype(np.int32),
            "attention_mask": (place <= end_b).astype(np.int32),
        }

    def _mask(self, keys: Words, ids: NDArray[np.int32], pairs: Pairs, counts: Ints) -> dict[str, Array]:
        """Masks `ids` in place (80 % [MASK], 10 % another token, 10 % as they were); positions ascend, 0 pads."""
        used = np.arange(self._predictions) < counts[:, None]
        positions = self._masked_positions(keys, pairs, used)
        original = np.take_along_axis(ids, positions, axis=1)
        action = below(draw_rows(keys, ACTION, self._predictions), 100)
        choice = below(draw_rows(keys, REPLACE, self._predictions), len(self._replacements))
        masked = np.where(action < TOKEN_MASKED, self._special["[MASK]"], original)
        replaced = (action >= TOKEN_MASKED) & (action < TOKEN_MASKED + TOKEN_REPLACED)
        masked = np.where(replaced, self._replacements[choice], masked)
        np.put_along_axis(ids, positions, np.where(used, masked, original), axis=1)
        return {
            "masked_positions": positions.astype(np.int32),
            "masked_ids": np.where(used, original, 0).astype(np.int32),
            "masked_weights": used.astype(np.float32),
        }

    def _masked_positions(self, keys: Words, pairs: Pairs, used: NDArray[np.bool_]) -> Ints:
        """Without replacement, among the tokens of A and B: the places with the smallest of one draw each.

        Draw and place share a word, the place below, so that sorting the words sorts the places.
        """
        place = np.arange(self._length)
        end_a, end_b = (pairs.a + 1)[:, None], (pairs.real - 1)[:, None]
        words = draw_rows(keys, CHOOSE, self._length) & ~_POSITION_BITS | place.astype(np.uint64)
        words[(place == 0) | (place == end_a) | (place >= end_b)] = _NO_POSITION
        words.partition(self._predictions - 1, axis=1)
        smallest = np.sort(words[:, : self._predictions], axis=1) & _POSITION_BITS
        positions = np.sort(np.where(used, smallest.astype(np.int64), self._length), axis=1)
        return np.where(used, positions, 0)
