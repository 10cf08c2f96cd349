"""What only the PyTorch wrappers have."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import msgspec
import plans
import pytest

from bench.records import Trial

pytestmark = pytest.mark.slow


def needs(launch_refusal: Any, backend: str, launcher: str) -> None:
    reason = launch_refusal(backend, launcher)
    if reason is not None:
        pytest.skip(reason)


def test_a_rendezvous_port_in_use_is_named_with_the_remedy(launches: Any, launch_refusal: Any, start: Any) -> None:
    needs(launch_refusal, "torch_ddp", "torchrun")
    plan = launches.plan("few", "torch_ddp", 1, {})
    trial = msgspec.structs.replace(msgspec.convert(plan["trial"], Trial), launcher="local")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        launch = start(trial, [plan], launches.folder(), rendezvous_port=port, private=False)
    (rank,) = launch.ranks
    expected = (
        f"bench.errors.TrialError: rendezvous port {port} on {socket.gethostname()} is already in use; "
        "choose another `rendezvous_port` or 0 for any free one"
    )
    assert rank["errors"]["launch"].splitlines()[-1] == expected
    assert launch.returncode == 1
    assert launch.left == []


@pytest.fixture(scope="module")
def small_buckets(launches: Any) -> tuple[Any, Path, int]:
    """One rank of torch_ddp with small buckets and a rendezvous port of its own: (launch, folder, port)."""
    import launches as contract

    needs(contract.refusal, "torch_ddp", "torchrun")
    plan = launches.plan("few", "torch_ddp", 1, {"bucket_cap_mb": 0.5})
    trial = msgspec.structs.replace(msgspec.convert(plan["trial"], Trial), launcher="local")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    folder = launches.folder()
    return contract.start(trial, [plan], folder, rendezvous_port=port), folder, port


def test_a_chosen_rendezvous_port_is_used(small_buckets: tuple[Any, Path, int]) -> None:
    launch, folder, port = small_buckets
    assert launch.returncode == 0
    assert (folder / "rendezvous" / "torch_ddp_store").read_text() == f"127.0.0.1:{port}"


def test_buckets_are_those_that_ddp_reduces(launches: Any, small_buckets: tuple[Any, Path, int]) -> None:
    """Bytes as torch.profiler showed them: Gloo's all-reduces of one step over float32 vectors of these lengths / 4."""
    (small,), (usual,) = small_buckets[0].of("few"), launches.get("torch_ddp", 1).of("adamw")
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
    name = plans.UNDER.get((backend, launcher), "adamw")
    scenarios = (name,) if launcher == "mpirun" else ()
    for rank in launches.get(backend, 2, launcher, scenarios).of(name):
        assert rank["facts"]["settings"]["communication"] == communication
        assert rank["facts"]["algorithm"] == algorithm
        assert launcher != "mpirun" or rank["facts"]["algorithm_evidence"].startswith("read back from Open MPI")
