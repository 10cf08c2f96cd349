"""Gives contract tests their launches. `cell` is (backend, replicas), `pair` one with 2 replicas.

`whole` is a cell with all scenarios; `halved`, `scaled`, `wired` and `compiled_cell` are those that run the scenarios
"bfloat16", "float16", "wire" and "compiled".
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Tests here are no package, so that no test folder's name can hide a module: what they share is found by its path.
sys.path[:0] = [str(Path(__file__).parent)] * (str(Path(__file__).parent) not in sys.path)

import launches as contract  # noqa: E402
import plans  # noqa: E402

CELLS: dict[str, list[tuple[str, int]]] = {
    "cell": plans.cells(),
    "pair": [cell for cell in plans.cells() if cell[1] == 2],
    "whole": [cell for cell in plans.cells() if plans.whole(*cell)],
    "halved": [cell for cell in plans.cells() if plans.has(cell, "bfloat16")],
    "scaled": [cell for cell in plans.cells() if plans.has(cell, "float16")],
    "wired": [cell for cell in plans.cells() if plans.has(cell, "wire")],
    "compiled_cell": [cell for cell in plans.cells() if plans.has(cell, "compiled")],
}


def pytest_generate_tests(metafunc: Any) -> None:
    for name, chosen in CELLS.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, chosen, ids=[f"{backend}-{replicas}" for backend, replicas in chosen])


@pytest.fixture(scope="session")
def launches(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    shared = contract.shared(tmp_path_factory)
    shared.expect(asked_for(request.session.items))
    yield shared
    shared.close()


def asked_for(items: list[pytest.Item]) -> list[tuple[str, int]]:
    """The cells of the chosen tests, each once, in the order of their first tests."""
    parameters = [item.callspec.params for item in items if hasattr(item, "callspec")]
    return list(dict.fromkeys(found[name] for found in parameters for name in CELLS if found.get(name) in CELLS[name]))


@pytest.fixture
def seen(request: pytest.FixtureRequest, launches: Any) -> Any:
    """The usual launch of the test's cell, whatever the argument is called, or a skip with the reason."""
    (cell,) = [request.getfixturevalue(name) for name in CELLS if name in request.fixturenames]
    reason = contract.why_not(cell[0])
    if reason is not None:
        pytest.skip(reason)
    return launches.get(*cell)


@pytest.fixture
def launch_refusal() -> Any:
    """(backend, launcher) to the reason why it cannot be launched here, or None."""
    return contract.refusal


@pytest.fixture
def global_losses() -> Any:
    """What all ranks saw of one training to the global loss of each step."""
    return contract.global_losses
