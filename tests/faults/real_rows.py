"""The fault matrix on real frameworks: faults that meet a rank inside the code of Gloo, MPI, Horovod or TensorFlow, where
each stack behaves in its own way. Rows as in rows.py; `IN_SHORT` are those of `make test`.

The launcher is a program that starts tests/faults/faulty_rank.py in place of bench.worker, and is the real one else.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from rows import Fault

from bench import catalog, journal, run, stacks, study
from bench.launch.commands import Cluster
from bench.records import RankInfo, Repeat, Window

HERE = Path(__file__).parent
PATIENCE = 0.4
DEADLINE_S = 30.0 * PATIENCE  # bench.launch.deadlines, for windows of under 1.5 s
DEAD_RANK_S = 15.0
STUDY = f"""
name: real
bare: false
repeats: 1
patience: {PATIENCE}
timeout_s: 200
workload: {{sequence_length: 16, batch_per_replica: 2}}
optimizer: {{name: sgd, learning_rate: RATE}}
timing: {{warmup_windows: 1, windows: WINDOWS, steps_per_window: 1}}
replicas: 2
"""
LAUNCHERS = {"horovodrun": "-P -m backends._horovodrun", "mpirun": "", "torchrun": ""}


def cluster(folder: Path, launcher: str, fault: str) -> Cluster:
    """Its launcher starts ranks with that fault: "raise at build of 1"."""
    what, _, at, _, rank = fault.split()
    real = sys.executable if launcher == "horovodrun" else str(catalog.program(launcher))
    words = shlex.split(LAUNCHERS[launcher])
    program = folder / launcher
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        f"given = sys.argv[1:]\n"
        f"worker = given.index('bench.worker')\n"
        f"given[worker - 1 : worker + 1] = [{str(HERE / 'faulty_rank.py')!r}, {what!r}, {at!r}, {rank!r}]\n"
        f"os.execv({real!r}, [{real!r}, *{words!r}, *given])\n"
    )
    program.chmod(0o700)
    return Cluster(programs={launcher: str(program)})


def launched(folder: Path, backend: str, launcher: str, fault: str, rate: str = "0.01", windows: int = 4000) -> Repeat:
    """The one launch of a study, to its end; skips where the backend cannot be had."""
    reason = catalog.why_not_installed(backend) or catalog.why_no_launcher(launcher)
    if reason is not None:
        pytest.skip(f"no framework: {reason}")
    path = folder / "study.yaml"
    text = STUDY.replace("WINDOWS", str(windows)).replace("RATE", rate)
    path.write_text(f"{text}backend: {backend}\nlauncher: {launcher}\n")
    where = cluster(folder, launcher, fault)
    made = run.begin(study.load(path), folder / "runs", False, where, run.Observer())
    (trial,) = run.proceed(made.resolve(), run.Observer(), cluster=where).trials
    (repeat,) = trial.repeats
    left = [
        each
        for each in psutil.process_iter(["cmdline", "status"])
        if str(folder) in " ".join(each.info["cmdline"] or ()) and each.info["status"] != psutil.STATUS_ZOMBIE
    ]
    assert left == [], f"left over: {left}"
    return repeat


def from_inside(backend: str, launcher: str, fault: str, pattern: str) -> Callable[[Path], float]:
    """Rank 1 does it to itself. Seconds from the last that it wrote to the end of the launch: TensorFlow tries for 10 s to
    get memory."""

    def do(folder: Path) -> float:
        repeat = launched(folder, backend, launcher, fault)
        ended = time.time()
        assert repeat.error is not None and re.search(pattern, repeat.error), repeat.error
        written = [path.stat().st_mtime for path in folder.glob("runs/real-*/*/0/rank-1.*") if path.suffix != ".stack"]
        took_s = ended - max(written)
        assert took_s < DEAD_RANK_S, f"noticed after {took_s:.1f} s"
        return took_s

    return do


def from_outside(backend: str, launcher: str, number: signal.Signals, pattern: str, within_s: float) -> Callable[[Path], float]:  # fmt: skip
    """A signal to rank 1 in the middle of its windows. Every rank's stack is there where it was a hang."""

    def do(folder: Path) -> float:
        struck: list[float] = []
        over = threading.Event()
        striker = threading.Thread(target=_strike, args=(folder, number, struck, over))
        striker.start()
        try:
            repeat = launched(folder, backend, launcher, "none at step of 1")
        finally:
            over.set()
            striker.join()
        assert struck, repeat.error
        took_s = time.monotonic() - struck[0]
        assert repeat.error is not None and re.search(pattern, repeat.error), repeat.error
        assert took_s < within_s, f"noticed after {took_s:.1f} s"
        if number == signal.SIGSTOP:
            (launch,) = folder.glob("runs/real-*/*/0")
            saved = [stacks.innermost(stacks.stack_file(launch, rank).read_text()) for rank in (0, 1)]
            assert None not in saved, saved
        return took_s

    return do


