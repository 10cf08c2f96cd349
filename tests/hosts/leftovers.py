"""What tests of emulated hosts share: whether there can be any here, and what is left of a set."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench import hosts
from bench.hosts import lifetime, shell

_reason = hosts.why_not()
if _reason is None and subprocess.run(("unshare", "--net", "true"), capture_output=True, check=False).returncode:
    _reason = "network namespaces are not allowed here"
possible = pytest.mark.skipif(_reason is not None, reason=str(_reason))


def namespaces(identifier: str = "") -> list[str]:
    return sorted(path.name for path in lifetime.NAMESPACES.glob(f"paceline-{identifier}*"))


def abandoned() -> list[str]:
    """Sets that no process holds. Others than ours may come and go at any time."""
    free = []
    for identifier in lifetime._known():
        with lifetime._lock(identifier) as held:
            free += [identifier] if held else []
    return free


def set_of(pid: int) -> str:
    """The set on one of whose hosts the process runs."""
    named = subprocess.run(("ip", "netns", "identify", str(pid)), capture_output=True, text=True, check=True).stdout
    return named.split("-")[1]


def left_of(identifier: str) -> list[Path]:
    found = [
        path for folder in (lifetime.NAMESPACES, lifetime.FILES) for path in folder.glob(f"paceline-{identifier}-*")
    ]
    return found + list(shell.STATE.glob(f"{identifier}*"))


@contextmanager
def cleared(process: subprocess.Popen[Any] | None = None) -> Iterator[list[str]]:
    """Whatever becomes of the test: ends the process, which removes its own set then, and removes the sets that are in
    the list by then."""
    sets: list[str] = []
    try:
        yield sets
    finally:
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for identifier in filter(left_of, sets):
            hosts.down((identifier,))
