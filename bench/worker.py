"""One rank: `python -P -m bench.worker FOLDER`. Owns the measured loop; the only reader of a clock around steps.

FOLDER holds trial.json. The rank appends to rank-N.jsonl as it goes, so that whatever kills it, what it had
measured is there; its output goes to log-N.txt; its failure to rank-N.error.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import socket
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench import catalog, evidence, lease, probing, stacks, timed_collectives, tracing, verification
from bench.clock import SYSTEM_CLOCK, Clock
from bench.collectors import resources
from bench.collectors.accelerators import Watch
from bench.errors import TrialError
from bench.evaluation import Evaluator
from bench.journal import Journal, RankError
from bench.launch.world import find_world
from bench.protocols import Backend, Batch, World
from bench.records import Assignment, DataDigest, Phase, RankInfo, SetupTimes, Timing, Trial, Window
from bench.termination import end_on_sigterm
from bench.workload.batches import Batches
from bench.workload.flops import Shape

STOP_DEADLINE_S = 10.0


def main(folder: Path) -> int:
    """Runs this rank to the end. 0, or 1 with rank-N.error written."""
    assignment = read_assignment(folder)
    share = assignment.trial.share_devices
    world = dataclasses.replace(find_world(assignment, folder, os.environ), share_devices=share)
    _redirect_output(folder / f"log-{world.rank}.txt")
    stacks.offer(folder, world.rank)
    if assignment.lease is not None:
        lease.watch(Path(assignment.lease))
    with Journal(folder, world.rank) as journal:
        end_on_sigterm(lambda: journal.ended_by("SIGTERM"))
        journal.write(rank_info(world))
        backend: Backend | None = None
        try:
            begun_ns = SYSTEM_CLOCK()
            journal.write(Phase(name="start", at_ns=begun_ns))
            backend = load_backend(assignment.trial.backend)
            run_rank(backend, assignment, world, journal, begun_ns)
        except Exception as error:
            journal.fail(RankError.of(error, world.rank, journal.phase))
            traceback.print_exc()
            _stop_or_leave(backend)
            return 1
    return 0


def read_assignment(folder: Path) -> Assignment:
    """`trial.json`. Raises TrialError where this host does not see what the parent wrote."""
    try:
        return msgspec.json.decode((folder / "trial.json").read_bytes(), type=Assignment)
    except OSError:
        raise TrialError(
            f"{socket.gethostname()} does not see {folder / 'trial.json'}: "
            "with several hosts the run folder must be on a file system that they share (--runs)"
        ) from None


def rank_info(world: World) -> RankInfo:
    """Who and where this rank is."""
    return RankInfo(rank=world.rank, host=socket.gethostname(), pid=os.getpid(), launcher=world.launcher)


def load_backend(name: str, *arguments: Clock) -> Backend:
    """The one place that imports a backend, and with it its framework. `null` takes a clock of its own."""
    backend: Backend = importlib.import_module(catalog.entry(name).module).Backend(*arguments)
    return backend


def run_rank(
    backend: Backend, assignment: Assignment, world: World, journal: Journal, begun_ns: int, clock: Clock = SYSTEM_CLOCK
) -> None:
    """start -> build -> warm-up -> windows -> finish -> stop, each noted in the journal as it begins.

    Where the assignment says so, a rehearsal of the same steps takes the place of what is measured.
    `begun_ns` was read before the framework was imported: a person waits for that too.
    """
    backend.start(world)
    started = clock()
    journal.write(Phase(name="build", at_ns=started))
    workload, local = assignment.trial.workload, world.local_replicas
    batches = Batches(Path(assignment.data), workload, world.rank * local, local, world.replicas, clock)
    backend.build(assignment.trial, Path(assignment.checkpoint))
    built = clock()
    journal.write(Phase(name="warmup", at_ns=built))
    watch = _watch(backend, assignment.trial, world, journal)
    shape = Shape.of_checkpoint(Path(assignment.checkpoint), workload.task)
    measurement = Measurement(backend, batches, journal, clock, watch, shape)
    if assignment.collectives:
        timed_collectives.time_all(backend, batches.batch(0), assignment.collectives, world, journal, clock)
    elif assignment.verify_steps:
        verification.rehearse(backend, batches, world, assignment.verify_steps, journal, clock)
    elif assignment.traced_windows:
        tracing.trace_windows(backend, measurement, assignment, rank_info(world), journal, clock)
    else:
        first_ns = measurement.first_step(assignment.trial.timing.local_windows)
        journal.write(SetupTimes(start_ns=started - begun_ns, build_ns=built - started, first_step_ns=first_ns))
        _measure(measurement, Evaluator(backend, world, assignment, journal), assignment.trial.timing, journal, clock)
        if assignment.trial.timing.local_windows:
            timed_collectives.time_standalone(backend, assignment.trial, world, journal, clock)
        journal.write(Phase(name="finish", at_ns=clock()))
        journal.write(measurement.digest())
        evidence.leave(backend, journal)
        if assignment.trial.probe:
            _probe(backend, assignment.trial, world, journal, clock)
    journal.write(Phase(name="stop", at_ns=clock()))
    backend.stop()
    journal.write(Phase(name="end", at_ns=clock()))


def _watch(backend: Backend, trial: Trial, world: World, journal: Journal) -> Watch:
    """Of this rank's GPUs, whose records it writes."""
    watch = Watch(world.rank, backend.accelerators(), trial.compute)
    for device in watch.devices():
        journal.write(device)
    return watch


