"""One rank whose backend does something wrong: `python -P faulty_rank.py FAULT AT RANK FOLDER`.

The real worker and the real backend; only that rank's call of `build`, `stop` or of step number AT does FAULT first:
raise, exit, memory (the framework wants some that cannot be had) or segv. FAULT `none` does nothing.
"""

from __future__ import annotations

import importlib
import os
import resource
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bench import catalog
from bench.launch.world import place
from bench.records import Assignment

WANTED_ELEMENTS = 1 << 28


def _out_of_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used, used))
    framework = sys.modules.get("torch") or sys.modules["tensorflow"]
    framework.ones([WANTED_ELEMENTS])


def _raise() -> None:
    raise RuntimeError("told to fail")


FAULTS: dict[str, Callable[[], None]] = {
    "raise": _raise,
    "exit": lambda: os._exit(0),
    "memory": _out_of_memory,
    "segv": lambda: os.kill(os.getpid(), signal.SIGSEGV),
}


def spoil(backend: type[Any], fault: str, at: str) -> None:
    """Changes the class."""
    member = "step" if at.isdigit() else at
    sound, calls = getattr(backend, member), iter(range(1_000_000))

    def faulty(self: Any, *arguments: Any) -> Any:
        if not at.isdigit() or next(calls) == int(at):
            FAULTS[fault]()
        return sound(self, *arguments)

    setattr(backend, member, faulty)


def main() -> None:
    fault, at, rank, folder = sys.argv[1:]
    if fault != "none" and place(os.environ)[1] == int(rank):
        assignment = msgspec.json.decode((Path(folder) / "trial.json").read_bytes(), type=Assignment)
        spoil(importlib.import_module(catalog.entry(assignment.trial.backend).module).Backend, fault, at)
    sys.argv = ["bench.worker", folder]
    runpy.run_module("bench.worker", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
