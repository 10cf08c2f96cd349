"""Random numbers as a function of where they are used: no state, no order, any split of a batch draws the same.

The finaliser of SplitMix64 (Steele, Lea, Flood 2014), applied to seed, step, sample index, purpose and position in
turn. All arrays are uint64; sums and products wrap around.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

MASK_64 = (1 << 64) - 1
GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_30, _27, _31, _32 = (np.uint64(shift) for shift in (30, 27, 31, 32))


def mix(words: Words) -> Words:
    """A bijection on 64-bit words that spreads every bit. Works in place and returns its argument."""
    words ^= words >> _30
    words *= _FIRST
    words ^= words >> _27
    words *= _SECOND
    words ^= words >> _31
    return words


def sample_keys(seed: int, step: int, indices: NDArray[np.int64]) -> Words:
    """One key per sample of a step, from its index in the global batch."""
    key = np.array([seed & MASK_64], np.uint64)
    for part in (np.array([step & MASK_64], np.uint64), indices.astype(np.uint64)):
        key = mix(mix(key + GAMMA) + part * GAMMA)
    return key


def draw(keys: Words, purpose: int) -> Words:
    """One word per key."""
    return mix(keys + np.array([purpose], np.uint64) * GAMMA)


def draw_rows(keys: Words, purpose: int, count: int) -> Words:
    """`count` words per key: axes (key, position)."""
    positions = np.arange(1, count + 1, dtype=np.uint64) * GAMMA
    return mix(draw(keys, purpose)[:, None] + positions)


def below(words: Words, bound: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Maps words to 0 .. bound - 1 (bound at most 2**32) by multiplying their upper half; bias below bound / 2**32."""
    return ((words >> _32) * np.asarray(bound, np.uint64) >> _32).astype(np.int64)
