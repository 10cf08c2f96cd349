"""`make proof`: the experiments behind docs/statistics.md and docs/faults.md, computed where their records are missing or stale.

    python -P tests/proof/prove.py [NAME ...] [--jobs N] [--seed N] [--folder DIR]

Resumable: end it at any time and start it again. `real` launches processes for three quarters of an hour, so it runs
only when it is named, on a machine with nothing else to do: make proof ARGS=real. So do `links`, which needs root for
its emulated hosts, and about half an hour; and `faults`, `kills`, `fuzz` and `soak`, which need three hours together,
and less with --jobs 2: their parts mostly wait.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def main() -> None:
    from tests.proof import experiments, record, tables

    known = experiments.all_of()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument("--seed", type=int, default=1, help="another one goes to another --folder")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="parts at a time; none that measures speed")
    parser.add_argument("--folder", type=Path, default=record.RECORDS)
    given = parser.parse_args()
    unknown = set(given.names) - set(known)
    if unknown:
        parser.error(f"no experiment is called {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    if given.seed != 1 and given.folder == record.RECORDS:
        parser.error("the records in the repository are those of seed 1; give --folder with another seed")
    for name in given.names or experiments.SIMULATED:
        experiment = known[name](given.seed)
        record.prove(experiment, given.folder, lambda sentence: print(sentence, flush=True), given.jobs)
        print(record.why_stale(experiment, given.folder) or f"{name}: proven, {experiment.path(given.folder)}")
    if given.folder == record.RECORDS:
        for document in tables.DOCUMENTS:
            document.write_text(tables.written(document.read_text(), experiments.whole))


if __name__ == "__main__":
    main()
