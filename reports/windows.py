"""windows.parquet, read when asked for: of one launch, one column at a time. All of them together need not fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute, parquet

from bench.errors import UserError
from bench.stats import Integers

COUNTED = (
    "repeat", "rank", "index", "steps", "samples", "tokens_real", "tokens_padded",
    "start_ns", "duration_ns", "input_wait_ns", "cpu_ns",
)  # fmt: skip
OPTIONAL = ("rss_bytes", "received_bytes", "sent_bytes")
FLAGS = ("warmup", "exchange")
COLUMNS = ("trial_id", *COUNTED, *FLAGS, *OPTIONAL)
# Pieces (one column of one row group, some 8 MB at most) held in memory: all of a usual run.
_HELD = 32

Flags = NDArray[np.bool_]


class NotWhole(Exception):
    """The launch's windows are not those of all its ranks; the message is a clause that says how."""


class Windows:
    """The table of one run: a row per (trial, repeat, rank, window), rank by rank, each rank's in order.

    Integers are int64 from the file to the last sum: no nanosecond passes through a float.
    """

    def __init__(self, path: Path, file: Any) -> None:
        """`file` holds the Parquet content and stays open. Raises UserError for another content or other columns."""
        self._path = path
        try:
            self._file = parquet.ParquetFile(file, read_dictionary=["trial_id"])
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path} is not a Parquet file: {error}") from None
        sizes = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._begins = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self._held: dict[tuple[int, str], pa.Array] = {}
        self._launches: dict[tuple[str, int], LaunchWindows] = {}
        self._check()
        self._stretches = self._find_launches()

    def __len__(self) -> int:
        return int(self._begins[-1])

    def launch(self, trial_id: str, repeat: int) -> LaunchWindows:
        """All its windows, warm-up and local ones too. Raises NotWhole."""
        if (trial_id, repeat) not in self._launches:
            self._launches[trial_id, repeat] = self._launch(trial_id, repeat)
        return self._launches[trial_id, repeat]

    def _launch(self, trial_id: str, repeat: int) -> LaunchWindows:
        stretches = self._stretches.get((trial_id, repeat), [])
        if not stretches:
            raise NotWhole("has no window")
        first, last = stretches[0]
        index, exchange, rank = (self.read(first, last, name) for name in ("index", "exchange", "rank"))
        ranks = int(rank[-1]) + 1
        own = len(rank) // ranks if ranks > 0 else 0
        ragged = len(stretches) > 1 or own * ranks != len(rank) or (rank != np.repeat(np.arange(ranks), own)).any()
        if ragged or _differ(index, ranks) or _differ(exchange, ranks) or _twice(index[:own], exchange[:own]):
            raise NotWhole("is not whole: some rank lacks a window, or has one twice")
        steps, warmup = self.read(first, last, "steps"), self.read(first, last, "warmup")
        if _differ(steps, ranks) or _differ(warmup, ranks):
            raise NotWhole("is not one: the ranks disagree on the steps of a window, or on which count")
        return LaunchWindows(
            ranks, index[:own], warmup[:own], exchange[:own], steps[:own], np.arange(own), self, (first, last)
        )

    def read(self, first: int, last: int, name: str) -> NDArray[Any]:
        """Rows `first` to `last` (not included) of a column. Raises UserError where a value is missing."""
        found = self.optional(first, last, name)
        if found is None:
            raise UserError(f"{self._path}, column {name}: a value is missing")
        return found

    def optional(self, first: int, last: int, name: str) -> NDArray[Any] | None:
        """The same; None where any value is unknown."""
        parts = list(self._parts(first, last, name))
        if any(part.null_count for part in parts):
            return None
        arrays = [_numbers(part) for part in parts]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

    def _parts(self, first: int, last: int, name: str) -> Iterator[pa.Array]:
        for group in range(len(self._begins) - 1):
            begin, end = int(self._begins[group]), int(self._begins[group + 1])
            if begin < last and first < end:
                low, high = max(first, begin) - begin, min(last, end) - begin
                yield self._piece(group, name).slice(low, high - low)

    def _piece(self, group: int, name: str) -> pa.Array:
        if (group, name) not in self._held:
            while len(self._held) >= _HELD:
                del self._held[next(iter(self._held))]
            whole = self._file.read_row_group(group, columns=[name]).column(name).combine_chunks()
            self._held[group, name] = whole.cast(pa.int64()) if name in COUNTED + OPTIONAL else whole
        return self._held[group, name]

    def _check(self) -> None:
        schema = self._file.schema_arrow
        missing = [name for name in COLUMNS if name not in schema.names]
        if missing:
            raise UserError(f"{self._path} lacks the columns {', '.join(missing)}")
        for names, kind, holds in (
            (COUNTED + OPTIONAL, "whole numbers", pa.types.is_integer),
            (FLAGS, "true or false", pa.types.is_boolean),
        ):
            for name in names:
                found = schema.field(name).type
                # A column of nothing but unknowns has no type in Parquet.
                if not (holds(found) or (name in OPTIONAL and pa.types.is_null(found))):
                    raise UserError(f"{self._path}, column {name}: {found} values, expected {kind}")
        for name in ("trial_id", *COUNTED, *FLAGS):
            if self._misses(name):
                allowed = ", ".join(OPTIONAL)
                raise UserError(f"{self._path}, column {name}: a value is missing; only {allowed} may be unknown")

    def _misses(self, name: str) -> bool:
        """Whether any value is unknown: as the file says of each piece, or where it does not, by a look."""
        place = self._file.schema_arrow.names.index(name)
        for group in range(self._file.num_row_groups):
            known = self._file.metadata.row_group(group).column(place).statistics
            said = known.null_count if known is not None and known.has_null_count else None
            if self._piece(group, name).null_count if said is None else said:
                return True
        return False

    def _find_launches(self) -> dict[tuple[str, int], list[tuple[int, int]]]:
        """(trial id, repeat) to its stretches of rows: one, where the file is in order."""
        found: dict[tuple[str, int], list[tuple[int, int]]] = {}
        for group in range(self._file.num_row_groups):
            begin = int(self._begins[group])
            named = compute.dictionary_encode(self._piece(group, "trial_id"))
            code, repeat = _numbers(named.indices), _numbers(self._piece(group, "repeat"))
            changes = np.flatnonzero((np.diff(code) != 0) | (np.diff(repeat) != 0)) + 1
            edges = [0, *changes.tolist(), len(code)] if len(code) else []
            for low, high in pairwise(edges):
                key = (named.dictionary[int(code[low])].as_py(), int(repeat[low]))
                stretches = found.setdefault(key, [])
                if stretches and stretches[-1][1] == begin + low:  # goes on from the row group before
                    stretches[-1] = (stretches[-1][0], begin + high)
                else:
                    stretches.append((begin + low, begin + high))
        return found


