"""The batches of one rank: its slice of a global batch that does not depend on the split."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.protocols import Array, Batch
from bench.records import Workload
from bench.workload.corpus import read_meta
from bench.workload.counter import MASK_64, mix, sample_keys
from bench.workload.ner import NerSampler
from bench.workload.pretraining import PretrainingSampler


class Sampler(Protocol):
    """A task's samples, from the keys of the whole global batch."""

    def sample(self, keys: NDArray[np.uint64], own: slice) -> tuple[dict[str, Array], dict[str, float]]:
        """Arrays of the samples `own` (first axis: sample), and the weight sums over all `keys`, per head."""
        ...


class Batches:
    """Sample i of step s is a function of (seed, s, i), where i = replica * batch_per_replica + position.

    Not an iterator: any step can be asked for at any time. Holds the corpus memory-mapped.
    """

    def __init__(
        self, corpus_folder: Path, workload: Workload, first_replica: int, local_replicas: int, replicas: int
    ) -> None:
        meta = read_meta(corpus_folder)
        if (meta.task, meta.sequence_length) != (workload.task, workload.sequence_length):
            raise ValueError(f"{corpus_folder} was prepared for {meta.task} with length {meta.sequence_length}")
        if not 0 <= first_replica < first_replica + local_replicas <= replicas:
            raise ValueError(f"no replicas {first_replica} + {local_replicas} of {replicas}")
        self._seed = workload.seed
        self._length = workload.sequence_length
        self._axes = (1, local_replicas, workload.batch_per_replica)
        self._indices = np.arange(replicas * workload.batch_per_replica)
        first = first_replica * workload.batch_per_replica
        self._own = slice(first, first + local_replicas * workload.batch_per_replica)
        self._sampler: Sampler = (
            PretrainingSampler(corpus_folder, meta.special, self._length)
            if workload.task == "pretraining"
            else NerSampler(corpus_folder, meta.special, self._length)
        )

    def batch(self, step: int) -> Batch:
        """This rank's share of a step; new arrays at every call."""
        keys = sample_keys(self._seed, step, self._indices)
        arrays, global_weights = self._sampler.sample(keys, self._own)
        samples = self._own.stop - self._own.start
        return Batch(
            step=step,
            arrays={name: array.reshape(*self._axes, *array.shape[1:]) for name, array in arrays.items()},
            global_weights=global_weights,
            samples=samples,
            tokens_real=int(arrays["attention_mask"].sum()),
            tokens_padded=samples * self._length,
        )

    def digest(self, batch: Batch) -> int:
        """Sum modulo 2**64 of one hash per sample over all its arrays and the step: add up ranks in any order."""
        hashes = np.full(batch.samples, batch.step & MASK_64, np.uint64)
        for name, array in sorted(_bits(batch.arrays).items()):
            rows = array.reshape(batch.samples, -1)
            hashes = mix(hashes) + rows.astype(np.uint64) @ _multipliers(name, rows.shape[1])
        return int(mix(hashes).sum(dtype=np.uint64))


def _bits(arrays: Mapping[str, Array]) -> dict[str, NDArray[np.uint32]]:
    return {name: np.ascontiguousarray(array).view(np.uint32) for name, array in arrays.items()}


@functools.lru_cache(maxsize=64)
def _multipliers(name: str, count: int) -> NDArray[np.uint64]:
    """Odd 64-bit numbers, one per place of the array `name`."""
    salt = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return sample_keys(salt, 0, np.arange(count)) | np.uint64(1)
