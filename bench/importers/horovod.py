"""What Horovod's pytorch_synthetic_benchmark.py and tensorflow2_synthetic_benchmark.py print.

Their numbers, and ours. `Iter #i: r img/sec per GPU` is rank 0's own samples over rank 0's own clock, over a fixed
number of batches that is not printed. Total over total is therefore the harmonic mean of the r, where they print the
arithmetic one; times the number of ranks it is the job's rate, if every rank kept rank 0's pace. Their "+-" is 1.96
standard deviations of the iterations, no confidence interval of the mean: it is left out. Launches are the unit: one
output is one launch and has no interval.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from statistics import harmonic_mean

from bench.importers.rows import Training

_MODEL = re.compile(r"Model: (\S+)")
_BATCH = re.compile(r"Batch size: (\d+)")
_REPLICAS = re.compile(r"Number of [CG]PUs: (\d+)")
_ITERATION = re.compile(r"Iter #\d+: ([\d.]+) img/sec per [CG]PU")
_TOTAL = re.compile(r"Total img/sec on \d+ [CG]PU\(s\): ([\d.]+)")
NOTE = "rank 0's clock times the ranks, without a fence: a slower rank is not seen"


def claims(text: str) -> bool:
    """Whether the text is of this kind, whole or not."""
    return _REPLICAS.search(text) is not None or _ITERATION.search(text) is not None


def read(text: str) -> Iterator[Training]:
    """One record per run in the text; launchers' line prefixes do not matter. Raises ValueError for what is missing."""
    starts = [found.start() for found in _MODEL.finditer(text)]
    if not starts:
        raise ValueError("a synthetic benchmark prints `Model: NAME` first, and it is missing; give the whole output")
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        yield _run(text[start:end])


def _run(text: str) -> Training:
    model = _only(_MODEL, text, "Model: NAME")
    batch = int(_only(_BATCH, text, "Batch size: N"))
    replicas = int(_only(_REPLICAS, text, "Number of GPUs: N"))
    _only(_TOTAL, text, "Total img/sec on N GPU(s), its last line")
    rates = [float(rate) for rate in _ITERATION.findall(text)]
    if not rates or min(rates) <= 0:
        raise ValueError(f"the run of {model} has no iteration with a rate above 0")
    return Training(
        source="Horovod synthetic benchmark",
        label=f"horovod {model}",
        framework=None,
        replicas=replicas,
        model=model,
        batch_per_replica=batch,
        launch_rates=[harmonic_mean(rates) * replicas],
        step_ms=[batch / rate * 1000 for rate in rates],
        note=NOTE,
    )


def _only(pattern: re.Pattern[str], text: str, line: str) -> str:
    found = pattern.findall(text)
    if not found:
        raise ValueError(f"the line `{line}` is missing; the output is cut off or the run did not end")
    return str(found[0])
