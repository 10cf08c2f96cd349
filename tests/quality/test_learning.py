"""Every backend learns the same: two replicas, real launches, entity F1 on data that they did not train on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import catalog
from bench.records import Evaluation, Result
from bench.storage import unseal

pytestmark = pytest.mark.slow

WRAPPED = ("torch_ddp", "torch_horovod", "tf_horovod", "tf_mirrored")
WNUT = Path(__file__).parents[3] / "shared" / "data" / "wnut17"
# Of BERT-tiny's depth and narrower; the wide start makes it learn within a hundred steps.
CONFIG = {
    "model_type": "bert", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128,
    "vocab_size": 2048, "max_position_embeddings": 64, "hidden_act": "gelu_pytorch_tanh", "initializer_range": 0.1,
}  # fmt: skip
STUDY = """
name: learning
repeats: 1
bare: false
replicas: 2
threads_per_replica: 1
workload: {{task: ner, model: ./model, data: {data}, sequence_length: 32, batch_per_replica: 16}}
"""
# 101 steps; F1 is 0.96 after the last one, and the target is met before it.
GENERATED = """
optimizer: {learning_rate: 3.0e-3, warmup_steps: 20, decay_steps: 101}
timing: {warmup_windows: 1, windows: 9, steps_per_window: 10}
quality: {samples: 400, target: 0.9}
"""
# Few of the entities of its dev part occur in training, so F1 stays low; 301 steps are enough to find some.
REAL = """
optimizer: {learning_rate: 5.0e-3, warmup_steps: 30, decay_steps: 301}
timing: {warmup_windows: 1, windows: 5, steps_per_window: 50}
quality: {samples: 1009, every_windows: 6}
"""


def learn(folder: Path, data: str, more: str) -> dict[str, list[Evaluation]]:
    """Backend to its evaluations, from `paceline run`; skips where a backend is not installed."""
    missing = [f"{name}: {reason}" for name in WRAPPED if (reason := catalog.why_not_installed(name))]
    if missing:
        pytest.skip("; ".join(missing))
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text(json.dumps(CONFIG))
    matrix = f"matrix: {{backend: [{', '.join(WRAPPED)}]}}\n"
    (folder / "study.yaml").write_text(STUDY.format(data=data) + more + matrix)
    argv = [sys.executable, "-P", "-m", "bench", "run", "study.yaml", "--runs", "runs"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (folder / "runs").glob("learning-*/result.json")
    result = unseal(path.read_bytes(), Result)
    return {trial.trial.backend: trial.repeats[0].evaluations for trial in result.trials}


def spread(values: Any) -> float:
    found = list(values)
    return max(found) - min(found)


def test_ner_on_the_generated_corpus_reaches_its_target_in_every_backend_at_the_same_step(tmp_path: Path) -> None:
    learnt = learn(tmp_path, "builtin", GENERATED)
    assert set(learnt) == set(WRAPPED)
    last = {backend: evaluations[-1] for backend, evaluations in learnt.items()}
    assert all(found.reached and found.value >= 0.9 and found.metric == "entity_f1" for found in last.values()), last
    assert len({tuple(found.step for found in evaluations) for evaluations in learnt.values()}) == 1, learnt
    assert last["torch_ddp"].step < 101
    for number in range(len(learnt["torch_ddp"])):
        assert spread(evaluations[number].value for evaluations in learnt.values()) <= 0.005, learnt
        assert spread(evaluations[number].loss for evaluations in learnt.values()) < 1e-4, learnt


def test_ner_on_real_text_has_the_same_score_in_every_backend(tmp_path: Path) -> None:
    if not WNUT.is_dir():
        pytest.skip(f"no {WNUT}: the real data sets are not part of the project (shared/data)")
    learnt = {backend: evaluations[-1] for backend, evaluations in learn(tmp_path, str(WNUT), REAL).items()}
    assert set(learnt) == set(WRAPPED)
    assert min(found.value for found in learnt.values()) > 0, learnt
    assert spread(found.value for found in learnt.values()) <= 0.005, learnt
    assert spread(found.loss for found in learnt.values()) < 1e-3, learnt
