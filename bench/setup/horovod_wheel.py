"""Builds Horovod 0.28.1 for the torch and TensorFlow of this environment, once, and caches the wheel.

Run as `python -P bench/setup/horovod_wheel.py [--print-key]`; standard library only, because it runs
before anything else is installed. The last line on stdout is the path of the wheel.

Horovod 0.28.1 (2023) does not compile against current frameworks as it is. Three edits mend that:

1. and 2. C++14 -> C++20 in the top CMakeLists.txt and in horovod/torch/CMakeLists.txt: the headers of
   current PyTorch need it;
3. xla_mpi_ops.cc is left out: TensorFlow moved the XLA headers it includes after 2.15. What is lost is
   HOROVOD_ENABLE_XLA_OPS, which paceline does not use.

Every edit must match exactly once, or the build stops: a changed source is not patched by guess.

For GPUs, over NCCL, where CUDA's compiler, a torch for CUDA and NCCL are here (bench/setup/nccl.py).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if not __package__:  # it is run by its path, before paceline is installed
    sys.path.insert(0, str(ROOT))

from bench.setup import nccl  # noqa: E402

VERSION = "0.28.1"
LOCK = ROOT / "locks" / "horovod.txt"
EDITS = (
    ("CMakeLists.txt", "set(CMAKE_CXX_STANDARD 14)", "set(CMAKE_CXX_STANDARD 20)"),
    ("horovod/torch/CMakeLists.txt", "set(CMAKE_CXX_STANDARD 14)", "set(CMAKE_CXX_STANDARD 20)"),
    (
        "horovod/tensorflow/CMakeLists.txt",
        'list(APPEND TF_SOURCES "${PROJECT_SOURCE_DIR}/horovod/tensorflow/xla_mpi_ops.cc")',
        "# xla_mpi_ops.cc left out by paceline: its XLA headers moved after TensorFlow 2.15",
    ),
)
PROGRESS_S = 10.0


class SetupError(Exception):
    """One sentence for the person at the terminal: what is missing and how to get it."""


def installed(package: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def first_line(*argv: str) -> str | None:
    """First line that `argv` prints, or None where the program is absent."""
    if shutil.which(argv[0]) is None:
        return None
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).partition("\n")[0].strip() or None


def ingredients() -> dict[str, str | None]:
    """Everything the compiled wheel depends on; two machines that agree here may share it."""
    return {
        "horovod": VERSION,
        "edits": hashlib.sha256(repr(EDITS).encode()).hexdigest()[:16],
        "python": sys.version.split()[0].rpartition(".")[0] + sys.abiflags,
        "platform": f"{sys.platform}-{platform.machine()}-{'-'.join(platform.libc_ver())}",
        "compiler": first_line(os.environ.get("CXX", "g++"), "--version"),
        "mpi": first_line("mpicxx", "--showme:version") or first_line("mpicxx", "--version"),
        "nvcc": nccl.cuda_release() if nccl.compiles_cuda() else None,
        "gpu_operations": nccl.gpu_operations(),
        "torch": installed("torch"),
        "tensorflow": installed("tensorflow") or installed("tensorflow-cpu"),
    }


def cache_folder() -> Path:
    """Outside the repository, so that fresh clones share it."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "paceline" / "wheels"


def cache_key(parts: dict[str, str | None]) -> str:
    """Name of the cache's folder for these ingredients."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


def require_tools() -> None:
    """Raises SetupError naming the first missing tool and the Debian package that brings it."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise SetupError(f"no C++ compiler: {compiler} is not on PATH; on Debian: apt-get install g++ make")
    if shutil.which("make") is None:
        raise SetupError("no make on PATH; on Debian: apt-get install make")
    header = Path(first_line(sys.executable, "-c", "import sysconfig; print(sysconfig.get_path('include'))") or "")
    if not (header / "Python.h").is_file():
        raise SetupError(f"no Python.h in {header}; on Debian: apt-get install python3-dev")
    if not (installed("torch") or installed("tensorflow") or installed("tensorflow-cpu")):
        raise SetupError("Horovod needs torch or tensorflow to build against; install one of them first")
    if nccl.torch_cuda() and nccl.toolkit() is None:
        raise SetupError(
            f"Horovod for this torch, which is built for CUDA {nccl.torch_cuda()}, needs the CUDA toolkit, and neither "
            "PATH nor CUDA_HOME leads to one; install it, or torch's build for CPUs"
        )


