"""The ruler: programmed times go through the whole pipeline, and every published number must come back.

The backend `null` is told how long a step, its wrapper, its exchange and a straggler take. `simulate` gives each rank
a clock that only programmed time moves, so that the published numbers are the programmed ones; `launch` starts real
processes and the real clock, and they may differ by what this machine's clock and scheduler add.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from bench import assemble, collect, journal, run, storage, study, worker
from bench.clock import VirtualClock
from bench.launch.commands import Cluster
from bench.launch.execute import Ended
from bench.launch.world import FileRendezvous
from bench.launching import assign
from bench.points import Header
from bench.protocols import Backend, World
from bench.records import Assignment, Phase, Repeat, Trial
from bench.storage import seal

EXACT = 1e-9  # relative: of sums and quotients of whole nanoseconds
REAL = 0.02
# Milliseconds per step: a machine that oversleeps more moves the smallest parts by the better half of what is allowed.
BUSY_MS = 0.06
BATCH = 4
# Limits of launches that no process makes.
HERE = Header(name="selfcheck")
# Of every name: a programmed number, and what a report publishes.
Numbers = dict[str, float]
Publish = Callable[[Path], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is programmed, in milliseconds per step; `step_ms` per rank, the last one the slowest."""

    step_ms: tuple[float, ...]
    wrapper_ms: float
    contention_ms: float
    input_ms: float
    exchange_ms: float
    overlap_ms: float

    @property
    def numbers(self) -> Numbers:
        """What must come back, by hand: bare and solo are rank 0's step, a job waits for its slowest."""
        bare, slowest = self.step_ms[0], max(self.step_ms)
        contention = slowest - bare + self.contention_ms
        exposed = self.exchange_ms - self.overlap_ms
        full = bare + self.wrapper_ms + contention + self.input_ms + exposed
        return {
            "samples_per_second": BATCH * len(self.step_ms) / full * 1e3,
            "bare_ms": bare,
            "full_ms": full,
            "lost_ms": full - bare,
            "wrapper_ms": self.wrapper_ms,
            "contention_ms": contention,
            "input_wait_ms": self.input_ms,
            "exposed_communication_ms": exposed,
            "standalone_ms": self.exchange_ms,
            "hidden_share": self.overlap_ms / self.exchange_ms,
            "skew_ms": slowest - bare,
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """One number of one scenario. `error` relative to what was programmed."""

    name: str
    programmed: float
    published: float | None

    @property
    def error(self) -> float:
        if self.published is None:
            return float("inf")
        return abs(self.published - self.programmed) / abs(self.programmed)


def scenario(seed: int, ranks: int | None = None) -> Scenario:
    """A scenario drawn from `seed`; of 2 to 4 ranks if not given. No part is so small that 2 % of it is less
    than what the harness' own steps of Python differ by from one launch to the next, 0.1 ms."""
    draw = random.Random(seed)

    def between(low: float, high: float) -> float:
        return round(draw.uniform(low, high), 3)  # whole nanoseconds, so that an injected clock loses nothing

    count = ranks or draw.randint(2, 4)
    first, exchange = between(25, 50), between(30, 40)
    return Scenario(
        step_ms=(first, *[first] * (count - 2), round(first + between(10, 20), 3)),
        wrapper_ms=between(10, 15),
        contention_ms=between(5, 15),
        input_ms=between(10, 15),
        exchange_ms=exchange,
        overlap_ms=between(0.4 * exchange, 0.6 * exchange),
    )


@dataclass(frozen=True, slots=True)
class Attempt:
    """With real processes. `overslept_ms`: by so much the machine made the steps of a rank longer than programmed, at
    most over ranks and launches; the ranks' own clocks say so, not the pipeline."""

    findings: list[Finding]
    overslept_ms: float

    @property
    def busy(self) -> bool:
        """Whether the machine, not the pipeline, may be why a number did not come back."""
        return self.overslept_ms > BUSY_MS


def simulate(given: Scenario, runs: Path, publish: Publish) -> list[Finding]:
    """With injected clocks: windows, collecting and reporting are the real ones, ranks are threads."""
    folder = _begin(given, runs)
    for trial in assemble.read_plan(folder).trials:
        run_ranks(trial, runs, folder / trial.id / "0")
    assemble.assemble(folder)
    return _compare(given, publish(folder))


def launch(given: Scenario, runs: Path, publish: Publish) -> Attempt:
    """With real processes and the real clock."""
    folder = _begin(given, runs)
    result = run.proceed(folder, run.Observer())
    facts = [each for trial in result.trials for each in (trial.repeats[0].facts if trial.repeats else ())]
    overslept_ms = max((float(str(each.settings["overslept_ms"])) for each in facts), default=0.0)
    return Attempt(_compare(given, publish(folder)), overslept_ms)


def worst(findings: list[Finding]) -> Finding:
    """The number that is furthest from what was programmed."""
    return max(findings, key=lambda finding: finding.error)


def run_ranks(trial: Trial, runs: Path, folder: Path) -> Repeat:
    """One launch of a `null` trial: each rank a thread of this process, with a clock of its own. Leaves in `folder`
    what a launch leaves there, and returns its Repeat. Prepared data lies below `runs`."""
    prepared = run.prepare(trial, runs, run.Observer())
    assignment = assign(trial, prepared, Cluster(), HERE)
    run_assignment(assignment, folder)
    repeat = collect.collect(folder, assignment, [], "", Ended(0, None, 1))
    storage.write_atomically(folder / "repeat.json", seal(repeat))
    return repeat


def run_assignment(assignment: Assignment, folder: Path, made: Callable[[VirtualClock], Backend] | None = None) -> None:
    """Every rank of `assignment` in a thread of this process, with a clock of its own; they leave what a rank leaves.
    `made` makes a rank's backend, of the assignment's own if not given."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = made or partial(worker.load_backend, assignment.trial.backend)
    with ThreadPoolExecutor(assignment.ranks) as pool:
        for rank in [pool.submit(_run_rank, assignment, rank, folder, kind) for rank in range(assignment.ranks)]:
            rank.result()


def _run_rank(assignment: Assignment, rank: int, folder: Path, kind: Callable[[VirtualClock], Backend]) -> None:
    world = World(
        rank=rank, size=assignment.ranks, local_rank=rank, local_size=assignment.ranks, local_replicas=1,
        launcher="local", address="127.0.0.1", network_interface=None, rendezvous_port=0,
        rendezvous=FileRendezvous(folder / "rendezvous"),
    )  # fmt: skip
    clock = VirtualClock()
    backend = kind(clock)
    with journal.Journal(folder, rank) as lines:
        lines.write(worker.rank_info(world))
        lines.write(Phase(name="start", at_ns=clock()))
        try:
            worker.run_rank(backend, assignment, world, lines, clock(), clock)
        finally:
            backend.stop()


def _begin(given: Scenario, runs: Path) -> Path:
    runs.mkdir(parents=True, exist_ok=True)
    path = runs / "selfcheck.yaml"
    asked = {
        "name": "selfcheck",
        "ladder": True,
        "repeats": 1,
        "backend": "null",
        "replicas": len(given.step_ms),
        "launcher": "local",
        "threads_per_replica": 1,
        "workload": {"sequence_length": 16, "batch_per_replica": BATCH, "input_delay_ms": given.input_ms},
        "timing": {"warmup_windows": 1, "windows": 3, "steps_per_window": 4},
        "options": {
            "step_ms": list(given.step_ms),
            "wrapper_ms": given.wrapper_ms,
            "contention_ms": given.contention_ms,
            "exchange_ms": given.exchange_ms,
            "overlap_ms": given.overlap_ms,
            "synchronous": True,
            "own_up": True,
        },
    }
    storage.write_atomically(path, msgspec.json.encode(asked))  # JSON is YAML
    return run.begin(study.load(path), runs, False, Cluster(), run.Observer()).resolve()


def _compare(given: Scenario, published: Mapping[str, Any]) -> list[Finding]:
    """The report's document, as `paceline report --format json` writes it."""
    (climb,) = published["ladder"]
    (row,) = [row for row in published["rows"] if row["trial_id"] == climb["trial_id"]]
    found = {**row, **climb}
    return [Finding(name, programmed, found.get(name)) for name, programmed in given.numbers.items()]
