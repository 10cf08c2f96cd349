"""What is not selectable on this machine, or by this backend, says so in a row; and the studies for GPU nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import catalog, doctor, study
from bench.launch.algorithms import algorithm_variables
from bench.launch.commands import allowed
from bench.records import Trial

ROOT = Path(__file__).parents[2]


def why_not(backend: str = "torch_bare", **changes: Any) -> str | None:
    trial = Trial(backend=backend, replicas=1, launcher="local")
    return catalog.why_not_selectable(msgspec.structs.replace(trial, **changes))


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "has_gpu", lambda: False)


def test_without_a_gpu_what_needs_one_is_not_selectable_and_says_why(no_gpu: None) -> None:
    assert why_not(device="gpu") == "it asks for a GPU, and there is none here"
    assert why_not("torch_ddp", options={"nccl_protocol": "LL"}) == (
        "nccl_protocol is a choice of NCCL, and there is no GPU here"
    )
    assert why_not("null", device="gpu") == "null computes on no GPU"
    assert why_not("null", preset="tuned") == "null cannot select preset tuned; it has plain"
    (found,) = doctor.devices()
    assert found.problem == (
        "no NVIDIA GPU here (no /dev/nvidia0): rows with `device: gpu` or `compute: tf32` are not selectable"
    )


@pytest.mark.parametrize("name", ["gpu", "gpu_batch"])
def test_the_studies_for_gpus_are_all_rows_with_a_reason_where_there_is_none(no_gpu: None, name: str) -> None:
    found = study.load(ROOT / "studies" / f"{name}.yaml")
    assert found.trials == []
    assert len(found.rejected) >= 16
    assert {row.trial.device for row in found.rejected} == {"gpu"}
    assert {row.trial.preset for row in found.rejected} == {"plain", "tuned"}


def test_the_protocol_and_the_order_of_devices_reach_the_ranks() -> None:
    trial = Trial(backend="torch_ddp", allreduce="tree", options={"nccl_protocol": "LL128"})
    assert algorithm_variables(trial) == {"NCCL_ALGO": "allreduce:tree", "NCCL_PROTO": "LL128"} | {
        name: value for name, value in algorithm_variables(trial).items() if name.startswith("OMPI_")
    }
    given = {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert allowed(given) == given


def test_a_trial_that_leaves_the_newer_keys_alone_keeps_the_id_that_it_had() -> None:
    assert Trial(backend="torch_ddp").id == "torch_ddp-2-b5f914d3"
    others = [{"preset": "tuned"}, {"device": "gpu"}, {"share_devices": True}, {"probe": True}]
    assert len({Trial(backend="torch_ddp", **each).id for each in others} - {"torch_ddp-2-b5f914d3"}) == 4  # type: ignore[arg-type]
