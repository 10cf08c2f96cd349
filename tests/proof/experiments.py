"""The table of experiments: name to a function of the seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.proof import coverage, faults, gate, links, real, record
from tests.proof.record import Experiment

SIMULATED = ("coverage", "gate")


def all_of() -> Mapping[str, Callable[[int], Experiment]]:
    return {
        "coverage": coverage.experiment,
        "gate": gate.experiment,
        "real": real.experiment,
        "links": links.experiment,
        "faults": faults.matrix,
        "kills": faults.kills,
        "fuzz": faults.fuzz,
        "soak": faults.soak,
    }


def whole(name: str) -> Mapping[str, Any] | None:
    """The parts of a record in the repository; None where it is stale or cut off."""
    experiment = all_of()[name](1)
    found = record.read(experiment)
    return found["parts"] if found and record.why_stale(experiment) is None else None
