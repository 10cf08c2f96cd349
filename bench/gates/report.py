"""What the gates of one launch look at."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import catalog
from bench.errors import TrialError
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
    """The losses of one window on all ranks, window by window. Raises TrialError where a rank did not leave exactly one
    for each step and head."""
    windows = len(reports[0].losses)
    for report in reports:
        if len(report.losses) != windows:
            raise TrialError(f"rank {report.rank} left losses of {len(report.losses)} windows, rank 0 of {windows}")
    for parts in zip(*(report.losses for report in reports), strict=True):
        for report, part in zip(reports, parts, strict=True):
            _check_shape(report.rank, part, len(parts[0].global_weights), len(parts[0].heads))
        yield parts


def _check_shape(rank: int, part: StepLosses, steps: int, heads: int) -> None:
    for found in (part.numerators, part.weights, part.global_weights):
        if len(found) != steps or any(len(of_step) != heads for of_step in found):
            where = f"each of {steps} steps and {heads} heads of window {part.window}"
            raise TrialError(f"rank {rank} did not leave one loss for {where}")
