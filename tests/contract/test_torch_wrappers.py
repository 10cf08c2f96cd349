"""What only the PyTorch wrappers have."""

from __future__ import annotations

from typing import Any

import plans
import pytest

pytestmark = pytest.mark.slow


def needs(launch_refusal: Any, backend: str, launcher: str) -> None:
    reason = launch_refusal(backend, launcher)
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def small_buckets(launches: Any, launch_refusal: Any) -> Any:
    """The launch of torch_ddp under torchrun, which has small buckets."""
    needs(launch_refusal, "torch_ddp", "torchrun")
    return launches.under("torch_ddp", "torchrun")


def test_a_chosen_rendezvous_port_is_used(small_buckets: Any) -> None:
    if not small_buckets.private_network:
        pytest.skip("a private network namespace is not allowed here, and other ports may be taken")
    assert small_buckets.returncode == 0
    assert (small_buckets.folder / "rendezvous" / "torch_ddp_store").read_text() == "127.0.0.1:29871"


def test_buckets_are_those_that_ddp_reduces(launches: Any, small_buckets: Any) -> None:
    """Bytes as torch.profiler showed them: Gloo's all-reduces of one step over float32 vectors of these lengths / 4."""
    (small, _), (usual,) = small_buckets.of("few"), launches.get("torch_ddp", 1).of("adamw")
    small, usual = small["facts"], usual["facts"]
    assert small["settings"]["bucket_cap_bytes"] == 524_288
    assert usual["settings"]["bucket_cap_bytes"] == 26_214_400
    assert usual["settings"]["bucket_bytes"] == "1049328, 16684544"
    assert small["settings"]["bucket_bytes"] == "784112, 528896, 529408, 15891456"
    assert (small["buckets"], usual["buckets"]) == (4, 2)
    assert small["exchange_elements"] == usual["exchange_elements"] == 4_433_468


def test_horovod_issues_one_all_reduce_per_tensor(launches: Any, launch_refusal: Any) -> None:
    needs(launch_refusal, "torch_horovod", "horovodrun")
    for rank in launches.get("torch_horovod", 2).of("adamw"):
        assert rank["facts"]["settings"]["allreduces_issued"] == 46
        assert rank["facts"]["buckets"] is None


@pytest.mark.parametrize(
    ("backend", "launcher", "communication", "algorithm"),
    [
        ("torch_horovod", "horovodrun", "gloo", "ring"),
        ("torch_horovod", "mpirun", "mpi", "ring"),
        ("tf_horovod", "mpirun", "mpi", "tree"),
    ],
)
def test_horovod_says_what_carries_it(
    launches: Any, launch_refusal: Any, backend: str, launcher: str, communication: str, algorithm: str
) -> None:
    needs(launch_refusal, backend, launcher)
    under_mpi = launcher == "mpirun"
    launch = launches.under(backend, launcher) if under_mpi else launches.get(backend, 2)
    for rank in launch.of(plans.UNDER[backend, launcher][0] if under_mpi else "adamw"):
        assert rank["facts"]["settings"]["communication"] == communication
        assert rank["facts"]["algorithm"] == algorithm
        assert launcher != "mpirun" or rank["facts"]["algorithm_evidence"].startswith("read back from Open MPI")
