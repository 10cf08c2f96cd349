"""The real worker, but for one element: `python -P spoiled.py FOLDER`. On rank 1 the ring's result of 4096 elements is
wrong at its end after every run, as a race in an algorithm of our own could leave it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest import mock

from bench import worker


def main() -> int:
    from backends._torch_collective import Collective

    run = Collective.run

    def spoil(self: Any) -> None:
        run(self)
        if (self._world.rank, self._request.algorithm, list(self.elements)) == (1, "ring", [4096]):
            self._results[0][-1] += 1

    with mock.patch.object(Collective, "run", spoil):
        return worker.main(Path(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
