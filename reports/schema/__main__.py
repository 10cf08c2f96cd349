"""`python -m reports.schema docs/schema`."""

from __future__ import annotations

import sys
from pathlib import Path

from reports.schema import write

if __name__ == "__main__":
    write(Path(sys.argv[1]))
