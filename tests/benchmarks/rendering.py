"""What a report costs: a study of 24 trials x 5 launches, and a result of 4,096 ranks x 2,000 windows.

    python -P tests/benchmarks/rendering.py

Prints for each the seconds of the whole process, imports included, its peak memory and the size of the page. The study
is the command as a person types it, which first reads every journal; of the large result only what reports read is
made: result.json and windows.parquet. The aims are 5 s, and 20 s in 1.5 GiB; a page stays below 3 MB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAKE = "from pathlib import Path; from tests.reports import synthetic; synthetic.{call}"
RENDER = "from pathlib import Path; import reports; Path({page!r}).write_text(reports.render(Path({folder!r}), 'html'))"


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds and peak MiB of one process."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def show(name: str, command: list[str], page: Path) -> None:
    seconds, mebibytes = timed(command)
    print(f"{name:40} {seconds:6.1f} s {mebibytes:8.0f} MiB {page.stat().st_size / 1e6:6.2f} MB of HTML")


def main() -> None:
    python = [sys.executable, "-P"]
    with tempfile.TemporaryDirectory() as temporary:
        study, large = Path(temporary, "study"), Path(temporary, "large")
        timed([*python, "-c", MAKE.format(call=f"study(Path({str(study)!r}))")])
        show("24 trials x 5 launches", [*python, "-m", "bench", "report", str(study)], study / "report.html")
        shape = "synthetic.Shape(4096, 2000, slow=1234)"
        timed([*python, "-c", MAKE.format(call=f"large(Path({str(large)!r}), {shape})")])
        page = large / "report.html"
        render = RENDER.format(page=str(page), folder=str(large))
        show("4,096 ranks x 2,000 windows", [*python, "-c", render], page)


if __name__ == "__main__":
    main()
