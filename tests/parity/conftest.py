"""Parity tests compare the launches of tests/contract."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CONTRACT = str(Path(__file__).parents[1] / "contract")
if CONTRACT not in sys.path:
    sys.path.insert(0, CONTRACT)

import launches as contract  # noqa: E402
import plans  # noqa: E402


@pytest.fixture(scope="session")
def launches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    shared = contract.shared(tmp_path_factory)
    yield shared
    shared.close()


def or_skip(cell: tuple[str, int]) -> None:
    reason = contract.why_not(cell[0])
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def cells_of(launches: Any) -> Any:
    """Scenario to the cells that run it, or a skip with the reason; their launches begin."""

    def of(scenario: str) -> list[tuple[str, int]]:
        found = [cell for cell in plans.cells() if plans.has(cell, scenario)]
        for cell in found:
            or_skip(cell)
        launches.expect(found)
        return found

    return of


@pytest.fixture
def curves(launches: Any, cells_of: Any) -> Any:
    """(scenario, its parts) to the global losses of each cell that runs it."""

    def of(scenario: str, *parts: str) -> dict[str, list[float]]:
        found = {}
        for cell in cells_of(scenario):
            ranks = launches.get(*cell).of(scenario)
            by_part = [contract.global_losses([rank[part] for rank in ranks]) for part in parts]
            found[f"{cell[0]}-{cell[1]}"] = [loss for part in by_part for loss in part]
        return found

    return of


@pytest.fixture
def fifty(launches: Any, cells_of: Any) -> Any:
    """Scenario to what the ranks of each wrapped backend saw, 2 replicas, and the file of their updates."""

    def of(scenario: str) -> dict[str, tuple[list[dict[str, Any]], Path]]:
        found = [(backend, launches.get(backend, replicas)) for backend, replicas in cells_of(scenario)]
        return {backend: (launch.of(scenario), launches.updates(backend, scenario)) for backend, launch in found}

    return of


@pytest.fixture
def global_losses() -> Any:
    """What all ranks saw of one training to the global loss of each step."""
    return contract.global_losses
