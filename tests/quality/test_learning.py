"""Every backend learns the same: two replicas, real launches, entity F1 on data that they did not train on.

On real text: tests/parity/test_same_score.py.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from bench import catalog
from bench.records import Evaluation, Result
from bench.storage import unseal

pytestmark = pytest.mark.slow

WRAPPED = ("torch_ddp", "torch_horovod", "tf_horovod", "tf_mirrored")
MODEL = Path(__file__).parents[1] / "contract" / "learns_fast"
# 101 steps; F1 is 0.96 after the last one, and the target is met before it.
STUDY = f"""
name: learning
repeats: 1
bare: false
replicas: 2
threads_per_replica: 1
matrix: {{backend: [{", ".join(WRAPPED)}]}}
workload: {{task: ner, model: {MODEL}, sequence_length: 32, batch_per_replica: 16}}
optimizer: {{learning_rate: 3.0e-3, warmup_steps: 20, decay_steps: 101}}
timing: {{warmup_windows: 1, windows: 9, steps_per_window: 10}}
quality: {{samples: 400, target: 0.9, every_windows: 3}}
"""


def learn(folder: Path) -> dict[str, list[Evaluation]]:
    """Backend to its evaluations, from `paceline run`; skips where a backend is not installed."""
    missing = [f"{name}: {reason}" for name in WRAPPED if (reason := catalog.why_not_installed(name))]
    if missing:
        pytest.skip("; ".join(missing))
    (folder / "study.yaml").write_text(STUDY)
    argv = [sys.executable, "-P", "-m", "bench", "run", "study.yaml", "--runs", "runs"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (folder / "runs").glob("learning-*/result.json")
    result = unseal(path.read_bytes(), Result)
    return {trial.trial.backend: trial.repeats[0].evaluations for trial in result.trials}


def spread(values: Iterable[float]) -> float:
    found = list(values)
    return max(found) - min(found)


def test_ner_on_the_generated_corpus_reaches_its_target_in_every_backend_at_the_same_step(tmp_path: Path) -> None:
    learnt = learn(tmp_path)
    assert set(learnt) == set(WRAPPED)
    last = {backend: evaluations[-1] for backend, evaluations in learnt.items()}
    assert all(found.reached and found.value >= 0.9 and found.metric == "entity_f1" for found in last.values()), last
    assert len({tuple(found.step for found in evaluations) for evaluations in learnt.values()}) == 1, learnt
    assert last["torch_ddp"].step < 101
    for number in range(len(learnt["torch_ddp"])):
        assert spread(evaluations[number].value for evaluations in learnt.values()) <= 0.005, learnt
        assert spread(evaluations[number].loss for evaluations in learnt.values()) < 1e-4, learnt
