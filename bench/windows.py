"""The windows of a launch: read back, told warm-up from measured, and all of a run as one Parquet table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench import journal, stats
from bench.errors import TrialError
from bench.records import Repeat, Timing, TrialResult, Window

FIRST_STEP = 1  # the window of one step that comes first


def settled(timing: Timing, ranks: Sequence[Sequence[Window]]) -> stats.Settled:
    """How many windows at the start do not count, the first step's included: `timing.warmup_windows` at least, and
    at most half of the measured ones more. Axes of `ranks`: (rank, window)."""
    full = [window for of_rank in ranks for window in of_rank if window.index >= FIRST_STEP and window.exchange]
    job = stats.pace(*([getattr(window, name) for window in full] for name in ("index", "samples", "duration_ns")))
    floor = timing.warmup_windows
    found = stats.settled(job.duration_ns.tolist(), floor, floor + timing.windows // 2)
    return stats.Settled(FIRST_STEP + found.windows, found.in_time)


def rate(run_folder: Path, repeat: Repeat) -> float | None:
    """Samples per second of one whole launch, over its measured windows; None where it has none."""
    counted = [
        window
        for of_rank in read(run_folder, repeat)
        for window in of_rank
        if window.exchange and window.index >= (repeat.warmup_windows or 0)
    ]
    job = stats.pace(*([getattr(window, name) for window in counted] for name in ("index", "samples", "duration_ns")))
    return stats.throughput(job.samples, job.duration_ns)


def read(run_folder: Path, repeat: Repeat) -> list[list[Window]]:
    """Per rank. Raises TrialError when a rank's file is gone, damaged or short: its windows would lack the slowest."""
    folder = run_folder / repeat.trial_id / str(repeat.repeat)
    for rank, expected in enumerate(repeat.journals):
        if journal.digest(folder, rank) not in (expected, None):
            raise TrialError(f"{folder / f'rank-{rank}.jsonl'} is not the file that the launch left")
    ranks = [
        [line for line in journal.read(folder, rank) if isinstance(line, Window)] for rank in range(len(repeat.facts))
    ]
    for rank, windows in enumerate(ranks):
        if [window.index for window in windows] != [window.index for window in ranks[0]] or not windows:
            raise TrialError(f"{folder / f'rank-{rank}.jsonl'} lacks windows that were measured")
    return ranks


def table(run_folder: Path, trials: Sequence[TrialResult]) -> bytes:
    """All windows of all whole repeats, one row per rank and window, as Parquet."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"trial_id": pa.string(), "warmup": pa.bool_(), "exchange": pa.bool_()}
    names = ("trial_id", "repeat", "rank", *Window.__struct_fields__)
    schema = pa.schema([(name, kinds.get(name, pa.int64())) for name in names])
    whole = [repeat for result in trials for repeat in result.repeats if repeat.error is None and repeat.facts]
    sink = pa.BufferOutputStream()
    launches = (_rows(run_folder, repeat, schema) for repeat in whole)
    rows = pa.concat_tables([pa.Table.from_batches([], schema), *launches])
    parquet.write_table(rows, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _rows(run_folder: Path, repeat: Repeat, schema: Any) -> Any:
    """Of one launch. By way of JSON, because Arrow would import pandas to look at Python's own lists."""
    from pyarrow import BufferReader, json

    launch, warmup = {"trial_id": repeat.trial_id, "repeat": repeat.repeat}, repeat.warmup_windows or 0
    rows = [
        launch | {"rank": rank} | msgspec.structs.asdict(window) | {"warmup": window.index < warmup}
        for rank, of_rank in enumerate(read(run_folder, repeat))
        for window in of_rank
    ]
    lines = BufferReader(msgspec.json.Encoder().encode_lines(rows))
    return json.read_json(lines, parse_options=json.ParseOptions(explicit_schema=schema))
