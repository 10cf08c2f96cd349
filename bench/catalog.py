"""Which backends there are, and why one cannot run a trial here. Reads tables and metadata; imports no backend."""

from __future__ import annotations

import functools
import shutil
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import backends
from backends import Entry
from bench.errors import UserError
from bench.launch.algorithms import PROTOCOLS
from bench.records import Trial
from bench.yaml_source import suggestion


@functools.cache
def entries() -> dict[str, Entry]:
    """The project's own table, then what is installed under the entry point group `paceline.backends`."""
    table = dict(backends.BACKENDS)
    for point in metadata.entry_points(group="paceline.backends"):
        found = point.load()
        if not isinstance(found, Entry) or point.name in table:
            raise UserError(f"entry point paceline.backends:{point.name} is not a new backends.Entry")
        table[point.name] = found
    return table


def entry(backend: str) -> Entry:
    """The row of `backend`. Raises UserError with a suggestion."""
    found = entries().get(backend)
    if found is None:
        raise UserError(f"no backend is called {backend!r}{suggestion(backend, entries())}")
    return found


def version(distribution: str) -> str | None:
    """Of an installed distribution; `tensorflow-cpu` answers for `tensorflow`."""
    for name in (distribution, f"{distribution}-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def program(name: str) -> str | None:
    """Path of a launcher: beside this Python first (the virtual environment), else on PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.is_file() else shutil.which(name)


def has_gpu() -> bool:
    """Whether this host has an NVIDIA device, without importing a framework."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def why_not_installed(backend: str) -> str | None:
    """One clause, or None when everything the backend imports is installed here."""
    row = entry(backend)
    for distribution in row.requires:
        if version(distribution) is None:
            return f"{distribution} is not installed"
    packages = Path(sysconfig.get_path("platlib"))
    if row.extension and not any(True for pattern in row.extension for _ in packages.glob(pattern)):
        return f"Horovod was built without {row.framework}"
    return None


def why_no_launcher(launcher: str) -> str | None:
    """One clause, or None when `launcher` can start ranks here."""
    if launcher == "local" or program(launcher):
        return None
    return f"the launcher {launcher} is not installed"


def why_not_selectable(trial: Trial, num_hosts: int = 1) -> str | None:
    """Why this backend or machine cannot honour the trial, as one clause; None when it can."""
    return (
        _why_not_computed(trial)
        or _why_no_room(trial, num_hosts)
        or _why_no_such_setting(trial)
        or _why_no_gpu(trial)
        or why_not_installed(trial.backend)
        or why_no_launcher(trial.launcher)
    )


def _why_not_computed(trial: Trial) -> str | None:
    """Why this backend or machine cannot run the work in that form, as one clause."""
    if trial.workload.packed and not entry(trial.backend).packed:
        return f"{trial.backend} computes each sample in a row of its own and cannot pack them"
    graphs = trial.options.get("cuda_graphs")
    if graphs and not has_gpu():
        return "cuda_graphs replays what a GPU was given, and there is no GPU here"
    if graphs and not trial.compiled:
        return "cuda_graphs records what torch.compile made: it needs `compile` or the preset tuned"
    return None


def _why_no_room(trial: Trial, num_hosts: int) -> str | None:
    row = entry(trial.backend)
    if row.max_replicas is not None and trial.replicas > row.max_replicas:
        return f"{trial.backend} runs at most {row.max_replicas} replica"
    if row.local_replicas and num_hosts > 1:
        return f"{trial.backend} keeps all replicas in one process and cannot span {num_hosts} hosts"
    if trial.launcher == "local" and num_hosts > 1:
        return f"the launcher local starts ranks on this host only, not on {num_hosts}"
    return None


def _why_no_gpu(trial: Trial) -> str | None:
    row = entry(trial.backend)
    if trial.device == "gpu" and not (row.gpu and has_gpu()):
        return "it asks for a GPU, and there is none here" if row.gpu else f"{trial.backend} computes on no GPU"
    if "nccl_protocol" in trial.options and not has_gpu():
        return "nccl_protocol is a choice of NCCL, and there is no GPU here"
    protocol = trial.options.get("nccl_protocol", PROTOCOLS[0])
    if protocol not in PROTOCOLS:
        return f"nccl_protocol {protocol!r} is not known; NCCL has {', '.join(PROTOCOLS)}"
    return None


def _why_no_such_setting(trial: Trial) -> str | None:
    row = entry(trial.backend)
    for setting, given, allowed in (
        ("launcher", trial.launcher, row.launchers),
        ("compute precision", trial.compute, row.compute),
        ("preset", trial.preset, row.presets),
        ("wire precision", trial.wire, row.wire),
        ("all-reduce", trial.allreduce, row.allreduce_gpu if has_gpu() else row.allreduce),
    ):
        if given not in allowed:
            return f"{trial.backend} cannot select {setting} {given}; it has {', '.join(allowed)}"
    if trial.allreduce != "auto" and row.allreduce_by and trial.launcher not in row.allreduce_by and not has_gpu():
        return (
            f"{trial.backend} cannot select all-reduce {trial.allreduce}; under the launcher {trial.launcher} it has "
            f"auto, under {', '.join(row.allreduce_by)} all of its algorithms"
        )
    if trial.compile and not row.compile:
        return f"{trial.backend} runs eagerly and cannot compile the step"
    if trial.compute == "tf32" and not has_gpu():
        return "tf32 is a precision of NVIDIA GPUs, and there is none here"
    for option in trial.options:
        if option not in row.options:
            return f"{trial.backend} has no option {option!r}"
    return None
