"""What the gates of one launch look at."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import catalog
from bench.records import Assignment, DataDigest, Exchange, Facts, Settings, StepLosses, Trial, Weights, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class RankReport:
    """What one rank left behind, complete. Without windows where it verified."""

    rank: int
    windows: list[Window]
    losses: list[StepLosses]
    data: DataDigest
    weights: Weights
    facts: Facts
    exchange: Exchange
    settings: Settings


def steps(report: RankReport) -> int:
    """How many steps the rank has done."""
    return sum(len(part.numerators) for part in report.losses)


def trained_elements(assignment: Assignment) -> dict[str, int] | None:
    """Elements of every tensor to be trained, from the header of the initial checkpoint; None where it is not there.

    None also of a backend without a framework: what it trains is no model.
    """
    path = Path(assignment.checkpoint) / "model.safetensors"
    if is_programmed(assignment.trial) or not path.is_file():
        return None
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {name: math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}


def is_programmed(trial: Trial) -> bool:
    """A backend without a framework trains nothing: it is compared with its like only."""
    return catalog.entry(trial.backend).framework == "none"


def windows_of_all(reports: Sequence[RankReport]) -> Iterator[tuple[StepLosses, ...]]:
    """The losses of one window on all ranks, window by window."""
    return zip(*(report.losses for report in reports), strict=True)
