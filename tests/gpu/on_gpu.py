"""What a GPU shows, part by part, each with a record under docs/proof/gpu:

    python -P tests/gpu/on_gpu.py mfu trainer overhead curves graphs probe horovod

mfu       matrix products per second over the datasheet's peak: BERT-large, bfloat16, `tuned`, 512 and 128 tokens
trainer   the same model, batch and precision with transformers' Trainer as it is by default (needs `accelerate`)
overhead  the harness against a loop written by hand: BERT-base, 64 samples of 128 tokens
curves    the losses of float32, tf32, float16 and bfloat16 over 100 steps, and the gate over them
graphs    `tuned` with CUDA graphs and without: speed of a small batch, losses, microbatches, DDP, dropout, memory
probe     the measured peak of each precision, and what it is of the datasheet's
horovod   over which NCCL Horovod would be built here, or why for CPUs

The two sides of a comparison take turns in one process; a ratio is the median over the rounds, with the interval that the
sign test gives. `--any-device --model tiny --length 32 --batch 4 --rounds 3` tries the script where there is no GPU: it
then prints, and records nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench import doctor
from bench.catalog import version

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.gpu import features  # noqa: E402
from tests.gpu.session import STEPS, Json, Session, asked, rounds  # noqa: E402

RECORDS = ROOT / "docs" / "proof" / "gpu"
PACKAGES = ("torch", "transformers", "accelerate", "nvidia-ml-py", "numpy")


# ---- parts -----------------------------------------------------------------------------------------------------


def mfu(given: argparse.Namespace, folder: Path) -> Json:
    """Per length: the share of the peak, window by window."""
    found: Json = {}
    for length, batch in ((512, 32), (128, 128)) if given.length is None else ((given.length, given.batch),):
        own = argparse.Namespace(**{**vars(given), "length": length, "batch": batch, "model": given.model or "large"})
        session = Session(asked(own, preset="tuned"), folder / str(length))
        windows = [session.window() for _ in range(given.rounds)]
        rates = [each.flops_executed / each.duration_ns * 1e9 for each in windows]
        settings = session.backend.facts().settings
        session.stop()
        found[str(length)] = {
            "batch": batch,
            "flop_per_second": rates,
            "samples_per_second": [each.samples / each.duration_ns * 1e9 for each in windows],
            "peak": session.peak,
            "mfu": statistics.median(rates) / session.peak if session.peak else None,
            "settings": settings,
            "devices": [msgspec.to_builtins(device) for device in session.devices],
        }
    return found


def trainer(given: argparse.Namespace, folder: Path) -> Json:
    """Per model: `tuned` against the Trainer's defaults."""
    found: Json = {}
    for model, batch in (("large", 64), ("base", 128)) if given.model is None else ((given.model, given.batch),):
        own = argparse.Namespace(**{**vars(given), "model": model, "batch": batch, "length": given.length or 128})
        session = Session(asked(own, preset="tuned"), folder / model)
        theirs = trainer_rate(session, own, folder / model)
        theirs()
        found[model] = {"batch": batch, "length": own.length, **rounds(given.rounds, session.rate, theirs)}
        session.stop()
    return found


