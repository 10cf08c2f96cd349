"""On a real backend: a sleep in the exchange, in one rank's compute or in the input moves its own part, and no other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench import assemble, collect, run, storage, study
from bench.launch.commands import Cluster
from bench.launch.execute import Ended
from bench.records import Assignment
from reports.ladder import Climb, climbs
from reports.load import load
from reports.table import rows

RANK = Path(__file__).with_name("rank.py")
ROOT = RANK.parents[2]
SLEEP_MS = 100.0
INPUT_MS = {"plain": 0.0, "exchange": 0.0, "compute": 0.0, "input": SLEEP_MS}
CONFIG = {
    "model_type": "bert", "vocab_size": 1_024, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 128, "max_position_embeddings": 32,
}  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.quiet]


@pytest.fixture(scope="module")
def climbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Climb]:
    """Per variant, the climb of its one launch; two processes make all the launches, one after the other."""
    pytest.importorskip("torch")
    runs = tmp_path_factory.mktemp("runs")
    made = {variant: begin(variant, input_ms, runs) for variant, input_ms in INPUT_MS.items()}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen([sys.executable, "-P", str(RANK), str(runs / "launches"), str(rank)], env=environment)
        for rank in range(2)
    ]
    try:
        assert [rank.wait(timeout=300) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    return {variant: climb(*of_variant) for variant, of_variant in made.items()}


def begin(variant: str, input_ms: float, runs: Path) -> tuple[Path, Path, Assignment]:
    """A run of one trial; its one launch will lie in a folder of the variant's name."""
    model, path, launch = runs / "model", runs / f"{variant}.yaml", runs / "launches" / variant
    launch.mkdir(parents=True)
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text(json.dumps(CONFIG))
    asked = {
        "name": variant, "repeats": 1, "bare": False, "backend": "torch_ddp", "launcher": "local", "replicas": 2,
        "workload": {
            "model": str(model), "sequence_length": 16, "batch_per_replica": 2, "input_delay_ms": input_ms,
        },
        # Eight that count are needed to call a rank chronic, however many the warm-up takes.
        "timing": {"warmup_windows": 1, "windows": 16, "steps_per_window": 1, "local_windows": True},
    }  # fmt: skip
    path.write_text(json.dumps(asked))
    folder = run.begin(study.load(path), runs, False, Cluster(), run.Observer())
    (trial,) = assemble.read_plan(folder).trials
    prepared = run.prepare(trial, runs, run.Observer())
    assignment = Assignment(
        trial=trial, trial_id=trial.id, repeat=0, ranks=2, local_replicas=1, data=str(prepared.data),
        checkpoint=str(prepared.checkpoint),
    )  # fmt: skip
    (launch / "trial.json").write_bytes(msgspec.json.encode(assignment))
    (folder / trial.id).mkdir()
    (folder / trial.id / "0").symlink_to(launch)
    return folder, launch, assignment


def climb(folder: Path, launch: Path, assignment: Assignment) -> Climb:
    repeat = collect.collect(launch, assignment, [], "", Ended(0, None, 1))
    assert repeat.error is None
    storage.write_atomically(launch / "repeat.json", storage.seal(repeat))
    assemble.assemble(folder)
    loaded = load(folder)
    (found,) = climbs(loaded, rows(loaded))
    return found


def moved(climbed: dict[str, Climb], variant: str) -> dict[str, bool]:
    """Which parts are longer than in the plain launch by more than half of the sleep; none may be as much shorter."""
    plain, slow = milliseconds(climbed["plain"]), milliseconds(climbed[variant])
    assert all(slow[part] - plain[part] > -0.5 * SLEEP_MS for part in plain), (plain, slow)
    return {part: slow[part] - plain[part] > 0.5 * SLEEP_MS for part in plain}


def milliseconds(found: Climb) -> dict[str, float]:
    ladder = found.ladder
    return {"local": ladder.local.point, "input": ladder.waited.ms.point, "exposed": ladder.exposed.ms.point}


def test_a_sleep_in_the_exchange_moves_exposed_communication_only(climbed: dict[str, Climb]) -> None:
    assert moved(climbed, "exchange") == {"local": False, "input": False, "exposed": True}


def test_a_sleep_in_one_ranks_compute_moves_contention_only_and_names_the_rank(climbed: dict[str, Climb]) -> None:
    """Contention is the local step less a bare one."""
    assert moved(climbed, "compute") == {"local": True, "input": False, "exposed": False}
    ready = climbed["compute"].readiness
    assert ready is not None and ready.chronic == (1,)
    assert ready.late_ms[1] > 0.5 * SLEEP_MS


def test_a_sleep_in_data_loading_moves_the_input_wait_only(climbed: dict[str, Climb]) -> None:
    assert moved(climbed, "input") == {"local": False, "input": True, "exposed": False}


def test_the_exchange_was_timed_alone_and_its_sums_are_exact(climbed: dict[str, Climb]) -> None:
    found = climbed["plain"]
    assert found.no_standalone is None and found.standalone is not None and found.standalone.point > 0
