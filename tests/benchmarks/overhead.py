"""What the harness costs: its measured loop against a hand-written one, windows in turn in the same processes.

    python -P tests/benchmarks/overhead.py [torch_ddp tf_horovod] [--pairs 40]

Two ranks under horovodrun. Prints both rates and the ratio harness / hand-written: the median over paired windows,
with the interval that the sign test gives (order statistics of the pairs). A cost of its own shows as a ratio
below 1; the aim is at least 0.98.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scipy import stats as scipy_stats

HERE = Path(__file__).resolve().parent


def rank_main(backend_name: str, folder: Path, pairs: int) -> None:
    """One rank: alternates A (harness) and B (hand-written), and writes the durations."""
    sys.path.insert(0, str(HERE))
    import hand_written
    import msgspec

    from bench import journal, worker
    from bench.launch.world import find_world
    from bench.records import Assignment
    from bench.workload.batches import Batches

    assignment = msgspec.json.decode((folder / "trial.json").read_bytes(), type=Assignment)
    trial = assignment.trial
    world = find_world(assignment, folder, os.environ)
    backend = worker.load_backend(backend_name)
    backend.start(world)
    backend.build(trial, Path(assignment.checkpoint))
    batches = Batches(Path(assignment.data), trial.workload, world.rank, 1, world.replicas)
    first = batches.batch(0)
    arrays, weights = dict(first.arrays), dict(first.global_weights)
    step = hand_written.LOOPS[backend_name](Path(assignment.checkpoint), arrays, weights, world.replicas)
    with journal.Journal(folder, world.rank) as lines:
        measurement = worker.Measurement(backend, batches, lines, time.perf_counter_ns)
        steps = trial.timing.steps_per_window

        def harness() -> int:
            return measurement.window(steps, warmup=False).duration_ns

        def by_hand() -> int:
            backend.fence()
            backend.barrier()
            began = time.perf_counter_ns()
            for _ in range(steps):
                step()
            backend.fence()
            return time.perf_counter_ns() - began

        for warm in (harness, by_hand, harness, by_hand):
            warm()
        durations = []
        for pair in range(pairs):
            order = (harness, by_hand) if pair % 2 == 0 else (by_hand, harness)
            timed = {each.__name__: each() for each in order}
            durations.append([timed["harness"], timed["by_hand"]])
    (folder / f"durations-{world.rank}.json").write_text(json.dumps(durations))
    backend.stop()


def compare(backend_name: str, pairs: int) -> float:
    """Launches two ranks, prints the line, returns the median ratio."""
    import msgspec

    from bench.launch import commands as launch
    from bench.records import Assignment, Timing, Trial, Workload
    from bench.run import Observer, prepare

    trial = Trial(backend=backend_name, workload=Workload(), timing=Timing(steps_per_window=3))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepared = prepare(trial, folder, Observer())
        assignment = Assignment(
            trial=trial, trial_id=trial.id, repeat=0, ranks=2, local_replicas=1,
            data=str(prepared.data), checkpoint=str(prepared.checkpoint),
        )  # fmt: skip
        (folder / "trial.json").write_bytes(msgspec.json.encode(assignment))
        (command,) = launch.commands(trial, folder, sys.executable, launch.Cluster(), os.environ)
        worker = (sys.executable, "-P", "-m", "bench.worker", str(folder))
        assert command.argv[-len(worker) :] == worker
        argv = [
            *command.argv[: -len(worker)],
            sys.executable,
            "-P",
            __file__,
            "--rank",
            backend_name,
            str(folder),
            str(pairs),
        ]
        subprocess.run(argv, env=dict(command.environment), check=True, capture_output=True)
        ranks = [json.loads((folder / f"durations-{rank}.json").read_text()) for rank in range(2)]
    samples = trial.global_batch * trial.timing.steps_per_window
    job = [[max(rank[pair][side] for rank in ranks) for side in (0, 1)] for pair in range(pairs)]
    ratios = sorted(by_hand / harness for harness, by_hand in job)
    lower = max(0, int(scipy_stats.binom.ppf(0.025, pairs, 0.5)) - 1)  # counted from 0
    harness, by_hand = (samples * 1e9 / statistics.median(side) for side in zip(*job, strict=True))
    ratio = statistics.median(ratios)
    print(
        f"{backend_name}: harness {harness:.1f}, hand-written {by_hand:.1f} samples/s (medians of {pairs} windows); "
        f"ratio {ratio:.3f} [{ratios[lower]:.3f}, {ratios[-1 - lower]:.3f}]"
    )
    return ratio


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rank"]:
        rank_main(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("backends", nargs="*", default=["torch_ddp", "tf_horovod"])
        parser.add_argument("--pairs", type=int, default=40)
        given = parser.parse_args()
        for name in given.backends:
            compare(name, given.pairs)
