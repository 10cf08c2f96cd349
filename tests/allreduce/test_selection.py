"""Which all-reduce is selected and how, and what a backend makes of what its library says; no rank is started."""

from __future__ import annotations

import msgspec
import pytest

from backends import _horovod_mpi, _nccl
from bench import catalog
from bench.launch.algorithms import algorithm_variables
from bench.launch.commands import environment
from bench.records import Trial

DDP = Trial(backend="torch_ddp", launcher="local")
HOROVOD = Trial(backend="torch_horovod", launcher="mpirun")


def asked(trial: Trial, **changes: object) -> str | None:
    return catalog.why_not_selectable(msgspec.structs.replace(trial, **changes))


@pytest.fixture(autouse=True)
def everything_installed_and_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "has_gpu", lambda: False)
    monkeypatch.setattr(catalog, "why_not_installed", lambda backend: None)
    monkeypatch.setattr(catalog, "why_no_launcher", lambda launcher: None)


@pytest.mark.parametrize("name", ["auto", "ring", "tree", "halving_doubling"])
def test_ddp_has_algorithms_of_its_own_on_cpus(name: str) -> None:
    assert asked(DDP, allreduce=name) is None


def test_what_cannot_be_selected_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(DDP, allreduce="star") == (
        "torch_ddp cannot select all-reduce star; it has auto, ring, tree, halving_doubling"
    )
    assert asked(Trial(backend="tf_mirrored"), allreduce="tree") == (
        "tf_mirrored cannot select all-reduce tree; it has auto"
    )
    monkeypatch.setattr(catalog, "has_gpu", lambda: True)
    assert asked(DDP, allreduce="tree") is None
    assert asked(DDP, allreduce="halving_doubling") == (
        "torch_ddp cannot select all-reduce halving_doubling; it has auto, ring, tree"
    )
    assert asked(HOROVOD, allreduce="ring") is None  # by NCCL
    assert asked(HOROVOD, allreduce="star") == ("torch_horovod cannot select all-reduce star; it has auto, ring, tree")


def test_horovod_selects_over_mpi_only() -> None:
    assert asked(HOROVOD, allreduce="recursive_doubling") is None
    assert asked(HOROVOD, allreduce="auto", launcher="horovodrun") is None
    assert asked(HOROVOD, allreduce="ring", launcher="horovodrun") == (
        "torch_horovod cannot select all-reduce ring; under the launcher horovodrun it has auto, "
        "under mpirun all of its algorithms"
    )


def test_the_ranks_are_told_the_numbers_that_open_mpi_has_for_an_algorithm() -> None:
    chosen = {"OMPI_MCA_coll": "^han,adapt", "OMPI_MCA_coll_tuned_use_dynamic_rules": "1"}
    assert algorithm_variables(HOROVOD) == {}
    assert algorithm_variables(msgspec.structs.replace(HOROVOD, allreduce="tree")) == {
        **chosen,
        "OMPI_MCA_coll_tuned_allreduce_algorithm": "2",
        "OMPI_MCA_coll_tuned_reduce_algorithm": "5",
        "OMPI_MCA_coll_tuned_bcast_algorithm": "6",
        "NCCL_ALGO": "allreduce:tree",
    }
    doubling = msgspec.structs.replace(HOROVOD, allreduce="recursive_doubling")
    assert (
        environment(doubling, {"OMPI_MCA_coll_tuned_allreduce_algorithm": "1"}).items()
        >= {
            **chosen,
            "OMPI_MCA_coll_tuned_allreduce_algorithm": "3",
        }.items()
    )


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"use_dynamic_rules": 1, "allreduce_algorithm": 4}, "ring"),
        ({"use_dynamic_rules": 1, "allreduce_algorithm": 3}, "recursive_doubling"),
        ({"use_dynamic_rules": 1, "allreduce_algorithm": 6}, "halving_doubling"),
        ({"use_dynamic_rules": 1, "allreduce_algorithm": 1}, "star"),
        ({"use_dynamic_rules": 1, "allreduce_algorithm": 2, "reduce_algorithm": 5, "bcast_algorithm": 6}, "tree"),
        ({"use_dynamic_rules": 1, "allreduce_algorithm": 2, "reduce_algorithm": 5, "bcast_algorithm": 1}, "unknown"),
        ({"use_dynamic_rules": 0, "allreduce_algorithm": 4}, "unknown"),
        ({"use_dynamic_rules": 1, "allreduce_algorithm": 0}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_an_algorithm_is_named_by_what_open_mpi_tells_back(parameters: dict[str, int], name: str) -> None:
    told = {f"coll_tuned_{each}": value for each, value in parameters.items()}
    found, evidence = _horovod_mpi.named(told)
    assert found == name
    assert name == "unknown" or f"coll_tuned_allreduce_algorithm {parameters['allreduce_algorithm']}" in evidence


def test_without_an_mpi_library_in_the_process_nothing_is_known() -> None:
    assert _horovod_mpi.mpi_algorithm()[0] == "unknown"


def test_nccl_is_believed_by_its_log_and_not_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines are those of NCCL 2.27's source; no GPU has been seen to write them."""
    monkeypatch.setenv("NCCL_ALGO", "allreduce:tree")
    line = "h0:1:2 [0] NCCL INFO {}: 4194304 Bytes -> Algo {} proto SIMPLE channel{{Lo..Hi}}={{0..1}}\n"
    tree, ring = line.format("AllReduce", "TREE"), line.format("AllReduce", "RING")
    assert _nccl.forced() == "tree"
    assert _nccl.algorithm_in(tree * 2 + line.format("Broadcast", "RING"))[0] == "tree"
    assert _nccl.algorithm_in(ring)[0] == "ring"
    assert _nccl.algorithm_in(ring + tree)[0] == "unknown"
    assert _nccl.algorithm_in("")[0] == "unknown"
