"""Where a run took place: versions, cores, load. Captured by allow-list, so that no secret can slip in."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

import bench
from bench import catalog
from bench.launch.commands import allowed
from bench.records import Environment
from bench.redaction import redacted

# Passed on, but about the person and not about the speed.
PERSONAL = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "SSH_AUTH_SOCK", "XDG_CACHE_HOME")
PACKAGES = ("torch", "transformers", "tensorflow", "keras", "keras-hub", "horovod", "numpy", "tokenizers")


def capture(inherited: Mapping[str, str]) -> Environment:
    """The parent's host, now, and of `inherited` what the ranks get to see. Unknown stays None."""
    passed = allowed(inherited)
    return Environment(
        hostname=socket.gethostname(),
        platform=platform.platform(),
        python=platform.python_version(),
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        load_average=os.getloadavg()[0],
        governor=_text(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        paceline=bench.__version__,
        revision=_revision(),
        packages={name: found for name in PACKAGES if (found := catalog.version(name))},
        variables={name: redacted(passed[name]) for name in sorted(passed) if name not in PERSONAL},
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None


def _cpu() -> str | None:
    for line in (_text(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or None


def _revision() -> str | None:
    """Commit of the checkout this code runs from, with + when it has changes; None outside a checkout."""
    here = Path(bench.__file__).resolve().parents[1]
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
