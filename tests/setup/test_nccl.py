"""Over which NCCL Horovod is built, found in planted folders: no GPU, toolkit or package of NVIDIA's is needed here."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from bench.setup import horovod_wheel, nccl

HEADER = "#define NCCL_MAJOR 2\n#define NCCL_MINOR 18\n#define  NCCL_PATCH 3\n"
NVCC = "nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release 13.0, V13.0.88"
NO_NCCL = "there is no NCCL, neither the system's nor PyPI's (nvidia-nccl-cu12 or -cu13)"


class Machine:
    """Folders of its own for programs, the system's headers and Python's packages."""

    def __init__(self, root: Path) -> None:
        self.root, self.packages = root, root / "site-packages"
        for folder in ("bin", "usr/include", "toolkit/bin", "toolkit/include"):
            (root / folder).mkdir(parents=True)
        self.packages.mkdir()

    def program(self, name: str, folder: str = "bin") -> None:
        path = self.root / folder / name
        path.write_text(f"#!/bin/sh\necho '{NVCC}'\n")
        path.chmod(0o755)

    def toolkit(self) -> None:
        self.program("nvcc", "toolkit/bin")
        (self.root / "toolkit" / "include" / "cuda_runtime.h").touch()

    def torch(self, cuda: str | None) -> None:
        self.package("torch", "2.13.0", {"torch/version.py": f"cuda: Optional[str] = {cuda!r}\nhip = None\n"})

    def nccl(self, name: str = "nvidia-nccl-cu13") -> None:
        files = {"nvidia/nccl/include/nccl.h": HEADER, "nvidia/nccl/lib/libnccl.so.2": ""}
        self.package(name, "2.29.7", files)

    def package(self, name: str, version: str, files: dict[str, str]) -> None:
        info = self.packages / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "RECORD").write_text("".join(f"{path},,\n" for path in files))
        for path, text in files.items():
            (self.packages / path).parent.mkdir(parents=True, exist_ok=True)
            (self.packages / path).write_text(text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine(tmp_path)
    for name in (*nccl.CUDA_HOMES, "HOROVOD_NCCL_HOME", "HOROVOD_NCCL_INCLUDE", "LDFLAGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(nccl, "SYSTEM_HOMES", (str(tmp_path / "usr"),))
    monkeypatch.setattr(nccl, "TOOLKITS", (str(tmp_path / "toolkit"),))
    monkeypatch.setattr(nccl, "DRIVER", tmp_path / "driver")
    finder = metadata.MetadataPathFinder.find_distributions
    monkeypatch.setattr(
        metadata.MetadataPathFinder,
        "find_distributions",
        lambda context: finder(metadata.DistributionFinder.Context(name=context.name, path=[str(made.packages)])),
    )
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(made.packages))
    yield made


def test_the_package_that_torch_brings_serves_where_the_system_has_no_nccl(machine: Machine) -> None:
    machine.toolkit()
    machine.torch("13.0")
    machine.nccl()
    assert nccl.why_no_gpu() is None
    assert nccl.gpu_operations() == "NCCL, nvidia-nccl-cu13 2.29.7 at $ORIGIN/../../nvidia/nccl/lib"
    assert nccl.cuda_release() == "13.0, V13.0.88"  # its first line, which names no version, would be any nvcc


def test_the_systems_nccl_comes_first_and_needs_no_variable(machine: Machine) -> None:
    machine.toolkit()
    machine.torch("13.0")
    machine.nccl()
    (machine.root / "usr" / "include" / "nccl.h").write_text(HEADER)
    assert nccl.gpu_operations() == "NCCL, the system's 2.18.3"
    assert "HOROVOD_NCCL_HOME" not in nccl.build_variables(machine.root / "cache")


def test_nccl_beside_the_toolkit_is_found_and_an_nvcc_that_is_a_script_elsewhere_does_not_hide_it(
    machine: Machine,
) -> None:
    """Horovod's own search goes by the folder of the nvcc on PATH, and fails."""
    machine.program("nvcc")
    machine.torch("13.0")
    assert nccl.why_no_gpu() == "there is no CUDA toolkit (nvcc and its headers)"
    machine.toolkit()
    assert nccl.why_no_gpu() == NO_NCCL
    (machine.root / "toolkit" / "include" / "nccl.h").write_text(HEADER)
    assert nccl.gpu_operations() == "NCCL, the system's 2.18.3"
    toolkit = str(machine.root / "toolkit")
    assert nccl.build_variables(machine.root / "cache") == {"HOROVOD_CUDA_HOME": toolkit, "CUDA_HOME": toolkit}


def test_without_what_a_gpu_build_needs_it_is_one_for_cpus_and_says_why(machine: Machine) -> None:
    assert nccl.why_no_gpu() == "there is no CUDA toolkit (nvcc and its headers)"
    machine.toolkit()
    assert nccl.why_no_gpu() == "there is no NVIDIA driver"
    machine.torch(None)
    machine.nccl()
    assert nccl.why_no_gpu() == "the installed torch is a build for CPUs"
    assert nccl.gpu_operations() is None


def test_a_package_for_another_cuda_than_torchs_is_not_taken(machine: Machine) -> None:
    machine.toolkit()
    machine.torch("13.0")
    machine.nccl("nvidia-nccl-cu12")
    assert nccl.why_no_gpu() == NO_NCCL


def test_the_package_gets_the_shape_in_which_horovods_search_finds_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice, because a build that failed is tried again."""
    machine.nccl()
    monkeypatch.setenv("LDFLAGS", "-Wl,-O1")
    for _ in range(2):
        found = nccl.build_variables(machine.root / "cache")
    home = machine.root / "cache" / "nccl"
    assert found == {
        "HOROVOD_NCCL_HOME": str(home),
        "HOROVOD_NCCL_LINK": "SHARED",
        "LDFLAGS": "-Wl,-O1 -Wl,-rpath,$ORIGIN/../../nvidia/nccl/lib",
    }
    package = machine.packages / "nvidia" / "nccl"
    assert (home / "lib" / "libnccl.so").readlink() == package / "lib" / "libnccl.so.2"
    assert (home / "include" / "nccl.h").readlink() == package / "include" / "nccl.h"


def test_a_torch_for_cuda_without_cudas_compiler_is_told_what_horovod_lacks(machine: Machine) -> None:
    """Horovod's own build would say that CMake did not find CUDAToolkit."""
    machine.torch("13.0")
    for name in ("g++", "make"):
        machine.program(name)
    with pytest.raises(horovod_wheel.SetupError) as refused:
        horovod_wheel.require_tools()
    assert str(refused.value) == (
        "Horovod for this torch, which is built for CUDA 13.0, needs the CUDA toolkit, and neither PATH nor CUDA_HOME "
        "leads to one; install it, or torch's build for CPUs"
    )
