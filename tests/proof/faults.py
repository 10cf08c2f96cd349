"""The fault matrix twenty times, 500 kills, 10,000 broken inputs a parser, and a study of 200 trials."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tests.proof.record import ROOT, Experiment, Part

FAULTS = ROOT / "tests" / "faults"
TIMES = 20
KILLS, KILLS_A_PART = 500, 20
INPUTS = 10_000
TRIALS = 200
HARNESS = tuple(
    f"bench/{name}.py"
    for name in (
        "worker", "journal", "collect", "assemble", "storage", "run", "lease", "stacks", "termination", "failure",
        "launch/execute", "launch/watch", "launch/deadlines", "launch/commands", "launching", "redaction",
        "hosts/lifetime",
    )
)  # fmt: skip
PARSING = tuple(
    f"bench/{name}.py"
    for name in (
        "study", "points", "strict", "yaml_source", "trial_checks", "storage", "journal", "workload/conll",
        "workload/text", "workload/examples", "importers/__init__", "importers/horovod", "importers/nccl_tests",
        "importers/pytest_benchmark", "importers/rows", "importers/render", "hosts/spec", "launch/commands", "quoting",
        "workload/models", "workload/vocabulary", "workload/pretrained", "baselines", "collect", "gates/report",
        "gates/losses",
    )
)  # fmt: skip


def rows() -> tuple[Any, ...]:
    """tests.faults.rows.Fault, in the order of the table."""
    found: tuple[Any, ...] = (
        _module("rows").NULL_FAULTS
        + _module("system_rows").SYSTEM_FAULTS
        + _module("link_rows").LINK_FAULTS
        + _module("real_rows").REAL_FAULTS
    )
    return found


def matrix(seed: int = 1, times: int = TIMES) -> Experiment:
    """Every row so often; a part is the seconds until the fault was noticed."""
    parts = {f"{row.name}, {number + 1}": _in_a_folder(row.do) for number in range(times) for row in rows()}
    own = [f"tests/faults/{name}.py" for name in ("rows", "system_rows", "link_rows", "real_rows", "faulty_rank")]
    return Experiment("faults", "the fault matrix", (*HARNESS, "backends/_programmed.py", *own), _settings(seed), parts)


def kills(seed: int = 1, count: int = KILLS) -> Experiment:
    """SIGKILL to the parent or a rank at random moments, a study at a time."""
    kind = _module("kills").Kills

    def of(number: int) -> Part:
        def part(_: np.random.Generator) -> Any:
            with tempfile.TemporaryDirectory() as folder:
                made = kind(Path(folder), seed=seed * 1_000 + number)
                made.go_on(KILLS_A_PART)
            return {"parents": made.parents, "ranks": made.ranks, "finished launches": len(made.finished)}

        return part

    parts = {f"kills {number + 1}": of(number) for number in range(count // KILLS_A_PART)}
    return Experiment("kills", "random SIGKILLs", (*HARNESS, "tests/faults/kills.py"), _settings(seed), parts)


def fuzz(seed: int = 1, inputs: int = INPUTS) -> Experiment:
    """Broken files for every parser."""
    fuzzing = _module("fuzzing")
    parts = {parser.name: fuzzing.part(parser, inputs) for parser in _module("parsers").PARSERS}
    own = [f"tests/faults/{name}.py" for name in ("fuzzing", "parsers", "odd")]
    return Experiment("fuzz", "broken files", (*PARSING, *own), _settings(seed), parts)


def soak(seed: int = 1, trials: int = TRIALS) -> Experiment:
    """One study of many trials; memory in bytes and open files of the parent."""
    made = _module("soak")
    part = _in_a_folder(lambda folder: asdict(made.soak(folder, trials)))
    return Experiment("soak", "many trials", (*HARNESS, "tests/faults/soak.py"), _settings(seed), {"soak": part})


def _settings(seed: int) -> dict[str, Any]:
    return {"seed": seed}


def _in_a_folder(do: Callable[[Path], Any]) -> Part:
    def part(_: np.random.Generator) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            return do(Path(folder))

    return part


def _module(name: str) -> Any:
    """Of tests/faults, whose modules import one another by their plain names, as pytest's conftest has it there."""
    import importlib

    if str(FAULTS) not in sys.path:
        sys.path.insert(0, str(FAULTS))
    return importlib.import_module(name)
