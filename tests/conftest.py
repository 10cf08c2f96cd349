"""In CI (PACELINE_CI=1) every framework is there: a backend test that skips itself there has not been run.

Tests marked `quiet` measure, so nothing may run beside them; the others run in two processes at a
time (run.py): one trains, the other mostly waits.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# Launches of several ranks of Horovod in both processes at a time would take ten times as long.
TRAINING = (
    "contract", "parity", "tensorflow", "torch", "sabotage", "quality", "allreduce", "collectives", "ladder", "traces",
    "faults/test_real_faults.py",
)  # fmt: skip
# Parts of the reasons for which a skip stands: what CI does not have, and cells that have no such test.
MAY_BE_ABSENT = ("GPU", "shared/data", "no framework:")


def trains(path: Path) -> bool:
    """Whether a test file is one of a backend's."""
    return any(path.is_relative_to(TESTS / place) for place in TRAINING)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "quiet: measures; nothing else may run beside it")
    config.addinivalue_line("markers", "training: of a backend, whose ranks want all cores")


def pytest_itemcollected(item: pytest.Item) -> None:
    if trains(item.path):
        item.add_marker(pytest.mark.training)


def refuse_skip(report: pytest.TestReport | pytest.CollectReport, path: Path) -> None:
    """Turns a skip of a backend test into a failure."""
    if not (report.skipped and os.environ.get("PACELINE_CI") == "1") or hasattr(report, "wasxfail"):
        return
    if not trains(path):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not any(word in reason for word in MAY_BE_ABSENT):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} may not be skipped in CI. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that skips itself, or is marked."""
    report = yield
    refuse_skip(report, item.path)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that skips itself while it is imported (importorskip)."""
    report = yield
    refuse_skip(report, collector.path)
    return report
