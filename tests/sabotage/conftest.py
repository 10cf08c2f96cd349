"""Launches sabotaged ranks and gives the tests what `paceline verify` says of them beside two sound stacks."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from bench import catalog, verify
from bench.agreement import Rehearsed
from bench.launch import commands
from bench.launch.commands import Cluster, Command
from bench.launch.execute import Ended
from bench.launching import Launched
from bench.records import Assignment, LossScale, Optimizer, Trial, Verified, Workload
from bench.run import Observer, prepare

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STEPS = 6
TIMEOUT_S = 900.0

SOUND = "sound"
# BERT-tiny with fewer words, so that writing and comparing tensors takes no time.
CONFIG = {
    "model_type": "bert", "vocab_size": 2_048, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 512, "max_position_embeddings": 64,
}  # fmt: skip


class Sabotage:
    """`fault` by name to the outcome of the faulty trial; the launches are made when the first test asks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "model").mkdir()
        (folder / "model" / "config.json").write_text(json.dumps(CONFIG))
        # The work of every trial here: 8 samples a step, split as each trial says.
        self.work = Workload(model=str(folder / "model"), sequence_length=16, batch_per_replica=4)

    def assignment(self, trial: Trial, name: str) -> Assignment:
        """Of one launch, in a folder of its own."""
        prepared = prepare(trial, self._folder / "runs", Observer())
        ranks, local_replicas = commands.ranks(trial)
        folder = self._folder / name.replace(" ", "-")
        folder.mkdir()
        assigned = Assignment(
            trial=trial, trial_id=f"{trial.id}-{name}", repeat=0, ranks=ranks, local_replicas=local_replicas,
            data=str(prepared.data), checkpoint=str(prepared.checkpoint), verify_steps=STEPS,
        )  # fmt: skip
        (folder / "trial.json").write_bytes(msgspec.json.encode(assigned))
        return assigned

    def launch(self, trials: Sequence[tuple[str, Trial]], faults: bool = True) -> dict[str, Rehearsed]:
        """Of one backend, all in one launch of its ranks, one after the other."""
        assigned = {name: self.assignment(trial, name) for name, trial in trials}
        folders = {name: self._folder / name.replace(" ", "-") for name in assigned}
        together = self._folder / f"together-{trials[0][0].replace(' ', '-')}"
        together.mkdir()
        plan = [
            (str(folder), name if faults and not name.startswith(SOUND) else None) for name, folder in folders.items()
        ]
        (together / "faults.json").write_text(json.dumps(plan))
        built = commands.commands(trials[0][1], together, sys.executable, Cluster(), os.environ)
        run([driver(command, together) for command in built], together)
        return {
            name: verify.gathered(assigned[name], folders[name], Launched([], "", Ended(0, None, 0), None))
            for name in assigned
        }

    @functools.cached_property
    def sound(self) -> list[Rehearsed]:
        """One device without a wrapper, and DDP with other buckets."""
        whole = msgspec.structs.replace(self.work, batch_per_replica=8)
        bare = Trial(backend="torch_bare", replicas=1, launcher="local", workload=whole)
        return [*self.launch([(f"{SOUND} bare", bare)]).values(), self.torch[f"{SOUND} buckets"]]

    @functools.cached_property
    def torch(self) -> dict[str, Rehearsed]:
        """Every fault of torch_ddp, and a sound launch."""
        trial = Trial(backend="torch_ddp", launcher="local", workload=self.work)
        names = json.loads(
            subprocess.run(
                [sys.executable, "-c", "import json, rank; print(json.dumps(list(rank.FAULTS)))"],
                cwd=HERE, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
            ).stdout
        )  # fmt: skip
        trials = [(name, trial) for name in names if not name.startswith("tf ")]
        changed = {
            "mean of means": {"workload": msgspec.structs.replace(self.work, accumulation=2)},
            "float32": {"compute": "float16"},
            "clip norm": {"optimizer": Optimizer(clip_norm=0.5)},
            "adafactor": {"optimizer": Optimizer(name="adafactor")},
            "skipped in silence": {"compute": "float16", "loss_scale": LossScale(initial=1024.0)},
            "wrong loss": {"compute": "bfloat16"},
            "other all-reduce": {"allreduce": "tree"},
        }
        trials = [(name, msgspec.structs.replace(trial, **changed.get(name, {}))) for name, trial in trials]
        sound = {
            "buckets": {"options": {"bucket_cap_mb": 1}},
            "float16": {"compute": "float16", "loss_scale": LossScale(initial=1024.0)},
            "overflow": {"compute": "float16", "loss_scale": LossScale(initial=2.0**20)},
            "bfloat16": {"compute": "bfloat16", "wire": "bfloat16"},
        }
        trials += [(f"{SOUND} {name}", msgspec.structs.replace(trial, **change)) for name, change in sound.items()]
        return self.launch(trials)

    def verified(self, faulty: Rehearsed) -> Verified:
        """What verify says of it, beside the two sound launches; of those nothing may fail."""
        members = [faulty, *self.sound]
        found = {each.trial_id: each for each in members}
        first, *others = verify.judge([each.assignment for each in members], dict(found), "")
        for other in others:
            assert [gate.sentence for gate in other.gates if gate.holds is False] == []
        return first


