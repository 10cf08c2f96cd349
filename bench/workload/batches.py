"""The batches of one rank: its slice of a global batch that does not depend on the split; and those of validation."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.clock import SYSTEM_CLOCK, Clock
from bench.protocols import Array, Batch
from bench.records import Task, Workload
from bench.workload import packing
from bench.workload.corpus import read_meta
from bench.workload.counter import MASK_64, mix, sample_keys
from bench.workload.labelled import ClassificationSampler, NerSampler
from bench.workload.pretraining import PretrainingSampler

TRIED = 32  # steps whose rows are counted in advance: what is compiled for a shape shall serve nearly all batches


class Sampler(Protocol):
    """A task's samples. Arrays have the first axis (sample); weight sums are per head.

    distinct: how many samples `fixed` has, None: any number.
    """

    distinct: int | None

    def sample(self, keys: NDArray[np.uint64], own: slice) -> tuple[dict[str, Array], dict[str, float]]:
        """From the keys of the whole global batch: arrays of the samples `own`, weight sums over all `keys`."""
        ...

    def fixed(self, numbers: NDArray[np.int64]) -> tuple[dict[str, Array], dict[str, float]]:
        """The samples of these numbers, which are below `distinct`: each the same at every call and seed."""
        ...


SAMPLERS: dict[Task, Callable[[Path, Mapping[str, int], int], Sampler]] = {
    "pretraining": PretrainingSampler,
    "ner": NerSampler,
    "classification": ClassificationSampler,
}


def open_sampler(corpus_folder: Path, workload: Workload) -> Sampler:
    """Of a prepared corpus, memory-mapped. Raises ValueError for one that was prepared for another workload."""
    meta = read_meta(corpus_folder)
    if (meta.task, meta.sequence_length) != (workload.task, workload.sequence_length):
        raise ValueError(f"{corpus_folder} was prepared for {meta.task} with length {meta.sequence_length}")
    return SAMPLERS[workload.task](corpus_folder, meta.special, workload.sequence_length)


class Batches:
    """Sample i of step s is a function of (seed, s, i), where i = replica * batch_per_replica + position.

    A replica's microbatches are consecutive parts of its batch. Not an iterator: any step can be asked for at any
    time. Holds the corpus memory-mapped. `clock` sleeps for the workload's programmed delay.
    """

    def __init__(
        self,
        corpus_folder: Path,
        workload: Workload,
        first_replica: int,
        local_replicas: int,
        replicas: int,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not 0 <= first_replica < first_replica + local_replicas <= replicas:
            raise ValueError(f"no replicas {first_replica} + {local_replicas} of {replicas}")
        if workload.batch_per_replica % workload.accumulation:
            raise ValueError(f"{workload.batch_per_replica} samples in {workload.accumulation} equal microbatches")
        self._sampler = open_sampler(corpus_folder, workload)
        self._seed = workload.seed
        self._delay_ns, self._clock = round(workload.input_delay_ms * 1e6), clock
        self._axes = (local_replicas, workload.accumulation, workload.batch_per_replica // workload.accumulation)
        self._indices = np.arange(replicas * workload.batch_per_replica)
        first = first_replica * workload.batch_per_replica
        self._own = slice(first, first + local_replicas * workload.batch_per_replica)
        self._packed, self._least_rows = workload.packed, 0
        if workload.packed:
            self._least_rows = max(packing.most_rows(self._batch(step).arrays) for step in range(TRIED))

    def batch(self, step: int) -> Batch:
        """This rank's share of a step; new arrays at every call."""
        begun_ns = self._clock()
        made = self._batch(step)
        if self._delay_ns:
            self._clock.sleep_ns(max(0, begun_ns + self._delay_ns - self._clock()))
        return made

    def _batch(self, step: int) -> Batch:
        keys = sample_keys(self._seed, step, self._indices)
        arrays, global_weights = self._sampler.sample(keys, self._own)
        made = _batch(step, arrays, global_weights, self._axes)
        return packing.packed(made, self._least_rows) if self._packed else made

    def digest(self, batch: Batch) -> int:
        """Sum modulo 2**64 of one hash per sample over all its arrays and the step: add up ranks in any order.

        Where the samples are computed is no part of what they are: packed or not, it is the same data.
        """
        hashes = np.full(batch.samples, batch.step & MASK_64, np.uint64)
        data = {name: array for name, array in batch.arrays.items() if name != packing.PLACES}
        for name, array in sorted(_bits(data).items()):
            rows = array.reshape(batch.samples, -1)
            hashes = mix(hashes) + rows.astype(np.uint64) @ _multipliers(name, rows.shape[1])
        return int(mix(hashes).sum(dtype=np.uint64))


class ValidationBatches:
    """The first `samples` of a validation corpus, all of them where it has fewer; axes as for one local replica.

    The same for every backend, world size and seed. A batch holds as many samples as a microbatch of the training
    does, the last one what is left.
    """

    def __init__(self, corpus_folder: Path, workload: Workload, samples: int) -> None:
        self._sampler = open_sampler(corpus_folder, workload)
        self.samples = samples if self._sampler.distinct is None else min(samples, self._sampler.distinct)
        self._size = workload.batch_per_replica // workload.accumulation

    def __iter__(self) -> Iterator[Batch]:
        for number, first in enumerate(range(0, self.samples, self._size)):
            numbers = np.arange(first, min(first + self._size, self.samples))
            arrays, weights = self._sampler.fixed(numbers)
            yield _batch(number, arrays, weights, (1, 1, len(numbers)))


def _batch(
    step: int, arrays: Mapping[str, Array], global_weights: Mapping[str, float], axes: tuple[int, int, int]
) -> Batch:
    """From arrays (sample, ...); `axes` (local replica, microbatch, sample), of which a Batch has the first two
    swapped."""
    samples, length = arrays["input_ids"].shape
    return Batch(
        step=step,
        arrays={
            name: np.ascontiguousarray(array.reshape(*axes, *array.shape[1:]).swapaxes(0, 1))
            for name, array in arrays.items()
        },
        global_weights=global_weights,
        samples=samples,
        tokens_real=int(arrays["attention_mask"].sum()),
        tokens_padded=samples * length,
    )


def _bits(arrays: Mapping[str, Array]) -> dict[str, NDArray[np.uint32]]:
    return {name: np.ascontiguousarray(array).view(np.uint32) for name, array in arrays.items()}


@functools.lru_cache(maxsize=64)
def _multipliers(name: str, count: int) -> NDArray[np.uint64]:
    """Odd 64-bit numbers, one per place of the array `name`."""
    salt = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return sample_keys(salt, 0, np.arange(count)) | np.uint64(1)
