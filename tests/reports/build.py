"""Makes run folders by hand, for tests of whatever reads one. Nothing here measures anything."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pandas

from bench.records import (
    SCHEMA,
    Environment,
    Evaluation,
    Facts,
    GateOutcome,
    RankTrace,
    Repeat,
    Result,
    SetupTimes,
    Timing,
    Traced,
    Trial,
    TrialResult,
    Verified,
    Window,
    Worst,
)
from bench.storage import seal
from reports.text import counted

MS = 1_000_000

ENVIRONMENT = Environment(
    hostname="box",
    platform="Linux-6.1-x86_64",
    python="3.11.2",
    cpu="a CPU of two cores",
    cores=2,
    memory_bytes=8_000_000_000,
    load_average=0.25,
    governor=None,
    paceline="0.1.0",
    revision="471b0a4",
    packages={"torch": "2.13.0", "numpy": "2.4.0"},
    variables={"OMP_NUM_THREADS": "1"},
)

SYNCED = GateOutcome(gate="weights", holds=True, sentence="all ranks end with equal weights")


def equal(trial_id: str) -> GateOutcome:
    """What the harness says of a trial whose losses were those of the first."""
    sentence = "within 2.0e-07 over 20 steps, against the first"
    return GateOutcome(gate="same losses", holds=True, sentence=sentence, trial_id=trial_id)


def facts(**changed: Any) -> Facts:
    """What a well-behaved backend would say."""
    said: dict[str, Any] = {
        "parameter_elements": 4_433_468,
        "compute_dtype": "float32",
        "wire_dtype": "float32",
        "exchange_elements": 4_433_468,
        "exchange_bytes": 17_733_872,
        "buckets": 2,
        "algorithm": "ring",
        "algorithm_evidence": "Gloo has no other",
        "devices": ["cpu"],
        "threads": 1,
        "versions": {"torch": "2.13.0"},
        "settings": {"learning_rate": 1e-4, "gelu": "tanh", "foreach": None},
    }
    return Facts(**{**said, **changed})


def alone(**changed: Any) -> Facts:
    """What a backend on one device would say: nothing is exchanged."""
    return facts(**{"wire_dtype": None, "exchange_elements": None, "exchange_bytes": None, "buckets": None, **changed})


def learning(*values: float, every_s: float = 1.0, target: float = 0.0, loss: float | None = 2.0) -> list[Evaluation]:
    """One evaluation after every `every_s` seconds, 5 steps and 100 samples; ends where `target` is reached."""
    found = []
    for place, value in enumerate(values, 1):
        found.append(
            Evaluation(
                step=5 * place,
                samples=100 * place,
                loss=loss,
                metric="mlm_accuracy",
                value=value,
                train_ns=round(every_s * place * 1000 * MS),
                reached=target > 0 and value >= target,
            )
        )
        if found[-1].reached:
            break
    return found


def _worst(where: str, difference: float, allowed: float) -> Worst:
    return Worst(where=where, given=1.0, expected=1.0, difference=difference, allowed=allowed)


def verified(trial_id: str, reference: str | None, **changed: Any) -> Verified:
    """What `paceline verify` finds of a good stack."""
    said: dict[str, Any] = {
        "trial_id": trial_id,
        "backend": trial_id.partition("-")[0],
        "replicas": 2,
        "created_utc": "2026-01-02T02:00:00Z",
        "steps": 10,
        "reference": reference,
        "error": None,
        "losses": _worst("the loss of step 7", 3e-7, 1e-5),
        "gradients": _worst("bert.embeddings.word_embeddings.weight", 4e-6, 5e-5),
        "updates": _worst("cls.predictions.bias", 6e-5, 2e-3),
        "gates": [GateOutcome(gate="average", holds=True, sentence="came back as their mean in 46 tensors")],
    }
    return Verified(**{**said, **changed})


def window(index: int, duration_ms: float, samples: int, **changed: Any) -> Window:
    """Of one rank: 5 steps, half of `samples` x 128 tokens real, 1 % input wait, one core busy."""
    duration_ns = round(duration_ms * MS)
    said: dict[str, Any] = {
        "index": index,
        "warmup": False,
        "exchange": True,
        "steps": 5,
        "samples": samples,
        "tokens_real": samples * 64,
        "tokens_padded": samples * 128,
        "start_ns": index * 10_000 * MS,
        "duration_ns": duration_ns,
        "input_wait_ns": duration_ns // 100,
        "cpu_ns": duration_ns,
        "rss_bytes": 500_000_000,
        "received_bytes": 50_000_000,
        "sent_bytes": 50_000_000,
    }
    return Window(**{**said, **changed})


@dataclass
class Launch:
    """One repeat: what its ranks wrote, `ranks[rank]` its windows."""

    ranks: list[list[Window]]
    losses: list[float] = field(default_factory=lambda: [10.0, 9.0, 8.0])
    gates: list[GateOutcome] = field(default_factory=lambda: [SYNCED])
    facts: list[Facts] = field(default_factory=lambda: [facts()])
    setup: list[SetupTimes] | None = None
    hosts: list[str] | None = None
    evaluations: list[Evaluation] = field(default_factory=list)
    error: str | None = None
    started_utc: str = "2026-01-02T03:04:05Z"
    warmup_windows: int | None = 1
    settled: bool | None = True
    command: list[str] = field(default_factory=lambda: ["horovodrun", "-np", "2", "python", "-m", "bench.worker"])


def launch_at(rate: float, ranks: int = 2, windows: int = 2, **changed: Any) -> Launch:
    """A launch of `rate` samples per second: 100 samples a window and job, a slow first rank, one warm-up window.

    The other ranks are 10 % faster, so that a reader who averages ranks, or counts the warm-up, gets another rate.
    """
    share = 100 // ranks
    slowest_ms = 100 / rate * 1000
    of_rank = [
        [window(0, slowest_ms * 7, share, warmup=True)]
        + [window(index, slowest_ms * (1.0 if rank == 0 else 0.9), share) for index in range(1, windows + 1)]
        for rank in range(ranks)
    ]
    return Launch(of_rank, **changed)


def trial_result(
    backend: str,
    replicas: int,
    launches: Sequence[Launch] = (),
    *,
    trial: Mapping[str, Any] | None = None,
    **changed: Any,
) -> tuple[TrialResult, list[Launch]]:
    """A TrialResult and its launches, as `write_run` wants them. `trial` changes the Trial, `changed` the result."""
    asked = msgspec.convert({"backend": backend, "replicas": replicas, **msgspec.to_builtins(trial or {})}, Trial)
    said: dict[str, Any] = {
        "trial": asked,
        "trial_id": asked.id,
        "mode": "bare" if backend.endswith("_bare") else "full" if replicas > 1 else "solo",
        "framework": {"torch": "torch", "tf": "tensorflow"}.get(backend.partition("_")[0], "none"),
        "status": "ok",
        "reason": None,
        "stopped": f"{counted(len(launches), 'launch', 'launches')}, as asked" if launches else None,
        "wrapped": ["solo", "full"],
    }
    said.update(changed)
    repeats = [_repeat(said["trial_id"], number, launch) for number, launch in enumerate(launches)]
    return TrialResult(repeats=repeats, **said), list(launches)


def write_run(folder: Path, trials: Sequence[tuple[TrialResult, list[Launch]]], **changed: Any) -> Path:
    """Writes result.json and windows.parquet; `changed` changes the Result. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [line for result, launches in trials for line in _lines(result.trial_id, launches)]
    path = folder / "windows.parquet"
    frame(lines).to_parquet(path)
    said: dict[str, Any] = {
        "study": "by-hand",
        "study_yaml": "name: by-hand\nbackends: [torch_ddp, torch_horovod]\n",
        "quick": False,
        "created_utc": "2026-01-02T03:04:05Z",
        "environment": ENVIRONMENT,
        "order": [(result.trial_id, repeat.repeat) for result, _ in trials for repeat in result.repeats],
        "sentinel": None,
        "trials": [result for result, _ in trials],
        "gates": [equal(result.trial_id) for result, _ in trials[1:] if result.status == "ok"],
        "windows_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    said.update(changed)
    (folder / "result.json").write_bytes(seal(Result(**said)))
    return folder


def frame(lines: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """Lines of windows.parquet with its column types."""
    names = ["trial_id", "repeat", "rank", *Window.__struct_fields__]
    types = dict.fromkeys(names, "Int64") | {"trial_id": "string", "warmup": "bool", "exchange": "bool"}
    return pandas.DataFrame(list(lines), columns=names).astype(types)


def _lines(trial_id: str, launches: Sequence[Launch]) -> list[dict[str, Any]]:
    return [
        {"trial_id": trial_id, "repeat": repeat, "rank": rank, **msgspec.structs.asdict(one)}
        for repeat, launch in enumerate(launches)
        for rank, windows in enumerate(launch.ranks)
        for one in windows
    ]


def _repeat(trial_id: str, number: int, launch: Launch) -> Repeat:
    ranks = len(launch.ranks)
    setup = [SetupTimes(start_ns=500 * MS, build_ns=1500 * MS, first_step_ns=250 * MS) for _ in range(ranks)]
    return Repeat(
        trial_id=trial_id,
        repeat=number,
        started_utc=launch.started_utc,
        wall_ns=10_000 * MS,
        command=launch.command,
        error=launch.error,
        gates=launch.gates,
        losses=launch.losses,
        facts=launch.facts,
        setup=setup if launch.setup is None else launch.setup,
        hosts=["box"] * ranks if launch.hosts is None else launch.hosts,
        data_samples=300,
        data_digest="0123456789abcdef",
        warmup_windows=launch.warmup_windows,
        settled=launch.settled,
        evaluations=launch.evaluations,
        journals=[""] * ranks,
    )


def by_hand(folder: Path, **changed: Any) -> Path:
    """Five trials whose every number a reader can compute.

    torch_bare     1 replica, launches of 50, 50, 50 samples/s
    torch_ddp      2 replicas, 100, 100, 100: twice the bare run, so 100 %
    torch_horovod  2 replicas, 64, 80, 100: geometric mean 80, so 80 %
    tf_horovod     failed;   tf_mirrored   not selectable
    """
    trials = [
        trial_result("torch_bare", 1, [launch_at(50, ranks=1, facts=[alone()]) for _ in range(3)]),
        trial_result("torch_ddp", 2, [launch_at(100) for _ in range(3)]),
        trial_result("torch_horovod", 2, [launch_at(rate) for rate in (64, 80, 100)]),
        trial_result(
            "tf_horovod", 2, [launch_at(500)], status="failed", reason="rank 1 was killed by signal 9 in phase windows"
        ),
        trial_result("tf_mirrored", 2, status="not_selectable", reason="tensorflow is not installed"),
    ]
    return write_run(folder, trials, **changed)


ACROSS = "same losses across precisions"
HALF = {"compute": "float16", "wire": "float16", "quality": {"samples": 64, "target": 0.5}}
WHOLE = {"quality": {"samples": 64, "target": 0.5}}


def precisions(folder: Path, **changed: Any) -> Path:
    """Two precisions with a target of 0.5, a verification of some, and one trial that did not run as asked.

    torch_ddp, torch_horovod     float32, 100 and 80 samples/s; reach 0.5 in 3 and 4 s
    torch_ddp                    float16 on both axes, 150 samples/s, ends at 0.3 after 6 s
    tf_horovod                   float16 asked, float32 ran: its gate failed
    """
    half = [facts(compute_dtype="float16", wire_dtype="float16")]
    wrong = GateOutcome(gate="precision", holds=False, sentence="rank 0 computed in float32, asked was float16")
    slow, fast, missed = (
        learning(*values, target=0.5) for values in ((0.2, 0.3, 0.4, 0.52), (0.2, 0.4, 0.51), (0.1,) * 5 + (0.3,))
    )
    trials = [
        trial_result("torch_ddp", 2, [launch_at(rate, evaluations=fast) for rate in (99, 100, 101)], trial=WHOLE),
        trial_result("torch_horovod", 2, [launch_at(80, evaluations=slow) for _ in range(3)], trial=WHOLE),
        trial_result("torch_ddp", 2, [launch_at(150, evaluations=missed, facts=half) for _ in range(3)], trial=HALF),
        trial_result("tf_horovod", 2, [launch_at(90, gates=[SYNCED, wrong]) for _ in range(3)], trial=HALF),
    ]
    names = [result.trial_id for result, _ in trials]
    between = [equal(names[1]), GateOutcome(gate=ACROSS, holds=True, sentence="within 2e-03", trial_id=names[2])]
    reference = verified(names[0], names[0], losses=None, gradients=None, updates=None)
    known = [
        reference,
        verified(names[1], names[0]),
        verified(names[2], None, losses=None, gradients=None, updates=None),
    ]
    return write_run(folder, trials, **{"gates": between, "verification": known, **changed})


def _paired(full_ms: float, ranks: int, **changed: Any) -> Launch:
    """Ten windows of 5 steps, each twice: with the exchange, and without, where the last rank needs longer."""
    of_rank = []
    for rank in range(ranks):
        own = [window(0, full_ms * 30, 40, warmup=True)]
        for index in range(1, 11):
            wobble = 1 + (index * 7 % 5 - 2) / 100
            local_ms = 0.8 * full_ms * (1.15 if rank == ranks - 1 else 1)
            own.append(window(index, full_ms * 5 * wobble, 40))
            own.append(window(index, local_ms * 5 * wobble, 40, exchange=False))
        of_rank.append(own)
    return Launch(of_rank, **changed)


def everything(folder: Path) -> Path:
    """A run for which the page has all of its sections: a bare run, ring and tree, two precisions, two replica counts,
    local windows, evaluations, a failed trial with logs, and one that cannot be selected."""
    timing = {"timing": Timing(windows=10, local_windows=True), "quality": {"samples": 64}}
    trials = [trial_result("torch_bare", 1, [launch_at(200, ranks=1, facts=[alone()]) for _ in range(3)])]
    for replicas, algorithm, compute, full_ms in (
        (2, "ring", "float32", 100),
        (2, "tree", "float32", 120),
        (2, "ring", "bfloat16", 80),
        (4, "ring", "float32", 130),
    ):
        asked = {**timing, "allreduce": algorithm, "compute": compute}
        said = facts(compute_dtype=compute, algorithm=algorithm, settings={"local_step": "its hooks are left out"})
        made = [
            _paired(full_ms * part, replicas, facts=[said] * replicas, evaluations=learning(0.2, 0.4, 0.5))
            for part in (0.99, 1.0, 1.01)
        ]
        trials.append(trial_result("torch_ddp", replicas, made, trial=asked))
    reason = "rank 1 failed in windows: out of memory (log: /there/log-1.txt)"
    trials.append(trial_result("tf_horovod", 2, [launch_at(9, error=reason)], status="failed", reason=reason))
    trials.append(trial_result("tf_mirrored", 4, status="not_selectable", reason="4 replicas do not fit one device"))
    names = [result.trial_id for result, _ in trials]
    held = [equal(names[2]), GateOutcome(gate=ACROSS, holds=True, sentence="within 2e-03", trial_id=names[3])]
    log = folder / names[5] / "0" / "log-1.txt"
    log.parent.mkdir(parents=True)
    log.write_text("step 1\nMemoryError: out of memory\n", encoding="utf-8")
    for name, found in ((names[1], {"ranks": [_traced(0), _traced(1)]}), (names[2], {"error": "rank 0 hangs"})):
        path = folder / "traces" / name / "traces.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(seal(_trace_of(name, **found)))
    return write_run(folder, trials, gates=held, sentinel=names[1])


def _traced(rank: int) -> RankTrace:
    """10 ms a step, 4 of them communicating, 1 of these exposed; the second rank's tools do not tell."""
    communication_ns, exposed_ns = (40 * MS, 10 * MS) if rank == 0 else (None, None)
    return RankTrace(
        rank=rank, host="box", source="the profiler", steps=10, duration_ns=100 * MS, compute_ns=70 * MS,
        communication_ns=communication_ns, exposed_ns=exposed_ns,
    )  # fmt: skip


def _trace_of(trial_id: str, **changed: Any) -> Traced:
    said: dict[str, Any] = {
        "trial_id": trial_id, "created_utc": "2026-01-02T04:00:00Z", "command": [], "error": None, "steps_per_window": 5,
        "untraced_ns": [100 * MS], "traced_ns": [120 * MS], "ranks": [], "schema": SCHEMA,
    }  # fmt: skip
    return Traced(**{**said, **changed})
