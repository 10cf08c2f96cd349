"""Starts tests/tensorflow/child.py, once per side and session."""

from __future__ import annotations

import json
import os
import pickle
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
TIMEOUT_S = 400.0
NEEDS = {
    "bare": ("keras_hub",),
    "mirrored": ("keras_hub",),
    "horovod": ("keras_hub", "horovod"),
}

Sides = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The checkpoint folder of each task."""
    cache = tmp_path_factory.mktemp("tensorflow-checkpoints")
    return {
        "pretraining": str(checkpoint.prepare(Workload(), (), cache)),
        "ner": str(checkpoint.prepare(Workload(task="ner"), LABELS, cache)),
        "classification": str(checkpoint.prepare(Workload(task="classification"), LABELS, cache)),
    }


@pytest.fixture(scope="session")
def sides(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, str]) -> Sides:
    """What each rank of a side saw; the side runs when it is first asked for."""
    folder = tmp_path_factory.mktemp("tensorflow")
    (folder / "plan.json").write_text(json.dumps(folders))
    seen: dict[str, list[dict[str, Any]]] = {}

    def side(name: str) -> list[dict[str, Any]]:
        missing = [package for package in NEEDS[name] if find_spec(package) is None]
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)}")
        if name not in seen:
            run(name, folder)
            seen[name] = [pickle.loads(path.read_bytes()) for path in sorted(folder.glob(f"{name}-*.pickle"))]  # noqa: S301
        return seen[name]

    return side


def run(side: str, folder: Path) -> None:
    """One process, for Horovod two."""
    argv = [sys.executable, "-P", str(HERE / "child.py"), side, str(folder)]
    if side == "horovod":
        horovodrun = Path(sysconfig.get_path("scripts")) / "horovodrun"
        argv = [sys.executable, str(horovodrun), "--gloo", "-np", "2", "-H", "localhost:2", *argv]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{HERE}", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
