"""Whether Horovod can be built for GPUs here, and over which NCCL: the system's, else that of the PyPI package.

The package is a part of torch's own builds for CUDA: one library serves both. Standard library only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

DRIVER = Path("/proc/driver/nvidia/version")
CUDA_HOMES = ("HOROVOD_CUDA_HOME", "CUDA_HOME", "CUDA_PATH")
TOOLKITS = ("/usr/local/cuda",)
TOOLKIT_PARTS = ("bin/nvcc", "include/cuda_runtime.h")
SYSTEM_HOMES = ("/usr", "/usr/local")
PACKAGE = re.compile(r"nvidia[-_]nccl[-_]cu(\d+)")
LIBRARY = "libnccl.so.2"


class Nccl(NamedTuple):
    """`told` names it and its version. `library` None: the system's, which Horovod's own search finds."""

    told: str
    header: Path
    library: Path | None = None


def gpu_operations() -> str | None:
    """NCCL, and which; None: Horovod is built for the CPU."""
    found = find()
    return f"NCCL, {found.told}" if found and why_no_gpu() is None else None


def why_no_gpu() -> str | None:
    """Why Horovod is built for the CPU, as one clause; None where it is not."""
    cuda = torch_cuda()
    if toolkit() is None:
        return "there is no CUDA toolkit (nvcc and its headers)"
    if cuda == "":
        return "the installed torch is a build for CPUs"
    if cuda is None and not DRIVER.exists():
        return "there is no NVIDIA driver"
    return None if find() else "there is no NCCL, neither the system's nor PyPI's (nvidia-nccl-cu12 or -cu13)"


def compiles_cuda() -> bool:
    """Whether any of Horovod is built with the toolkit: beside a torch for CUDA also without NCCL."""
    return bool(gpu_operations() or torch_cuda())


def toolkit() -> Path | None:
    """CUDA's, with compiler and headers. An nvcc on PATH may be a script elsewhere, beside which nothing is found."""
    on_path = shutil.which("nvcc")
    beside = [str(Path(on_path).resolve().parents[1])] if on_path else []
    homes = [Path(home) for home in (*_set(CUDA_HOMES), *beside, *TOOLKITS)]
    return next((home for home in homes if all((home / part).is_file() for part in TOOLKIT_PARTS)), None)


def cuda_release() -> str | None:
    """Of the compiler, as "13.0, V13.0.88"."""
    home = toolkit()
    if home is None:
        return None
    told = subprocess.run([home / "bin" / "nvcc", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"release (.+)", told)
    return found[1] if found else None


def torch_cuda() -> str | None:
    """The CUDA version that the installed torch is built for, as "13.0"; "": it is for CPUs; None: no torch is here."""
    try:
        text = Path(str(metadata.distribution("torch").locate_file("torch/version.py"))).read_text()
    except (metadata.PackageNotFoundError, OSError):
        return None
    found = re.search(r"""^cuda\b.*= *['"]([\d.]+)['"]""", text, re.MULTILINE)
    return found[1] if found else ""


def find() -> Nccl | None:
    """The system's, in the order of Horovod's own search; else the package's."""
    beside = [str(home)] if (home := toolkit()) else []
    homes = [*_set(["HOROVOD_NCCL_HOME", *CUDA_HOMES]), *beside, *SYSTEM_HOMES]
    for folder in (*_set(["HOROVOD_NCCL_INCLUDE"]), *(f"{each}/include" for each in homes)):
        header = Path(folder, "nccl.h")
        if header.is_file():
            return Nccl(f"the system's {_version(header)}", header)
    return _packaged()


def _packaged() -> Nccl | None:
    """Of an installed nvidia-nccl-cu*; torch's CUDA decides which, where there is a torch."""
    wanted = (torch_cuda() or "").partition(".")[0]
    for package in metadata.distributions():
        name = PACKAGE.fullmatch(package.metadata["Name"] or "")
        if name is None or (wanted and name[1] != wanted):
            continue
        files = {file.name: Path(str(package.locate_file(file))) for file in package.files or ()}
        if "nccl.h" in files and LIBRARY in files:
            told = f"{name[0]} {package.version} at {runpath(files[LIBRARY])}"
            return Nccl(told, files["nccl.h"], files[LIBRARY])
    return None


def _set(names: list[str] | tuple[str, ...]) -> list[str]:
    """The values of those variables that have one."""
    return [value for name in names if (value := os.environ.get(name))]


def _version(header: Path) -> str:
    """ "2.27.3", as nccl.h defines it."""
    text = header.read_text(errors="replace")
    found = [re.search(rf"#define\s+NCCL_{part}\s+(\d+)", text) for part in ("MAJOR", "MINOR", "PATCH")]
    return ".".join(each[1] if each else "?" for each in found)


def runpath(library: Path) -> str:
    """Where Horovod's own libraries find NCCL's when no framework has loaded it before, wherever the venv lies."""
    packages = Path(sysconfig.get_path("platlib"))
    return f"$ORIGIN/{os.path.relpath(library.parent, packages / 'horovod' / 'torch')}"


def build_variables(folder: Path) -> dict[str, str]:
    """By which Horovod's build finds CUDA's toolkit and the package's NCCL; the system's it finds itself.

    In `folder`, which must stay because CMake writes it into what it links, the package gets the shape of a home: its
    library has no name without a version.
    """
    found, cuda = find(), toolkit()
    # The second is what torch's own build flags go by.
    variables = dict.fromkeys(("HOROVOD_CUDA_HOME", "CUDA_HOME"), str(cuda)) if cuda else {}
    if found is None or found.library is None:
        return variables
    home = folder / "nccl"
    for link, target in ((home / "include" / "nccl.h", found.header), (home / "lib" / "libnccl.so", found.library)):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    flags = f"{os.environ.get('LDFLAGS', '')} -Wl,-rpath,{runpath(found.library)}".strip()
    return variables | {"HOROVOD_NCCL_HOME": str(home), "HOROVOD_NCCL_LINK": "SHARED", "LDFLAGS": flags}
