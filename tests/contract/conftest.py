"""Gives contract tests their launches. `cell` is (backend, replicas), `pair` one with 2 replicas."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def load_launches() -> ModuleType:
    """tests/contract/launches.py, the same module for every folder of tests that needs launches."""
    name = "paceline_contract_launches"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "launches.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def pytest_generate_tests(metafunc: Any) -> None:
    cells, drops = load_launches().cells(), load_launches().drops
    pairs, dropping = [cell for cell in cells if cell[1] == 2], [cell for cell in cells if drops(*cell)]
    for name, chosen in (("cell", cells), ("pair", pairs), ("dropping", dropping)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, chosen, ids=[f"{backend}-{replicas}" for backend, replicas in chosen])


@pytest.fixture(scope="session")
def launches(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_launches().shared(tmp_path_factory)


@pytest.fixture
def seen(launches: Any, cell: tuple[str, int]) -> Any:
    """The usual launch of the cell, or a skip with the reason."""
    return launch_or_skip(launches, cell)


@pytest.fixture
def seen_pair(launches: Any, pair: tuple[str, int]) -> Any:
    """The same, for tests that need two replicas."""
    return launch_or_skip(launches, pair)


@pytest.fixture
def seen_dropping(launches: Any, dropping: tuple[str, int]) -> Any:
    """The same, for tests of dropout."""
    return launch_or_skip(launches, dropping)


def launch_or_skip(launches: Any, cell: tuple[str, int]) -> Any:
    """The usual launch of a cell."""
    reason = load_launches().why_not(cell[0])
    if reason is not None:
        pytest.skip(reason)
    return launches.get(*cell)


@pytest.fixture
def launch_refusal() -> Any:
    """(backend, launcher) to the reason why it cannot be launched here, or None."""
    return load_launches().refusal


@pytest.fixture
def global_losses() -> Any:
    """What all ranks saw of one training to the global loss of each step."""
    return load_launches().global_losses


@pytest.fixture
def start() -> Any:
    """Launches one trial by hand."""
    return load_launches().start
