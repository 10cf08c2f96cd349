"""The gate on real launches of this machine: the same work again and again, and the same work made slower.

A part is one run of ten launches; its record is the launch rates, so that the verdicts can be computed again with the
gate as it is now. Every run is held against the run before it, looking after 3, 6 and 10 launches as
`paceline check --resolve` does, and with the spread of the runs saved before. `null` sleeps for a programmed time in
real processes; `torch_bare` trains. A slower null run sleeps 10 % longer; a slower torch_bare run is a real one whose
rates are divided by 1.1 or 1.5: real noise, and a slowdown that is known exactly. On the machine of the record launches
of torch_bare differ by 10 %, and runs by more than their launches explain: 10 % cannot be found there, 50 % must be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench import regression
from tests.proof.record import ROOT, Experiment, Part
from tests.proof.simulate import wilson

SLOWDOWN = 0.1
DIVIDED = (SLOWDOWN, 0.5)
STUDIES = {
    "null": """
name: proof-null
launcher: local
bare: false
repeats: 10
workload: {sequence_length: 16, batch_per_replica: 4}
timing: {warmup_windows: 1, windows: 10, steps_per_window: 5}
backend: "null"
replicas: 2
options: {step_ms: STEP_MS}
""",
    "torch_bare": """
name: proof-torch-bare
launcher: local
repeats: 10
workload: {model: tiny, sequence_length: 32, batch_per_replica: 4}
timing: {warmup_windows: 3, windows: 10, steps_per_window: 10}
backend: torch_bare
replicas: 1
threads_per_replica: 1
""",
}
STEP_MS = 20.0


def experiment(seed: int = 1, same: Mapping[str, int] | None = None, slower: int = 10) -> Experiment:
    """`same` runs per study, one more than the checks they make, and `slower` ones of null between them."""
    same = same or {"null": 31, "torch_bare": 13}
    parts: dict[str, Part] = {}
    for number in range(max(same.values())):
        for name, runs in same.items():
            if number < runs:
                parts[f"{name} {number}"] = _run(name, STEP_MS)
        if number < slower:
            parts[f"null slower {number}"] = _run("null", STEP_MS * (1 + SLOWDOWN))
    return Experiment(
        name="real",
        about="samples per second of every launch of runs of the same work, and of work made slower",
        proves=("tests/proof/real.py",),
        settings={"seed": seed, "same": dict(same), "slower": slower, "slowdown": SLOWDOWN},
        parts=parts,
    )


def _run(name: str, step_ms: float) -> Part:
    def part(rng: np.random.Generator) -> Any:
        from bench import baselines, run, study
        from bench.launch.commands import Cluster

        runs = ROOT / "runs" / "proof"
        runs.mkdir(parents=True, exist_ok=True)
        path = runs / f"{name}.yaml"
        path.write_text(STUDIES[name].replace("STEP_MS", repr(step_ms)))
        folder = run.begin(study.load(path), runs, False, Cluster(), run.Observer())
        result = run.proceed(folder.resolve(), run.Observer())
        (reading,) = baselines.read_run(folder)
        if reading.reason is not None:
            raise RuntimeError(f"{folder}: {reading.reason}")
        environment = result.environment
        return {
            "created_utc": result.created_utc,
            "cpu": environment.cpu,
            "cores": environment.cores,
            "load_average": environment.load_average,
            "rates": [round(rate, 6) for rate in reading.launch_rates],
        }

    return part


def verdicts(parts: Mapping[str, Any], name: str) -> Mapping[str, list[regression.Verdict]]:
    """ "the same": of each run against the one before it. "10% slower": of runs that were made slower. As in a store, how
    much honest runs differ is taken from all runs before."""
    runs = [parts[one]["rates"] for one in _in_order(parts, name)]
    made_slower = [parts[one]["rates"] for one in _in_order(parts, f"{name} slower")]
    divided = {by: [[rate / (1 + by) for rate in own] for own in runs[1:]] for by in DIVIDED}
    slower = {SLOWDOWN: made_slower} if made_slower else divided
    kinds = {"the same": runs[1:]} | {f"{by:.0%} slower": found for by, found in slower.items()}
    return {
        kind: [_verdict(own, runs[: place + 1]) for place, own in enumerate(found)] for kind, found in kinds.items()
    }


def _verdict(own: Sequence[float], before: Sequence[Sequence[float]]) -> regression.Verdict:
    """Looking after 3 launches, then after as many as it asks for, against the last of the runs before."""
    spread = regression.recorded_spread(before)
    made = [regression.STAGES[0].launches]

    def look() -> list[regression.Finding]:
        return [regression.judge("trial", own[: made[0]], before[-1], spread)]

    def more_launches(count: int) -> None:
        made[0] += count

    return regression.resolve(look, more_launches)[0].verdict


def share(found: Sequence[regression.Verdict], wanted: regression.Verdict) -> tuple[float, float, float]:
    """Of `wanted` among the verdicts, with its 95 % interval."""
    count = list(found).count(wanted)
    return (count / len(found), *wilson(count, len(found)))


def _in_order(parts: Mapping[str, Any], name: str) -> list[str]:
    numbers = [one.removeprefix(f"{name} ") for one in parts if one.startswith(f"{name} ")]
    return [f"{name} {number}" for number in sorted((number for number in numbers if number.isdigit()), key=int)]