def _probe(backend: Backend, trial: Trial, world: World, journal: Journal, clock: Clock) -> None:
    """When nothing else is left to do: it moves clocks, temperature and memory."""
    backend.barrier()
    threads = None if backend.accelerators() else trial.threads_per_replica
    found = probing.probe(backend, trial.compute, world.rank, threads, clock)
    if found is not None:
        journal.write(found)


def _measure(measurement: Measurement, evaluator: Evaluator, timing: Timing, journal: Journal, clock: Clock) -> None:
    """Warm-up and measured windows, with an evaluation after a window where the study asks for it, until the last
    one or the study's target."""
    for index in range(timing.warmup_windows + timing.windows):
        warmup = index < timing.warmup_windows
        if index == timing.warmup_windows:
            journal.write(Phase(name="windows", at_ns=clock()))
        measurement.window(timing.steps_per_window, warmup)
        if timing.local_windows:
            measurement.local_window(timing.steps_per_window, warmup)
        if evaluator.after_window(index, measurement.steps, measurement.train_ns):
            return


class Measurement:
    """The measured loop over one backend. Steps are numbered from 0 through all windows, warm-up included.

    watch, shape      of the rank's GPUs, and of the model whose operations are counted; None: neither is told
    steps, train_ns   how many have been made, and the duration of all windows
    """

    def __init__(
        self, backend: Backend, batches: Batches, journal: Journal, clock: Clock,
        watch: Watch | None = None, shape: Shape | None = None,
    ) -> None:  # fmt: skip
        self._backend, self._batches, self._journal, self._clock = backend, batches, journal, clock
        self._watch, self._shape = watch or Watch(0, (), "float32"), shape
        self._index = self._samples = self._digest = 0
        self.steps = self.train_ns = 0

    def first_step(self, local: bool) -> int:
        """Its duration in ns: it traces and compiles. `local`: the local step is then made, and traced, as well."""
        first = self.window(steps=1, warmup=True)
        if local:
            self.local_window(steps=1, warmup=True)
        return first.duration_ns

    def window(self, steps: int, warmup: bool) -> Window:
        """Measures the next `steps` steps; writes the window and its losses, which lie outside the clock."""
        window, batches = self._run(self._index, range(self.steps, self.steps + steps), warmup, exchange=True)
        self._journal.write(window)
        self._journal.write(evidence.step_losses(self._index, self._backend.losses(), batches))
        self._samples += window.samples
        self._digest = (self._digest + sum(self._batches.digest(batch) for batch in batches)) % 2**64
        self._index += 1
        self.steps += steps
        self.train_ns += window.duration_ns
        return window

    def local_window(self, steps: int, warmup: bool) -> None:
        """The last window's steps once more without the exchange, under that window's index. Leaves no trace in the
        model, its optimizer or what was learnt of losses and data."""
        self._backend.snapshot()
        window, _ = self._run(self._index - 1, range(self.steps - steps, self.steps), warmup, exchange=False)
        self._backend.losses()
        self._backend.restore()
        self._journal.write(window)

    def _run(self, index: int, numbers: range, warmup: bool, exchange: bool) -> tuple[Window, list[Batch]]:
        """[fence, barrier, clock, step x steps, fence, clock]. Between the two outer readings nothing else happens.

        Resources are read just before the first reading, so that no waiting for other ranks is charged to the window;
        GPUs before the barrier, because asking them takes a while and not the same on every rank.
        """
        backend, obtain, clock = self._backend, self._batches.batch, self._clock
        batches: list[Batch] = []
        input_wait_ns = 0
        backend.fence()
        devices_before = self._watch.read()
        backend.barrier()
        before = resources.read()
        start_ns = clock()
        for number in numbers:
            asked_ns = clock()
            batch = obtain(number)
            input_wait_ns += clock() - asked_ns
            backend.step(batch, exchange)
            batches.append(batch)
        backend.fence()
        duration_ns = clock() - start_ns
        after, devices_after = resources.read(), self._watch.read()
        for seen in self._watch.windows(index, exchange, (devices_before, devices_after), backend.marks()):
            self._journal.write(seen)
        window = Window(
            index=index,
            warmup=warmup,
            exchange=exchange,
            steps=len(numbers),
            start_ns=start_ns,
            duration_ns=duration_ns,
            input_wait_ns=input_wait_ns,
            **self._amounts(batches),
            **_used(before, after),
        )
        return window, batches

    def _amounts(self, batches: Sequence[Batch]) -> dict[str, Any]:
        """What a window worked through."""
        flops = [self._shape.training(batch) for batch in batches] if self._shape else None
        return {
            "samples": sum(batch.samples for batch in batches),
            "tokens_real": sum(batch.tokens_real for batch in batches),
            "tokens_padded": sum(batch.tokens_padded for batch in batches),
            "flops_executed": sum(each.executed for each in flops) if flops else None,
            "flops_useful": sum(each.useful for each in flops) if flops else None,
        }

    def digest(self) -> DataDigest:
        """What the rank was fed in all windows so far."""
        return DataDigest(samples=self._samples, digest=self._digest)


def _used(before: resources.Reading, after: resources.Reading) -> dict[str, Any]:
    return {
        "cpu_ns": after.cpu_ns - before.cpu_ns,
        "rss_bytes": after.rss_bytes,
        "received_bytes": _difference(after.received_bytes, before.received_bytes),
        "sent_bytes": _difference(after.sent_bytes, before.sent_bytes),
    }


def _difference(after: int | None, before: int | None) -> int | None:
    return None if after is None or before is None else after - before


def _redirect_output(log: Path) -> None:
    """Everything this rank prints, its C++ libraries included, goes to its own file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _stop_or_leave(backend: Backend | None) -> None:
    """Stops the backend; a collective that waits for ranks which will never come must not keep this one alive."""
    watchdog = threading.Timer(STOP_DEADLINE_S, os._exit, args=(1,))
    watchdog.daemon = True
    watchdog.start()
    try:
        if backend is not None:
            backend.stop()
    except Exception:
        traceback.print_exc()
    finally:
        watchdog.cancel()


if __name__ == "__main__":
    try:
        status = main(Path(sys.argv[1]))
    except TrialError as error:
        sys.exit(f"paceline: {error}")
    # Everything is written and the backend has stopped; a framework's own tear-down takes up to a second more.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
