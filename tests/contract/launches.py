"""Starts tests/contract/ranks.py under the real launchers, once per cell and session, and keeps what the ranks saw."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import plans
import psutil

from backends import BACKENDS
from bench import catalog
from bench.launch import commands
from bench.records import Assignment, Trial
from bench.workload import checkpoint, corpus

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TIMEOUT_S, TIMED_OUT = 900.0, 124
PORT = 29_871  # for the rendezvous of a launch in a network of its own, where nothing else can have taken it


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One launch of all ranks. `left` are the process ids of ranks that outlived their launcher."""

    trial: Trial
    folder: Path
    private_network: bool
    returncode: int
    output: str
    ranks: list[dict[str, Any]]
    left: list[int]

    def of(self, scenario: str) -> list[dict[str, Any]]:
        """What each rank saw in a scenario."""
        failed = [rank["errors"][scenario] for rank in self.ranks if scenario in rank["errors"]]
        assert not failed, "\n".join(failed)
        absent = [rank["errors"] for rank in self.ranks if scenario not in rank]
        assert self.ranks and not absent, f"exit code {self.returncode}\n{self.output[-4000:]}\n{absent}"
        return [rank[scenario] for rank in self.ranks]


class Room:
    """A core for each rank of what runs at a time; a launch that wants more than there are runs alone."""

    def __init__(self, cores: int) -> None:
        self.cores = self._free = cores
        self._changed = threading.Condition()

    @contextmanager
    def of(self, ranks: int) -> Iterator[None]:
        wanted = min(ranks, self.cores)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