def _strike(folder: Path, number: signal.Signals, struck: list[float], over: threading.Event) -> None:
    """Notes when."""
    while not over.wait(0.05):
        for path in folder.glob("runs/real-*/*/0/rank-1.jsonl"):
            lines = journal.read(path.parent, 1)
            if sum(isinstance(line, Window) for line in lines) >= 4 and isinstance(lines[0], RankInfo):
                os.kill(lines[0].pid, number)
                struck.append(time.monotonic())
                return


def _diverges(folder: Path) -> float:
    """Nothing is done to it but a learning rate of 1e30."""
    began = time.monotonic()
    repeat = launched(folder, "tf_mirrored", "mpirun", "none at step of 1", "1.0e+30", 6)
    assert re.search(r"the loss of rank 0 is not finite at step \d", repeat.error or ""), repeat.error
    return time.monotonic() - began


HUNG_S = DEADLINE_S + 10.0
NAMED = "the row names the rank, the others are ended"
HANG = "the row names the rank that does not respond; every rank's stack is saved, its own too"
GONE = "rank 1 died in windows without a word"
REAL_FAULTS = (
    Fault("torch_ddp: rank stopped in Gloo's all-reduce", HANG,
          from_outside("torch_ddp", "mpirun", signal.SIGSTOP, r"hung: .*rank 1 does not respond \(process stopped\) in windows at ", HUNG_S)),
    Fault("torch_horovod: rank stopped in MPI's all-reduce", HANG,
          from_outside("torch_horovod", "mpirun", signal.SIGSTOP, r"hung: .*rank 1 does not respond \(process stopped\) in windows at ", HUNG_S)),
    Fault("tf_horovod: rank stopped in Horovod's Gloo", HANG,
          from_outside("tf_horovod", "horovodrun", signal.SIGSTOP, r"hung: .*rank 1 does not respond \(process stopped\) in windows at ", HUNG_S)),
    Fault("tf_horovod: rank told to end (SIGTERM)", NAMED,
          from_outside("tf_horovod", "horovodrun", signal.SIGTERM, "rank 1 failed in windows: ended by SIGTERM", DEAD_RANK_S)),
    Fault("torch_ddp: rank raises in build", NAMED,
          from_inside("torch_ddp", "mpirun", "raise at build of 1", "rank 1 failed in build: RuntimeError: told to fail")),
    Fault("tf_horovod: rank raises in a window", NAMED,
          from_inside("tf_horovod", "mpirun", "raise at 7 of 1", "rank 1 failed in windows: RuntimeError: told to fail")),
    Fault("torch_horovod: rank raises in warm-up", NAMED,
          from_inside("torch_horovod", "horovodrun", "raise at 1 of 1", "rank 1 failed in warmup: RuntimeError: told to fail")),
    Fault("torch_ddp: rank exits 0 too early", NAMED, from_inside("torch_ddp", "mpirun", "exit at 7 of 1", GONE)),
    Fault("torch_horovod: rank exits 0 too early", NAMED,
          from_inside("torch_horovod", "horovodrun", "exit at 7 of 1", GONE)),
    Fault("torch_ddp: rank out of memory", NAMED,
          from_inside("torch_ddp", "mpirun", "memory at 7 of 1", "rank 1 failed in windows: RuntimeError: .*can't allocate memory")),
    Fault("tf_horovod: rank out of memory", NAMED,
          from_inside("tf_horovod", "mpirun", "memory at 7 of 1", f"rank 1 failed in windows: .*([Aa]lloc|[Mm]emory|OOM)|{GONE}")),
    Fault("tf_horovod: rank crashes (SIGSEGV)", NAMED,
          from_inside("tf_horovod", "horovodrun", "segv at 7 of 1", GONE)),
    Fault("tf_mirrored: training diverges to NaN", "a gate names rank and step, and the speed is withheld", _diverges),
)  # fmt: skip
# One for each way in which a stack differs: waits for ever, buries the reason in a graph's trace, ends without a word,
# fails in C++, spreads what is no number to all replicas.
IN_SHORT = (
    "torch_horovod: rank stopped in MPI's all-reduce", "tf_horovod: rank raises in a window",
    "torch_ddp: rank exits 0 too early", "torch_ddp: rank out of memory", "tf_mirrored: training diverges to NaN",
)  # fmt: skip
