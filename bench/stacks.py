"""Stack traces of a rank that hangs, left in rank-N.stack: on a signal, and where no signal can reach, on request.

The signal works while the main thread waits inside C and even when another thread holds the interpreter; the request
is a file in the launch's folder, for ranks on other hosts.
"""

from __future__ import annotations

import faulthandler
import signal
import threading
import time
from pathlib import Path

SIGNAL = signal.SIGUSR1
CHECK_S = 5.0


def request_file(folder: Path) -> Path:
    """The parent makes it when it wants every rank's stacks."""
    return folder / "stacks-wanted"


def stack_file(folder: Path, rank: int) -> Path:
    """Where a rank leaves its stacks; a rank that leaves none does not respond."""
    return folder / f"rank-{rank}.stack"


def offer(folder: Path, rank: int) -> None:
    """From now on this rank leaves its stacks when asked."""
    # Kept open for the whole life of the process: faulthandler writes to the descriptor from a signal handler.
    out = stack_file(folder, rank).open("w", encoding="utf-8")
    faulthandler.register(SIGNAL, file=out, all_threads=True)
    faulthandler.enable(file=out)
    threading.Thread(target=_watch, args=(folder, out), daemon=True, name="stacks").start()


def _watch(folder: Path, out: object) -> None:
    while not request_file(folder).exists():
        time.sleep(CHECK_S)
    faulthandler.dump_traceback(file=out, all_threads=True)  # type: ignore[arg-type]


def innermost(text: str) -> str | None:
    """`function (file:line)` of the main thread's innermost frame in a dump, None where there is no dump."""
    frames = _main_thread(text)
    return f"{frames[0][0]} ({frames[0][1]})" if frames else None


def waits(text: str) -> bool:
    """True when the rank stands in the harness's barrier: it waits for others, and none for it."""
    return any(function == "barrier" for function, _ in _main_thread(text))


def _main_thread(text: str) -> list[tuple[str, str]]:
    """(function, file:line), innermost first. faulthandler lists the main thread last, most recent call first."""
    frames: list[tuple[str, str]] = []
    for block in reversed(text.strip().split("\n\n")):
        for line in block.splitlines():
            if line.startswith('  File "'):
                path, _, rest = line.removeprefix('  File "').partition('", line ')
                number, _, function = rest.partition(" in ")
                frames.append((function, f"{Path(path).name}:{number}"))
        if frames:
            break
    return frames
