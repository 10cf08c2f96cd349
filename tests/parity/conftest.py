"""Parity tests compare the launches of the contract tests: the same 20 steps serve both."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def load_launches() -> ModuleType:
    """tests/contract/launches.py, the same module as in the contract tests."""
    name = "paceline_contract_launches"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "contract" / "launches.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def pytest_generate_tests(metafunc: Any) -> None:
    if "replicas" in metafunc.fixturenames:
        metafunc.parametrize("replicas", [1, 2])
    if "scenario" in metafunc.fixturenames:
        metafunc.parametrize("scenario", ["adamw", "ner"])


@pytest.fixture
def losses(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(backend, replicas, scenario) to the global loss of each step, or a skip with the reason."""
    module = load_launches()

    def of(backend: str, replicas: int, scenario: str) -> list[float]:
        reason = module.why_not(backend)
        if reason is not None:
            pytest.skip(reason)
        return module.losses_of(module.shared(tmp_path_factory).get(backend, replicas), scenario)

    return of
