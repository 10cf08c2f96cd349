"""Ruler 2: over links of known speed, what communication must cost is arithmetic, and what is published must be that.

A part is one launch on emulated hosts, measured by the harness as any study is, and read from what its ranks wrote. The
wire time of an exchange is 2 (N - 1) / N x bytes / rate (bench.collectives.wire_ns).

- standalone: BERT-mini's gradients, exchanged alone, take the wire time.
- exposed: where the exchange is far longer than the backward pass, nothing can hide the difference between two rates:
  full minus local steps differ by the difference in wire time. BERT-tiny, launches of both rates interleaved.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import stats
from tests.proof.record import ROOT, Experiment, Part

BACKENDS = ("torch_ddp", "torch_horovod")
STANDALONE = tuple((hosts, rate) for rate in ("1gbit", "200mbit") for hosts in (2, 4))
RATES = ("200mbit", "100mbit")
LAUNCHES = 5
STANDALONE_WITHIN = 0.10
DIFFERENCE_WITHIN = 0.15
STUDY = """
name: links
launcher: horovodrun
bare: false
repeats: 1
workload: {{model: {model}, sequence_length: 32, batch_per_replica: 2}}
optimizer: {{name: sgd}}
timing: {{warmup_windows: 1, windows: {windows}, steps_per_window: 1, local_windows: true}}
threads_per_replica: 1
backend: {backend}
replicas: {hosts}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What is launched. The hosts get no more ranks than one each."""

    backend: str
    hosts: int
    rate: str
    model: str
    windows: int

    def __str__(self) -> str:
        return f"{self.backend}, {self.hosts} hosts at {self.rate}"


def experiment(seed: int = 1, launches: int = LAUNCHES) -> Experiment:
    parts: dict[str, Part] = {}
    for number in range(launches):
        for backend in BACKENDS:
            for rate in RATES:
                launch = Launch(backend=backend, hosts=2, rate=rate, model="tiny", windows=5)
                parts[f"exposed, {launch}, {number}"] = _part(launch)
    for backend in BACKENDS:
        for hosts, rate in STANDALONE:
            launch = Launch(backend=backend, hosts=hosts, rate=rate, model="mini", windows=2)
            parts[f"standalone, {launch}"] = _part(launch)
    return Experiment(
        name="links",
        about="what the exchange takes over links of known speed: alone, and in steps with and without it",
        proves=(
            "backends/_torch_collective.py",
            "backends/_torch_ddp_collective.py",
            "backends/torch_ddp.py",
            "backends/torch_horovod.py",
            "bench/collectives.py",
            "bench/hosts/emulated.py",
            "bench/hosts/network.py",
            "bench/stats/ladder.py",
            "bench/timed_collectives.py",
            "bench/worker.py",
            "tests/proof/links.py",
        ),
        settings={"seed": seed, "launches": launches},
        parts=parts,
    )


def _part(launch: Launch) -> Part:
    def part(rng: np.random.Generator) -> Any:
        return measured(launch, ROOT / "runs" / "proof")

    return part


def measured(launch: Launch, runs: Path) -> dict[str, Any]:
    """Runs it. Milliseconds of one operation or step on the slowest rank: of each reading, of each counted window."""
    from bench import assemble, hosts, journal, run, study
    from bench.collectives import wire_ns
    from bench.hosts.spec import parse_rate
    from bench.records import Window

    runs.mkdir(parents=True, exist_ok=True)
    path = runs / "links.yaml"
    path.write_text(
        STUDY.format(model=launch.model, windows=launch.windows, backend=launch.backend, hosts=launch.hosts)
    )
    with hosts.emulated(f"{launch.hosts}@{launch.rate}") as made:
        loaded = study.load(path, hosts=made.cluster.hosts)
        folder = run.begin(loaded, runs, False, made.cluster, run.Observer()).resolve()
        result = run.proceed(folder, run.Observer(), cluster=made.cluster)
    (trial,) = result.trials
    repeat = assemble.read_repeat(folder, trial.trial_id, 0)
    if repeat is None or repeat.error is not None:
        raise RuntimeError(f"{folder}: {trial.reason}")
    alone = repeat.standalone
    size = 4 * sum(alone[0].elements)
    lines = [journal.read(folder / trial.trial_id / "0", rank) for rank in range(launch.hosts)]
    windows = [[line for line in of_rank if isinstance(line, Window) and not line.warmup] for of_rank in lines]
    return {
        "created_utc": result.created_utc,
        "load_average": round(os.getloadavg()[0], 2),
        "hosts": repeat.hosts,
        "algorithm": alone[0].algorithm,
        "exact": all(rank.exact for rank in alone),
        "bytes": size,
        "wire_ms": round(wire_ns("all_reduce", launch.hosts, size, parse_rate(launch.rate)) / 1e6, 3),
        "standalone_ms": _slowest([[ns / rank.operations for ns in rank.duration_ns] for rank in alone]),
        "full_ms": _slowest([[each.duration_ns / each.steps for each in rank if each.exchange] for rank in windows]),
        "local_ms": _slowest(
            [[each.duration_ns / each.steps for each in rank if not each.exchange] for rank in windows]
        ),
    }


def _slowest(of_ranks: Sequence[Sequence[float]]) -> list[float]:
    return [round(max(at_once) / 1e6, 3) for at_once in zip(*of_ranks, strict=True)]


def standalone_ratio(part: Mapping[str, Any]) -> float:
    """Median time of the exchange alone / its wire time."""
    return statistics.median(part["standalone_ms"]) / float(part["wire_ms"])


def exposed_ms(part: Mapping[str, Any]) -> float:
    """Of one launch: as the ladder has it: what a report shows is what is proven."""
    local, full = ([statistics.mean(part[name])] for name in ("local_ms", "full_ms"))
    rungs = stats.Rungs(bare=None, solo=None, local=local, ready=local, full=full, wrapped=False)
    return stats.ladder(rungs).exposed.ms.point


def median_exposed_ms(part: Mapping[str, Any]) -> float:
    """The same by medians over windows, for few windows on a machine that others use as well."""
    return statistics.median(full - local for full, local in zip(part["full_ms"], part["local_ms"], strict=True))


def hidden_at_most(part: Mapping[str, Any]) -> float:
    """The whole local step, of which the backward pass is a part / the exchange alone."""
    return statistics.median(part["local_ms"]) / statistics.median(part["standalone_ms"])


def difference_ratio(slow: Sequence[Mapping[str, Any]], fast: Sequence[Mapping[str, Any]]) -> float:
    """Difference of the median exposed communication at two rates / difference of the wire times."""
    exposed = [statistics.median(map(exposed_ms, parts)) for parts in (slow, fast)]
    return float((exposed[0] - exposed[1]) / (slow[0]["wire_ms"] - fast[0]["wire_ms"]))


def exposed_parts(parts: Mapping[str, Any], backend: str, rate: str) -> list[Mapping[str, Any]]:
    """The launches of a record, in order."""
    return [part for name, part in parts.items() if name.startswith(f"exposed, {backend}, 2 hosts at {rate}, ")]