def fetch_source(folder: Path) -> Path:
    """Downloads the sdist whose hash is pinned in locks/horovod.txt; returns the unpacked folder."""
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    argv += ["--no-binary", "horovod", "--require-hashes", "-d", str(folder), "-r", str(LOCK)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        cause = (done.stderr.strip() or "pip gave no reason").splitlines()[-1]
        raise SetupError(
            f"could not download the Horovod {VERSION} source: {cause}; check the network or pip's index settings"
        )
    with tarfile.open(next(folder.glob("horovod-*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"horovod-{VERSION}"


def patch(source: Path) -> None:
    """Applies EDITS. Raises SetupError where one does not match exactly once."""
    for name, old, new in EDITS:
        text = (source / name).read_text()
        if text.count(old) != 1:
            raise SetupError(f"Horovod's {name} does not hold {old!r} exactly once; is this really {VERSION}?")
        (source / name).write_text(text.replace(old, new))


def build_environment(parts: dict[str, str | None]) -> dict[str, str]:
    """The variables that Horovod's setup.py reads."""
    env = dict(os.environ, HOROVOD_WITH_GLOO="1", HOROVOD_WITHOUT_MXNET="1")
    env["HOROVOD_WITH_PYTORCH" if parts["torch"] else "HOROVOD_WITHOUT_PYTORCH"] = "1"
    env["HOROVOD_WITH_TENSORFLOW" if parts["tensorflow"] else "HOROVOD_WITHOUT_TENSORFLOW"] = "1"
    env["HOROVOD_WITH_MPI" if parts["mpi"] else "HOROVOD_WITHOUT_MPI"] = "1"
    if parts["gpu_operations"]:
        env["HOROVOD_GPU_OPERATIONS"] = "NCCL"
    env.setdefault("MAKEFLAGS", f"-j{os.cpu_count() or 1}")
    # The venv's cmake (<4) must win: CMake 4 refuses Gloo's old cmake_minimum_required.
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    return env


def compile_wheel(source: Path, target: Path, parts: dict[str, str | None], log: Path) -> Path:
    """Compiles; prints a line of progress every ten seconds; the compiler's own words go to `log`."""
    argv = [sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "--no-build-isolation", "-w", str(target), "."]
    environ = build_environment(parts) | (nccl.build_variables(log.parent) if nccl.compiles_cuda() else {})
    started, percent = time.monotonic(), "configuring"
    with log.open("w") as out:
        process = subprocess.Popen(argv, cwd=source, env=environ, stdout=out, stderr=out)
        while True:
            try:
                code = process.wait(timeout=PROGRESS_S)
                break
            except subprocess.TimeoutExpired:
                found = re.findall(r"\[ *(\d+%)\]", log.read_text(errors="replace")[-20_000:])
                percent = found[-1] if found else percent
                seconds = int(time.monotonic() - started)
                print(f"  compiling Horovod: {percent}, {seconds // 60}:{seconds % 60:02d}", file=sys.stderr)
    if code:
        raise SetupError(f"Horovod did not compile: {first_error(log.read_text(errors='replace'))} (log: {log})")
    return next(target.glob("horovod-*.whl"))


def first_error(log: str) -> str:
    """The compiler's first, or CMake's, which says what on its next line.

    >>> first_error("avoid build errors\\nCMake Error at a.cmake:233 (message):\\n  Could NOT find CUDAToolkit\\n")
    'Could NOT find CUDAToolkit'
    """
    found = re.search(r"CMake Error.*\n\s*(.+)|(.*\berror: .+)", log)
    return (found[1] or found[2]).strip() if found else "see the log"


def build() -> Path:
    """Path of the cached wheel for this environment; builds it on the first call. Raises SetupError."""
    parts = ingredients()
    folder = cache_folder() / cache_key(parts)
    for wheel in folder.glob("horovod-*.whl"):
        return wheel
    require_tools()
    frameworks = " and ".join(f"{name} {parts[name]}" for name in ("torch", "tensorflow") if parts[name])
    print(
        f"building Horovod {VERSION} for {frameworks}, {'with' if parts['mpi'] else 'without'} MPI, "
        f"for {parts['gpu_operations'] or f'CPUs ({nccl.why_no_gpu()})'} (once; about 6 minutes on 2 cores)",
        file=sys.stderr,
    )
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "build.log"
    with tempfile.TemporaryDirectory(prefix="paceline-horovod-") as scratch:
        source = fetch_source(Path(scratch))
        patch(source)
        wheel = compile_wheel(source, Path(scratch) / "wheel", parts, log)
        staged = folder / f".{wheel.name}.{os.getpid()}"
        shutil.copyfile(wheel, staged)
        staged.replace(folder / wheel.name)
    (folder / "key.json").write_text(json.dumps(parts, indent=2) + "\n")
    return folder / wheel.name


def main() -> int:
    """Exit status 0, or 2 with one sentence on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print-key", action="store_true", help="show what the cached wheel is keyed by, and stop")
    if parser.parse_args().print_key:
        print(json.dumps(ingredients(), indent=2))
        return 0
    try:
        print(build())
    except SetupError as error:
        print(f"paceline set-up: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