@dataclass(frozen=True, slots=True)
class LaunchWindows:
    """Some windows of one launch, in the order in which they were measured: the same ones on every rank.

    index, warmup, exchange, steps   axis (window)
    """

    ranks: int
    index: Integers
    warmup: Flags
    exchange: Flags
    steps: Integers
    _places: Integers
    _of: Windows
    _rows: tuple[int, int]

    def __len__(self) -> int:
        return len(self.index)

    def where(self, chosen: Flags) -> LaunchWindows:
        """Only those windows. `chosen`: axis (window)."""
        return replace(
            self,
            index=self.index[chosen],
            warmup=self.warmup[chosen],
            exchange=self.exchange[chosen],
            steps=self.steps[chosen],
            _places=self._places[chosen],
        )

    def column(self, name: str) -> Integers:
        """Axes (rank, window)."""
        return self._chosen(self._of.read(*self._rows, name))

    def optional(self, name: str) -> Integers | None:
        """The same; None where it is unknown of any window of the launch, on any rank."""
        found = self._of.optional(*self._rows, name)
        return None if found is None else self._chosen(found)

    def _chosen(self, flat: NDArray[Any]) -> Integers:
        of_ranks: Integers = flat.reshape(self.ranks, -1)
        return of_ranks[:, _even(self._places)]


def _numbers(known: pa.Array) -> NDArray[Any]:
    """Whole numbers or flags, none unknown. The own to_numpy imports pandas, which takes longer than reading."""
    if pa.types.is_boolean(known.type):
        return np.from_dlpack(known.cast(pa.uint8())).astype(np.bool_)
    return np.from_dlpack(known)


def _even(places: Integers) -> slice | Integers:
    """As a slice where they are evenly apart, as they mostly are: that takes no copy of a column.

    >>> _even(np.array([3, 5, 7])), _even(np.array([3, 5, 6]))
    (slice(3, 8, 2), array([3, 5, 6]))
    """
    apart = np.unique(np.diff(places))
    if len(apart) > 1 or not len(places):
        return places
    return slice(int(places[0]), int(places[-1]) + 1, int(apart[0]) if len(apart) else 1)


def _differ(flat: NDArray[Any], ranks: int) -> bool:
    """Whether the ranks do not all have the same."""
    of_ranks = flat.reshape(ranks, -1)
    return bool((of_ranks != of_ranks[0]).any())


def _twice(index: Sequence[Any] | NDArray[Any], exchange: NDArray[Any]) -> bool:
    pairs = set(zip(np.asarray(index).tolist(), exchange.tolist(), strict=True))
    return len(pairs) < len(exchange)
