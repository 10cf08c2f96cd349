"""Regenerates locks/*.txt from the ranges in pyproject.toml: one resolution, every file a part of it.

Run as `.venv/bin/python -P bench/setup/lock.py [--upgrade]` (`make locks`); needs uv. Without --upgrade a pin
stays where it is as long as pyproject.toml allows it. horovod.txt is written by hand: it is a source to patch.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "locks"
OLDEST_PYTHON = "3.11"
CUDA_ONLY = re.compile(r"(nvidia-|cuda-|triton\b)")
HEADER = "# Written by bench/setup/lock.py (make locks); change the ranges in pyproject.toml instead.\n"
CPU_HEADER = HEADER + "# The default index has no CPU build of torch: these hashes are of wheels that were at hand.\n"


class LockError(Exception):
    """One sentence: which resolution failed and why."""


def wanted(pyproject: Path) -> dict[str, list[str]]:
    """Requirements per lock. The build backend is in core: paceline itself is installed without isolation."""
    data = tomllib.loads(pyproject.read_text())
    extras = data["project"]["optional-dependencies"]
    return {
        "core": data["project"]["dependencies"] + data["build-system"]["requires"],
        "torch": extras["torch"],
        "tensorflow": extras["tensorflow"],
        "horovod-build": extras["horovod"],
        "dev": extras["dev"],
    }


def compile_lock(requirements: list[str], output: Path, *options: str) -> None:
    """Writes `output`, for every platform and Python from OLDEST_PYTHON up. Raises LockError."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        raise LockError("uv is not installed; .venv/bin/pip install uv")
    argv = [uv, "pip", "compile", "-", "--quiet", "--universal", "--python-version", OLDEST_PYTHON]
    argv += ["--no-emit-index-url", "--no-annotate", "--no-header", "-o", str(output), *options]
    done = subprocess.run(argv, input="\n".join(requirements), capture_output=True, text=True, check=False)
    if done.returncode:
        raise LockError(f"{output.name}: {done.stderr.strip()}")


def blocks(text: str) -> dict[str, str]:
    """Requirement name to its lines (pin, marker, hashes); comments are left out."""
    body = "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#"))
    found = re.findall(r"^(?=\S)(?:.*\\\n)*.*\n", body, flags=re.MULTILINE)
    return {re.split(r"[=\s\[]", block, maxsplit=1)[0]: block for block in found}


def fetch_cpu_hash(version: str) -> str | None:
    """SHA-256 of the CPU wheel that pip finds for this Python and platform; None where it finds none."""
    with tempfile.TemporaryDirectory(prefix="paceline-lock-") as folder:
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        argv += ["-d", folder, f"torch=={version}+cpu"]
        if subprocess.run(argv, capture_output=True, check=False).returncode:
            return None
        with next(Path(folder).glob("torch-*.whl")).open("rb") as wheel:
            return hashlib.file_digest(wheel, "sha256").hexdigest()


def cpu_lock(torch: dict[str, str], existing: str) -> str:
    """torch.txt with the CPU build in place of the CUDA one; hashes already known for this version are kept."""
    version = torch["torch"].split("==")[1].split()[0]
    known = blocks(existing).get("torch", "")
    hashes = set(re.findall(r"sha256:[0-9a-f]{64}", known)) if f"=={version}+cpu " in known else set()
    found = fetch_cpu_hash(version)
    hashes |= {f"sha256:{found}"} if found else set()
    if not hashes:
        raise LockError(f"torch-cpu.txt: pip finds no CPU wheel of torch {version} here, and none is known")
    pins = {name: block for name, block in torch.items() if not CUDA_ONLY.match(name)}
    lines = [f"torch=={version}+cpu", *(f"    --hash={digest}" for digest in sorted(hashes))]
    pins["torch"] = " \\\n".join(lines) + "\n"
    return CPU_HEADER + "".join(pins.values())


def write_locks(upgrade: bool) -> None:
    """Resolves everything together once, then cuts one file per lock out of that resolution."""
    parts = wanted(ROOT / "pyproject.toml")
    with tempfile.TemporaryDirectory(prefix="paceline-lock-") as scratch:
        together = Path(scratch) / "all.txt"
        kept = {} if upgrade else known_pins(parts)
        together.write_text("".join(f"{pin}\n" for pin in sorted(kept.values())))
        compile_lock([line for part in parts.values() for line in part], together)
        for name, requirements in parts.items():
            output = Path(scratch) / f"{name}.txt"
            compile_lock(requirements, output, "--generate-hashes", "-c", str(together))
            (LOCKS / output.name).write_text(HEADER + output.read_text())
    cpu = LOCKS / "torch-cpu.txt"
    cpu.write_text(cpu_lock(blocks((LOCKS / "torch.txt").read_text()), cpu.read_text() if cpu.exists() else ""))


def known_pins(parts: dict[str, list[str]]) -> dict[str, str]:
    """Name to `name==version` of the present locks: uv prefers what its output file already holds."""
    pins: dict[str, str] = {}
    for name in parts:
        path = LOCKS / f"{name}.txt"
        text = path.read_text() if path.exists() else ""
        pins |= {key: block.split(";")[0].split("\\")[0].strip() for key, block in blocks(text).items()}
    return pins


def main() -> int:
    """Exit status 0, or 2 with one sentence on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", action="store_true", help="move every pin to the newest version allowed")
    try:
        write_locks(parser.parse_args().upgrade)
    except LockError as error:
        print(f"paceline locks: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
