from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from bench.setup import horovod_wheel
from bench.setup.lock import blocks, cpu_lock, wanted

ROOT = Path(__file__).resolve().parents[2]
LOCKS = {path.stem: path.read_text() for path in sorted((ROOT / "locks").glob("*.txt"))}
PARTS = wanted(ROOT / "pyproject.toml")


def pins(lock: str) -> dict[str, Requirement]:
    found = (Requirement(block.split("\\")[0]) for block in blocks(LOCKS[lock]).values())
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def version(requirement: Requirement) -> Version:
    (specifier,) = requirement.specifier
    assert specifier.operator == "=="
    return Version(specifier.version)


def test_there_is_a_lock_for_each_part_and_no_other() -> None:
    assert sorted(LOCKS) == ["core", "dev", "horovod", "horovod-build", "tensorflow", "torch", "torch-cpu"]
    assert sorted(PARTS) == ["core", "dev", "horovod-build", "tensorflow", "torch"]


@pytest.mark.parametrize(("lock", "part"), [*((name, name) for name in PARTS), ("torch-cpu", "torch")])
def test_every_requirement_of_pyproject_is_pinned_within_its_range(lock: str, part: str) -> None:
    pinned = pins(lock)
    for text in PARTS[part]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(version(pinned[canonicalize_name(requirement.name)])), text


def test_no_extra_that_the_set_up_installs_is_without_a_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    by_hand = {"gpu", "mlflow", "tensorboard", "wandb"}  # for those who ask for them, with pip
    assert sorted(set(project["optional-dependencies"]) - by_hand) == ["dev", "horovod", "tensorflow", "torch"]


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_holds_an_index_or_an_address(lock: str) -> None:
    assert not re.search(r"://|--index|--extra|--find-links|--trusted| @ ", LOCKS[lock])


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash(lock: str) -> None:
    for name, block in blocks(LOCKS[lock]).items():
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), name


def test_a_package_has_one_version_in_all_locks() -> None:
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, requirement in pins(lock).items():
            versions.setdefault(name, set()).add(version(requirement).public)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_complete_because_pip_is_told_not_to_look_for_more(lock: str) -> None:
    pinned = pins(lock)
    if lock == "horovod":
        pinned |= pins("horovod-build") | pins("core")
    for name, requirement in list(pinned.items()):
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            needed = [Requirement(text) for text in metadata.requires(name) or ()]
        except metadata.PackageNotFoundError:
            continue
        for need in needed:
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert canonicalize_name(need.name) in pinned, f"{name} needs {need}"


def test_the_cpu_lock_has_the_cpu_build_of_the_same_torch_and_nothing_of_cuda() -> None:
    cpu, cuda = pins("torch-cpu"), pins("torch")
    assert str(cpu["torch"].specifier) == f"{cuda['torch'].specifier}+cpu"
    assert not [name for name in cpu if name.startswith(("nvidia-", "cuda-", "triton"))]
    assert [name for name in cuda if name not in cpu and not name.startswith(("nvidia-", "cuda-", "triton"))] == []


def test_the_hash_of_a_cpu_wheel_found_earlier_is_kept_when_another_platform_regenerates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.setup.lock.fetch_cpu_hash", lambda version: "b" * 64)
    torch = {"torch": "torch==2.0 \\\n    --hash=sha256:" + "c" * 64 + "\n", "nvidia-x": "nvidia-x==1\n"}
    text = cpu_lock(torch, "torch==2.0+cpu \\\n    --hash=sha256:" + "a" * 64 + "\n")
    assert blocks(text) == {
        "torch": f"torch==2.0+cpu \\\n    --hash=sha256:{'a' * 64} \\\n    --hash=sha256:{'b' * 64}\n"
    }
    assert "a" * 64 not in cpu_lock(torch, text.replace("torch==2.0+cpu", "torch==1.9+cpu"))


def test_the_horovod_source_is_the_version_that_the_edits_are_for() -> None:
    assert str(pins("horovod")["horovod"].specifier) == f"=={horovod_wheel.VERSION}"