def driver(command: Command, folder: Path) -> Command:
    """The same command with our rank in place of the worker."""
    worker = (sys.executable, "-P", "-m", "bench.worker", str(folder))
    assert command.argv[-len(worker) :] == worker
    argv = (*command.argv[: -len(worker)], sys.executable, "-P", str(HERE / "rank.py"), str(folder))
    return Command(argv, {**command.environment, "PYTHONPATH": str(ROOT)})


def run(built: Sequence[Command], folder: Path) -> None:
    """All to their end; nothing of what was started is left."""
    with (folder / "launcher.txt").open("wb") as log:
        processes = [
            psutil.Popen(
                command.argv, cwd=folder, env=dict(command.environment), stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT,
            )
            for command in built
        ]  # fmt: skip
        try:
            codes = [process.wait(TIMEOUT_S) for process in processes]
        finally:
            for process in processes:
                if process.poll() is None:
                    for member in [process, *process.children(recursive=True)]:
                        member.kill()
                    process.wait()
    logs = [path.read_text(errors="replace")[-3000:] for path in folder.parent.glob("*/*.error")]
    assert set(codes) == {0}, "\n".join([(folder / "launcher.txt").read_text(errors="replace")[-3000:], *logs])


@pytest.fixture(scope="session")
def sabotage(tmp_path_factory: pytest.TempPathFactory) -> Sabotage:
    return Sabotage(tmp_path_factory.mktemp("sabotage"))


@pytest.fixture
def failures(sabotage: Sabotage) -> Any:
    """Fault of torch_ddp to the sentences of the gates that fail, by gate."""
    reason = catalog.why_not_installed("torch_ddp")
    if reason is not None:
        pytest.skip(reason)
    return lambda fault: by_gate(sabotage.verified(sabotage.torch[fault]))


def by_gate(verified: Verified) -> dict[str, str]:
    """Sentences of what fails."""
    return {gate.gate: gate.sentence for gate in verified.gates if gate.holds is False}


@pytest.fixture
def tf_failures(sabotage: Sabotage) -> Any:
    """(backend, fault) to the same, of one launch alone."""

    def of(backend: str, fault: str) -> dict[str, str]:
        reason = catalog.why_not_installed(backend) or catalog.why_no_launcher("horovodrun")
        if reason is not None:
            pytest.skip(reason)
        trial = Trial(backend=backend, launcher=catalog.entry(backend).launchers[0], workload=sabotage.work)
        faulty = sabotage.launch([(fault, trial)])[fault]
        (verified,) = verify.judge([faulty.assignment], {faulty.trial_id: faulty}, "")
        return by_gate(verified)

    return of