def trainer_rate(session: Session, given: argparse.Namespace, folder: Path) -> Callable[[], float]:
    """Samples per second of STEPS steps of a Trainer that is told the precision, the batch and nothing else that could
    change its speed. Its loss is the model's own, over all positions, as a quick start has it."""
    import transformers

    model = transformers.BertForPreTraining.from_pretrained(session.checkpoint, local_files_only=True)
    samples = [sample for step in range(STEPS + 5) for sample in pieces(session.batches.batch(step).arrays)]
    if len(session.devices) > 1:
        raise SystemExit("trainer: it would take all GPUs; show it one (CUDA_VISIBLE_DEVICES=0)")
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "trainer"), per_device_train_batch_size=given.batch, max_steps=STEPS + 5,
        bf16=True, report_to=[], save_strategy="no", disable_tqdm=True, use_cpu=not session.devices,
    )  # fmt: skip
    clock: list[float] = []

    class Marks(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step in (5, STEPS + 5):
                session.backend.fence()
                clock.append(time.perf_counter())

    made = transformers.Trainer(model=model, args=arguments, train_dataset=samples, callbacks=[Marks()])

    def rate() -> float:
        clock.clear()
        made.train()
        return float(given.batch * STEPS / (clock[1] - clock[0]))

    return rate


def pieces(arrays: Any) -> list[Json]:
    """The samples of a batch as transformers' BertForPreTraining takes them."""
    samples = []
    for place in range(arrays["input_ids"].shape[2]):
        own = {name: array[0, 0, place] for name, array in arrays.items()}
        labels = np.full(own["input_ids"].shape, -100, np.int64)
        used = own["masked_weights"] > 0
        labels[own["masked_positions"][used]] = own["masked_ids"][used]
        kept = {name: own[name].astype(np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
        samples.append({**kept, "labels": labels, "next_sentence_label": int(own["next_sentence_labels"])})
    return samples


def overhead(given: argparse.Namespace, folder: Path) -> Json:
    """`plain` under the harness against the same step in a loop by hand, its batch already on the device."""
    own = argparse.Namespace(
        **{**vars(given), "model": given.model or "base", "batch": given.batch or 64, "length": given.length or 128}
    )
    session = Session(asked(own), folder)
    step = by_hand(session)
    seconds = lambda: session.timed(lambda: [step() for _ in range(STEPS)])  # noqa: E731
    seconds()
    return rounds(given.rounds, session.rate, lambda: own.batch * STEPS / seconds())


def by_hand(session: Session) -> Callable[[], None]:
    import torch

    from backends._torch_network import Network, load_model, microbatches
    from backends._torch_optimizer import build_optimizer

    device = session.backend.device
    model = load_model("pretraining", session.checkpoint).to(device)
    network = Network(model, "pretraining", lambda: torch.autocast(device.type, torch.bfloat16))
    optimizer = build_optimizer(session.trial.optimizer, model.named_parameters())
    first = session.batches.batch(0)
    (inputs,) = microbatches(first.arrays, device)
    scales = tuple(1.0 / first.global_weights[head.name] for head in network.heads)

    def step() -> None:
        optimizer.zero_grad()
        network(inputs, scales)[0].backward()
        optimizer.step()

    return step


def curves(given: argparse.Namespace, folder: Path) -> Json:
    """100 steps in each precision through `paceline run`; the gate's own words."""
    computes = ["float32", "bfloat16"] if given.any_device else ["float32", "tf32", "float16", "bfloat16"]
    study = folder / "curves.yaml"
    study.write_text(json.dumps({
        "name": "curves", "repeats": 1, "bare": False, "device": "any" if given.any_device else "gpu",
        "workload": {"model": given.model or "base", "sequence_length": given.length or 128,
                     "batch_per_replica": given.batch or 32},
        "timing": {"warmup_windows": 1, "windows": 9, "steps_per_window": 10}, "launcher": "local", "replicas": 1,
        "matrix": {"backend": ["torch_bare"], "compute": computes},
    }))  # fmt: skip
    argv = [sys.executable, "-P", "-m", "bench", "run", str(study), "--runs", str(folder)]
    subprocess.run(argv, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    (result,) = (json.loads(path.read_bytes()) for path in folder.glob("curves-*/result.json"))
    losses = {trial["trial"]["compute"]: trial["repeats"][0]["losses"] for trial in result["trials"]}
    return {"gates": [gate for gate in result["gates"] if "loss" in gate["gate"]], "losses": losses}


PARTS: dict[str, Callable[[argparse.Namespace, Path], Json]] = {
    "mfu": mfu, "trainer": trainer, "overhead": overhead, "curves": curves,
    "graphs": features.graphs, "probe": features.probe, "horovod": features.horovod,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=list(PARTS))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--any-device", action="store_true")
    for name, kind in (("--model", str), ("--length", int), ("--batch", int)):
        parser.add_argument(name, type=kind)
    given = parser.parse_args()
    for name in given.parts:
        with tempfile.TemporaryDirectory() as scratch:
            found = PARTS[name](given, Path(scratch))
        packages = {each: version(each) for each in PACKAGES}
        devices = [each.detail or each.problem for each in doctor.devices()]
        record = {
            "part": name, "devices": devices, "python": platform.python_version(), "packages": packages, "found": found,
        }  # fmt: skip
        print(json.dumps(record, indent=1)[:4000])
        if not given.any_device:
            RECORDS.mkdir(parents=True, exist_ok=True)
            (RECORDS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
