"""Starts tests/torch/child.py, once per side and session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bench.records import Workload
from bench.workload import checkpoint

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LABELS = ("O", "B-a", "I-a", "B-b", "I-b")
SMALL = {
    "model_type": "bert", "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 64, "max_position_embeddings": 32,
}  # fmt: skip
NEEDS = {"bare": ("torch", "transformers"), "ddp": ("torch", "transformers"), "horovod": ("torch", "horovod")}
TIMEOUT_S = 900.0

Sides = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """What each rank of a side saw; the side runs when it is first asked for."""
    folder = tmp_path_factory.mktemp("torch")
    (folder / "config.json").write_text(json.dumps(SMALL))
    workload = Workload(task="ner", model=str(folder), sequence_length=16)
    plan = {"checkpoint": str(checkpoint.prepare(workload, LABELS, folder))}
    (folder / "plan.json").write_text(json.dumps(plan))
    seen: dict[str, list[dict[str, Any]]] = {}

    def side(name: str) -> list[dict[str, Any]]:
        missing = [package for package in NEEDS[name] if find_spec(package) is None]
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)}")
        if name not in seen:
            run(name, folder)
            seen[name] = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{name}-*.json"))]
        return seen[name]

    return side


def run(side: str, folder: Path) -> None:
    """One process for `bare`, two for the others. None is left."""
    ranks = [[sys.executable, "-P", str(HERE / "child.py"), side, str(rank), str(folder)] for rank in (0, 1)]
    if side == "bare":
        del ranks[1:]
    if side == "horovod":
        launcher = [sys.executable, str(Path(sysconfig.get_path("scripts")) / "horovodrun")]
        ranks = [[*launcher, "--gloo", "-np", "2", "-H", "localhost:2", *ranks[0]]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with (folder / f"{side}.txt").open("w+") as log:
        started = [subprocess.Popen(argv, env=environment, stdout=log, stderr=subprocess.STDOUT) for argv in ranks]
        try:
            codes = [process.wait(TIMEOUT_S) for process in started]
        finally:
            for process in started:
                process.kill()
        log.seek(0)
        assert codes == [0] * len(ranks), log.read()[-4000:]
