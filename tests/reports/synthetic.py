"""Large results made by hand: numbers that obey no machine, in the very files that a run leaves. Nothing is measured."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from bench import journal
from bench.records import Plan, RankInfo, Result, Timing, Trial, TrialResult, Window
from bench.storage import seal
from tests.reports.build import ENVIRONMENT, Launch, alone, equal, facts, trial_result

STEPS, SAMPLES, RANKS_PER_HOST = 5, 40, 8
MS = 1_000_000


@dataclass(frozen=True)
class Shape:
    """Of one launch. `slow`: the rank that takes half as long again; `local`: with local windows."""

    ranks: int
    windows: int
    warmup: int = 3
    slow: int | None = None
    local: bool = False

    @property
    def hosts(self) -> list[str]:
        return [f"node-{rank // RANKS_PER_HOST}" for rank in range(self.ranks)]


def columns(shape: Shape, step_ms: float, seed: int) -> dict[str, np.ndarray]:
    """Columns of bench.records.Window, axes (rank, window); a local window follows each full one."""
    random = np.random.default_rng(seed)
    index = np.repeat(np.arange(shape.windows + shape.warmup), 2 if shape.local else 1)
    exchange = np.ones(len(index), bool)
    exchange[1::2] &= not shape.local
    size = (shape.ranks, len(index))
    took = step_ms * STEPS * MS * random.gamma(400, 1 / 400, size)
    took *= np.where(random.random(len(index)) < 0.01, 2.0, 1.0)  # now and then the whole job is late
    took[:, index < shape.warmup] *= 1.5
    took[:, index == 0] *= 20
    if shape.slow is not None:
        took[shape.slow] *= np.where(exchange & shape.local, 1.0, 1.5)
    duration = took.astype(np.int64)
    full = np.broadcast_to(exchange, size)
    return {
        "index": np.broadcast_to(index, size),
        "warmup": np.broadcast_to(index < shape.warmup, size),
        "exchange": full,
        "steps": np.full(size, STEPS),
        "samples": np.full(size, SAMPLES),
        "tokens_real": random.integers(2000, 5120, size),
        "tokens_padded": np.full(size, 5120),
        "start_ns": np.cumsum(duration, axis=1) - duration,
        "duration_ns": duration,
        "input_wait_ns": duration // 100,
        "cpu_ns": (duration * random.uniform(0.8, 1.0, size)).astype(np.int64),
        "rss_bytes": (5e8 + 1e6 * random.random(size) + 1e4 * np.arange(size[1])).astype(np.int64),
        "received_bytes": np.where(full, random.integers(49_000_000, 51_000_000, size), 0),
        "sent_bytes": np.where(full, random.integers(49_000_000, 51_000_000, size), 0),
    }


def large(folder: Path, shape: Shape) -> Path:
    """One launch of `shape` and a small bare one, as result.json and windows.parquet, whose journals are gone."""
    timing = Timing(windows=shape.windows, local_windows=shape.local)
    shapes = {"torch_bare": Shape(1, 20), "torch_ddp": shape}
    results, tables = [], []
    for backend, own in shapes.items():
        launch = _launch(own, [facts(devices=[f"device {rank}"]) for rank in range(own.ranks)])
        result, _ = trial_result(backend, own.ranks, [launch], trial={"timing": timing} if own is shape else None)
        results.append(result)
        tables.append(_table(result.trial_id, columns(own, 20.0, seed=own.ranks)))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "windows.parquet"
    with parquet.ParquetWriter(path, tables[0].schema, compression="zstd") as out:
        for table in tables:
            out.write_table(table)
    said = {**_said(results), "windows_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    (folder / "result.json").write_bytes(seal(Result(**said, trials=results)))
    return folder


def study(folder: Path, trials: int = 24, repeats: int = 5, windows: int = 50) -> Path:
    """A finished run of so many trials, with all its journals: what `paceline report` begins with."""
    asked = _trials(windows)[:trials]
    order = [(trial.id, repeat) for repeat in range(repeats) for trial in asked]
    results = [_launched(folder, trial, repeats, place) for place, trial in enumerate(asked)]
    said = _said(results)
    del said["gates"]
    plan = Plan(
        **{**said, "order": order}, trials=asked, rejected=[], seed=1, repeats=repeats, most_repeats=repeats,
        target_half_width=0.0, budget_s=0.0, timeout_s=60.0, patience=10.0, rendezvous_port=0, notes=[], hosts=[],
        network_interface=None, mpi=False, ssh_port=None, ssh_identity_file=None,
    )  # fmt: skip
    (folder / "plan.json").write_bytes(seal(plan))
    return folder


def _trials(windows: int) -> list[Trial]:
    """Bare runs first, then every stack on 1, 2 and 4 replicas, in two precisions."""
    found = []
    for compute in ("float32", "bfloat16"):
        for backend in ("torch_bare", "tf_bare"):
            found.append({"backend": backend, "replicas": 1, "compute": compute})
        for backend in ("torch_ddp", "torch_horovod", "tf_horovod"):
            found += [{"backend": backend, "replicas": replicas, "compute": compute} for replicas in (1, 2, 4)]
    found += [{"backend": "torch_ddp", "replicas": replicas, "allreduce": "tree"} for replicas in (2, 4)]
    ladder = {True: {"windows": windows, "local_windows": True}, False: {"windows": windows}}
    return [msgspec.convert({**one, "timing": ladder[one["replicas"] > 1]}, Trial) for one in found]


def _launched(folder: Path, trial: Trial, repeats: int, place: int) -> TrialResult:
    shape = Shape(trial.replicas, trial.timing.windows, local=trial.timing.local_windows)
    said = [alone() if trial.replicas == 1 else facts() for _ in range(shape.ranks)]
    result, _ = trial_result(trial.backend, trial.replicas, [_launch(shape, said)] * repeats, trial=_plain(trial))
    for repeat in result.repeats:
        own = folder / trial.id / str(repeat.repeat)
        own.mkdir(parents=True)
        _write_journals(own, shape, columns(shape, 20.0 + place + repeat.repeat / 10, seed=place * 100 + repeat.repeat))
        digests = [journal.digest(own, rank) or "" for rank in range(shape.ranks)]
        whole = msgspec.structs.replace(repeat, journals=digests)
        (own / "repeat.json").write_bytes(seal(whole))
    return result


def _write_journals(folder: Path, shape: Shape, found: dict[str, np.ndarray]) -> None:
    for rank in range(shape.ranks):
        lines: list[Any] = [RankInfo(rank=rank, host="box", pid=1, launcher="local")]
        values = {name: of_ranks[rank].tolist() for name, of_ranks in found.items()}
        lines += [Window(**dict(zip(values, row, strict=True))) for row in zip(*values.values(), strict=True)]
        content = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        (folder / f"rank-{rank}.jsonl").write_bytes(content)


def _launch(shape: Shape, said: list[Any]) -> Launch:
    empty: list[Any] = [[] for _ in range(shape.ranks)]
    return Launch(empty, facts=said, hosts=shape.hosts, warmup_windows=shape.warmup)


def _plain(trial: Trial) -> dict[str, Any]:
    return dict(msgspec.to_builtins(trial))


def _said(results: Sequence[TrialResult]) -> dict[str, Any]:
    """What Plan and Result have in common, and the gates of the latter."""
    return {
        "study": "made-by-hand",
        "study_yaml": "name: made-by-hand\n",
        "quick": False,
        "created_utc": "2026-01-02T03:04:05Z",
        "environment": ENVIRONMENT,
        "order": [(result.trial_id, repeat.repeat) for result in results for repeat in result.repeats],
        "sentinel": None,
        "gates": [equal(result.trial_id) for result in results[1:]],
    }


def _table(trial_id: str, found: dict[str, np.ndarray]) -> pa.Table:
    """Rank by rank, as bench.windows writes it."""
    ranks, windows = found["index"].shape
    names = [name for name in Window.__struct_fields__ if name in found]
    rows = ranks * windows
    first = {
        "trial_id": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), [trial_id]).cast(pa.string()),
        "repeat": np.zeros(rows, np.int64),
        "rank": np.repeat(np.arange(ranks), windows),
    }
    return pa.table({**first, **{name: found[name].ravel() for name in names}})
