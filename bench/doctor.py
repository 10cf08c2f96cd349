"""What works on this machine, found out by trying: each backend is imported in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench import catalog
from bench.collectors import nvml
from bench.devices_peaks import peaks

IMPORT_DEADLINE_S = 120
STAMP = Path(sys.prefix) / ".paceline"


@dataclass(frozen=True, slots=True)
class Finding:
    """One row: `problem` None means it works. `detail` is for people."""

    name: str
    problem: str | None
    detail: str


def backends() -> Iterator[Finding]:
    """Every backend as it is imported for real; a broken installation shows its own last line."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield from pool.map(_backend, catalog.entries())


def _backend(name: str) -> Finding:
    row = catalog.entry(name)
    versions = ", ".join(f"{package} {found}" for package in row.requires if (found := catalog.version(package)))
    compute = [one for one in row.compute if one != "tf32" or catalog.has_gpu()]
    detail = (
        f"{versions or 'no framework'}\ncompute {'/'.join(compute)}, wire {'/'.join(row.wire)}, "
        f"all-reduce {'/'.join(row.allreduce)}\nlaunchers {', '.join(row.launchers)}"
    )
    return Finding(name, catalog.why_not_installed(name) or _why_not_importable(name), detail)


def _why_not_importable(name: str) -> str | None:
    """The last line of the traceback, None when the import succeeds."""
    program = f"from bench.worker import load_backend; load_backend({name!r})"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", program],
            capture_output=True,
            text=True,
            timeout=IMPORT_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"did not import within {IMPORT_DEADLINE_S} s"
    if done.returncode == 0:
        return None
    said = done.stderr.strip().splitlines()
    return said[-1] if said else f"importing it ended with status {done.returncode}"


def devices() -> Iterator[Finding]:
    """The GPUs of this host, as their management library tells them, or why no row with one can be selected."""
    if not catalog.has_gpu():
        why = "no NVIDIA GPU here (no /dev/nvidia0): rows with `device: gpu` or `compute: tf32` are not selectable"
        yield Finding("GPU", why, "")
        return
    library, problem = nvml.connect()
    if library is None:
        yield Finding("GPU", None, f"there is one; its clocks, energy and memory are not recorded: {problem}")
        return
    for ordinal, name in enumerate(library.names()):
        known = peaks(name)
        peak = (
            f"{known.half / 1e12:,.0f} TFLOP/s dense in 16 bit ({known.source})" if known else "no known peak: no MFU"
        )
        yield Finding(f"GPU {ordinal}", None, f"{name}\n{peak}")


def launchers() -> Iterator[Finding]:
    """Where each launcher was found; Horovod's own list of controllers for horovodrun."""
    yield Finding("local", None, "built in, one host")
    for name in ("horovodrun", "torchrun", "mpirun"):
        path = catalog.program(name)
        detail = path or ""
        if name == "horovodrun" and path:
            detail += f"\ncontrollers: {', '.join(_controllers(path)) or 'none'}"
        yield Finding(name, None if path else "not installed", detail)


def _controllers(horovodrun: str) -> list[str]:
    """Gloo and MPI, as far as Horovod says that it was built with them."""
    try:
        done = subprocess.run(
            [horovodrun, "--check-build"], capture_output=True, text=True, timeout=IMPORT_DEADLINE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    section = done.stdout.partition("Available Controllers:")[2].partition("Available Tensor")[0]
    return [line.split("]")[1].strip() for line in section.splitlines() if "[X]" in line]


def set_up_problems() -> dict[str, str]:
    """What the set-up could not install here, and why, as it noted in the environment."""
    try:
        noted = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    missing = noted.get("missing", {}) if isinstance(noted, dict) else {}
    return {str(name): str(reason) for name, reason in missing.items()}
