"""`make test`: first the tests that measure, one after the other; then the rest, on two workers (conftest.py).

With arguments for pytest: those tests alone, in one process.
"""

from __future__ import annotations

import subprocess
import sys

PYTEST = (sys.executable, "-P", "-m", "pytest")
STAGES = (("-m", "quiet"), ("-m", "not quiet", "-n", "2", "--dist", "loadgroup", "--benchmark-disable"))


def main(arguments: list[str]) -> int:
    """The first status that is not 0; every stage is run."""
    stages = [arguments] if arguments else STAGES
    statuses = [subprocess.run([*PYTEST, *stage], check=False).returncode for stage in stages]
    return next(filter(None, statuses), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
