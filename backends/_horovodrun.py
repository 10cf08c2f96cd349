"""horovodrun itself, but it remembers what this Horovod was built with: `python -P -m backends._horovodrun ARGS`.

Before every launch horovodrun finds out whether Horovod was built with Gloo (or MPI) by importing TensorFlow in a
child: 4 to 5 seconds for an answer that only another build can change. Here Horovod is asked in its own way the
first time, and the answer is kept for this build. All else is horovodrun's own code.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import horovod
from horovod.runner import launch

QUESTIONS = ("gloo_built", "mpi_built")


def memory() -> Path:
    """The file for this build of Horovod: named by its compiled extensions."""
    here = Path(horovod.__file__).parent
    libraries = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(here.glob("*/mpi_lib*"))]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "paceline" / "horovod" / f"{hashlib.sha256(repr(libraries).encode()).hexdigest()[:20]}.json"


def remembered(question: str, ask: Callable[..., bool | None], file: Path, verbose: bool = False) -> bool | None:
    """Horovod's answer to `question`, from `file` if it is there. An answer of None (nobody could tell) is not kept."""
    try:
        known = json.loads(file.read_text())
    except (OSError, ValueError):
        known = {}
    if isinstance(known.get(question), bool):
        return bool(known[question])
    answer = ask(verbose=verbose)
    if answer is not None:
        with contextlib.suppress(OSError):  # a home that cannot be written costs the seconds, not the launch
            file.parent.mkdir(parents=True, exist_ok=True)
            staged = file.with_name(f".{file.name}.{os.getpid()}")
            staged.write_text(json.dumps(known | {question: bool(answer)}))
            staged.replace(file)
    return answer


def main() -> None:
    """horovodrun's command line, with its own two questions answered from memory."""
    for question in QUESTIONS:
        ask = getattr(launch, question)
        setattr(launch, question, functools.partial(remembered, question, ask, memory()))
    launch.run_commandline()


if __name__ == "__main__":
    main()
