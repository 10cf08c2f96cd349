"""`make test`: the tests that measure, one after the other; then the rest in two processes, one of which trains.

The one that trains takes what the other leaves of the cores: nothing in it has to be quick. What the other says comes
in one piece when it has ended. With arguments for pytest: those tests alone, in one process.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence

PYTEST = (sys.executable, "-P", "-m", "pytest")
QUIET, TRAINING, OTHERS = "quiet", "training and not quiet", "not training and not quiet"


def main(arguments: Sequence[str]) -> int:
    """The first status that is not 0; everything is run."""
    if arguments:
        return subprocess.run([*PYTEST, *arguments], check=False).returncode
    statuses = [subprocess.run([*PYTEST, "-m", QUIET], check=False).returncode, *side_by_side(OTHERS, TRAINING)]
    return next(filter(None, statuses), 0)


def side_by_side(kept: str, shown: str) -> tuple[int, int]:
    """The statuses of the tests with these marks; `shown` yields to `kept`, whose words come after its own."""
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen([*PYTEST, "-m", kept], stdout=said, stderr=subprocess.STDOUT) as beside,
    ):
        try:
            status = subprocess.run(["nice", "-n", "5", *PYTEST, "-m", shown], check=False).returncode
            beside.wait()
        finally:
            beside.terminate()
        said.seek(0)
        sys.stdout.buffer.write(said.read())
        sys.stdout.flush()
    return beside.returncode, status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