class Launches:
    """Launches by cell: each is started once, when the first test asks for it or when told to expect it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._seen: dict[tuple[Any, ...], Future[Launch]] = {}
        # Nothing is timed: while one rank traces its graphs on one core, another launch has the other. But ranks
        # that wait for one another in each of many exchanges take ten times as long beside others that do.
        self._room = Room(len(os.sched_getaffinity(0)))
        self._pool = ThreadPoolExecutor(max_workers=min(4, self._room.cores))

    def get(
        self, backend: str, replicas: int, launcher: str | None = None, scenarios: tuple[str, ...] = (), **options: Any
    ) -> Launch:
        """The launch of this cell; with `scenarios` or `options` (of the trial), a cell of its own."""
        return self._expected(backend, replicas, launcher, scenarios, options).result()

    def under(self, backend: str, launcher: str) -> Launch:
        """The launch of two replicas under a launcher that is not the backend's first."""
        scenario, options = plans.UNDER.get((backend, launcher), plans.FEW)
        return self.get(backend, 2, launcher, (scenario,), **options)

    def expect(self, cells: Iterable[tuple[str, int]]) -> None:
        """Starts the usual launches of these cells, as many at a time as there are cores.

        First those of one process, the longest first, so that none of them has a core for itself at the end.
        """
        for backend, replicas in sorted(cells, key=lambda cell: (processes(*cell), -len(plans.usual(*cell)))):
            if why_not(backend) is None:
                self._expected(backend, replicas, None, (), {})

    def close(self) -> None:
        """Launches that nobody waits for any more are not begun."""
        self._pool.shutdown(cancel_futures=True)

    def _expected(
        self, backend: str, replicas: int, launcher: str | None, scenarios: tuple[str, ...], options: dict[str, Any]
    ) -> Future[Launch]:
        launcher = launcher or first_launcher(backend)
        key = (backend, replicas, launcher, scenarios, *sorted(options.items()))
        with self._lock:
            if key not in self._seen:
                wanted = scenarios or plans.usual(backend, replicas)
                self._seen[key] = self._pool.submit(self._started, backend, replicas, launcher, wanted, options)
            return self._seen[key]

    def _started(
        self, backend: str, replicas: int, launcher: str, scenarios: tuple[str, ...], options: dict[str, Any]
    ) -> Launch:
        with self._lock:  # what is prepared is the same for all, and prepared once
            given = [self.plan(scenario, backend, replicas, options) for scenario in scenarios]
            folder = Path(tempfile.mkdtemp(prefix="launch-", dir=self._folder)) / "run"
        trial = msgspec.structs.replace(msgspec.convert(given[0]["trial"], Trial), launcher=launcher)
        with self._room.of(commands.ranks(trial)[0]):
            return start(trial, given, folder)

    def plan(self, scenario: str, backend: str, replicas: int, options: dict[str, Any]) -> dict[str, Any]:
        """One entry of plan.json."""
        asked = "adamw" if scenario in plans.AFTERWARDS else scenario
        data, folder = self.prepared(asked)
        return {
            "scenario": scenario,
            "trial": msgspec.to_builtins(plans.trial_of(asked, backend, replicas, options)),
            "data": data,
            "checkpoint": folder,
            "validation": self.validation if asked == "learning" else None,
            "reference": self.reference if asked in plans.WITH_REFERENCE else None,
            "updates": str(self.updates(backend, asked)),
        }

    def updates(self, backend: str, scenario: str) -> Path:
        """Where rank 0 of a long scenario leaves what training added to each tensor of replica 0."""
        return self._folder / f"{backend}-{scenario}.npz"

    @functools.cache  # noqa: B019
    def prepared(self, scenario: str) -> tuple[str, str]:
        """(data, checkpoint) folders."""
        work = plans.workload(plans.SCENARIOS[scenario])
        prepared = corpus.prepare(work, self._folder / "cache", lambda _: None)
        folder = checkpoint.prepare(work, prepared.labels, self._folder / "cache")
        return str(prepared.folder), str(folder)

    @functools.cached_property
    def validation(self) -> str:
        """Folder of the data that "learning" is scored on."""
        work = plans.workload(plans.SCENARIOS["learning"])
        return str(corpus.prepare_validation(work, self._folder / "cache", lambda _: None).folder)

    @functools.cached_property
    def reference(self) -> str | None:
        """File of reference.py, None where PyTorch is not installed."""
        if catalog.why_not_installed("torch_bare") is not None:
            return None
        plan, out = self._folder / "reference.json", self._folder / "reference.npz"
        tasks = {plans.SCENARIOS[name].task: name for name in plans.WITH_REFERENCE}
        works = {name: plans.workload(plans.SCENARIOS[name]) for name in tasks.values()}
        entries = [[task, *self.prepared(name), msgspec.to_builtins(works[name])] for task, name in tasks.items()]
        plan.write_text(json.dumps(entries))
        argv = [sys.executable, "-P", str(HERE / "reference.py"), str(plan), str(out)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        return str(out)


_shared: list[Launches] = []


def shared(factory: Any) -> Launches:
    """One for the whole session. `factory` is pytest's tmp_path_factory."""
    if not _shared:
        _shared.append(Launches(factory.mktemp("launches")))
    return _shared[0]


def global_losses(ranks: list[dict[str, Any]]) -> list[float]:
    """Loss of each step: over heads, the sum over all replicas of the numerators / the global weight."""
    numerators = sum(np.sum(rank["numerators"], axis=1) for rank in ranks)
    return [float(value) for value in np.sum(numerators / np.array(ranks[0]["global_weights"]), axis=1)]


def why_not(backend: str) -> str | None:
    """One clause, or None when the backend can be launched here."""
    missing = catalog.why_not_installed(backend)
    return missing or (None if first_launcher(backend) else f"no launcher of {backend} is installed")


def processes(backend: str, replicas: int) -> int:
    """How many ranks hold the replicas."""
    return 1 if BACKENDS[backend].local_replicas else replicas


def refusal(backend: str, launcher: str) -> str | None:
    """One clause, or None when the backend can be launched here by `launcher`."""
    return catalog.why_not_installed(backend) or catalog.why_no_launcher(launcher)


def first_launcher(backend: str) -> str | None:
    """The first launcher of the backend that is installed here."""
    return next((name for name in BACKENDS[backend].launchers if catalog.why_no_launcher(name) is None), None)


def start(trial: Trial, plans: list[dict[str, Any]], folder: Path) -> Launch:
    """Runs all ranks to their end, if possible in a network of their own. Nothing of what was started is left."""
    folder.mkdir(parents=True)
    count, local_replicas = commands.ranks(trial)
    built = commands.commands(trial, folder, sys.executable, commands.Cluster(), os.environ)
    network = private_network() if len(built) == 1 else ()
    assignment = Assignment(
        trial=trial,
        trial_id=trial.id,
        repeat=0,
        ranks=count,
        local_replicas=local_replicas,
        data=plans[0]["data"],
        checkpoint=plans[0]["checkpoint"],
        rendezvous_port=PORT if network else 0,
    )
    (folder / "trial.json").write_bytes(msgspec.json.encode(assignment))
    (folder / "plan.json").write_text(json.dumps(plans))
    returncode = _run([_driver(command, network, folder) for command in built], folder)
    ranks = [json.loads(path.read_text()) for path in sorted(folder.glob("rank-*.json"))]
    return Launch(
        trial=trial,
        folder=folder,
        private_network=bool(network),
        returncode=returncode,
        output=(folder / "launcher.txt").read_text(errors="replace"),
        ranks=ranks,
        left=[rank["pid"] for rank in ranks if psutil.pid_exists(rank["pid"])],
    )


def _driver(command: commands.Command, network: tuple[str, ...], folder: Path) -> commands.Command:
    """The same command with our driver in place of the worker."""
    worker = (sys.executable, "-P", "-m", "bench.worker", str(folder))
    assert command.argv[-len(worker) :] == worker
    driver = (sys.executable, "-P", str(HERE / "ranks.py"), str(folder))
    argv = (*network, *command.argv[: -len(worker)], *driver)
    return commands.Command(argv, {**command.environment, "PYTHONPATH": f"{ROOT}:{HERE}"})


def _run(built: Sequence[commands.Command], folder: Path) -> int:
    """The first exit code that is not 0. After TIMEOUT_S everything is killed, and the code is TIMED_OUT."""
    with (folder / "launcher.txt").open("wb") as log:
        processes = [
            psutil.Popen(
                command.argv,
                cwd=folder,
                env=dict(command.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            for command in built
        ]
        try:
            return next((code for code in [process.wait(TIMEOUT_S) for process in processes] if code), 0)
        except psutil.TimeoutExpired:
            return TIMED_OUT
        finally:
            for process in processes:
                _kill(process)


def _kill(process: psutil.Popen) -> None:
    if process.poll() is None:
        family = [process, *process.children(recursive=True)]
        for member in family:
            member.kill()
        process.wait()


@functools.cache
def private_network() -> tuple[str, ...]:
    """Words that start a command in a network namespace of its own, where only it is counted; () if not allowed."""
    words = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    try:
        allowed = subprocess.run([*words, "true"], capture_output=True, timeout=20, check=False).returncode == 0
    except OSError:
        allowed = False
    return words if allowed else ()
