from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.records import Workload
from bench.workload.batches import Batches
from bench.workload.corpus import Corpus, prepare

SHARED = Path(__file__).parents[3] / "shared" / "data"


def silent(_: str) -> None:
    pass


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def prepared(cache: Path) -> Callable[[Workload], Corpus]:
    return lambda workload: prepare(workload, cache, silent)


@pytest.fixture(scope="session")
def batches(prepared: Callable[[Workload], Corpus]) -> Callable[..., Batches]:
    """(workload, first replica, local replicas, replicas) -> Batches; one rank and one replica unless told."""

    def make(workload: Workload, first: int = 0, local: int = 1, replicas: int = 1) -> Batches:
        return Batches(prepared(workload).folder, workload, first, local, replicas)

    return make


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"no {SHARED}: the real data sets are not part of the project")
    return SHARED
