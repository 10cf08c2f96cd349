"""`make check` looks up the locked packages; what it cannot find out it does not call clean."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from bench.setup import audit

TODAY = date(2026, 12, 1)
ACCEPTED = [{"package": "horovod", "ids": ["CVE-1"], "again": date(2027, 1, 1)}]
HOROVOD = {
    "name": "horovod",
    "version": "0.28.1",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": []}],
}
NUMPY = {"name": "numpy", "version": "2.0", "vulns": [{"id": "GHSA-2", "aliases": ["CVE-2"], "fix_versions": ["2.1"]}]}
CLEAN = {"name": "click", "version": "8", "vulns": []}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.13.0)"}


def judged(*packages: object, today: date = TODAY) -> audit.Outcome:
    return audit.judge({"dependencies": list(packages), "fixes": []}, ACCEPTED, today)


def test_an_advisory_that_nobody_accepted_is_a_finding_and_an_accepted_one_is_not() -> None:
    assert judged(HOROVOD, NUMPY, CLEAN).findings == ["numpy 2.0: GHSA-2, CVE-2; fixed in 2.1"]
    assert judged(HOROVOD, CLEAN) == audit.Outcome([], None, "2 locked packages, 0 with an open advisory")


def test_an_acceptance_is_of_one_package_and_runs_out() -> None:
    other = {**HOROVOD, "name": "torch"}
    assert judged(other).findings == ["torch 0.28.1: PYSEC-1, CVE-1; fixed in no release yet"]
    assert judged(HOROVOD, today=date(2027, 1, 1)).findings == []
    assert judged(HOROVOD, today=date(2027, 1, 2)).findings == [
        "horovod 0.28.1: PYSEC-1, CVE-1; fixed in no release yet"
    ]


def test_an_index_that_knows_no_package_is_not_a_clean_answer() -> None:
    assert judged(UNKNOWN).skipped == "the package index here knows no advisories"
    assert judged(UNKNOWN, CLEAN).said == "1 locked packages, 0 with an open advisory; the index does not know torch"


def test_every_lock_is_asked_about_and_a_local_build_by_its_public_version(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(
        "# made\ntorch==2.13.0+cpu \\\n    --hash=sha256:ab\nclick==8.5 ; x == 'y' \\\n    --hash=sha256:cd\n"
    )
    (tmp_path / "b.txt").write_text("torch==2.13.0 \\\n    --hash=sha256:ef\n")
    assert audit.pins([tmp_path / "a.txt", tmp_path / "b.txt"]) == ["click==8.5", "torch==2.13.0"]
    assert "horovod==0.28.1" in audit.pins(sorted((audit.ROOT / "locks").glob("*.txt")))


def test_a_clean_answer_counts_for_a_day_and_none_for_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "KEPT", tmp_path / "kept")
    assert audit.kept("key", 0.0) is None
    record = {"key": "key", "at_s": 0.0, "skipped": None, "said": "fine"}
    (tmp_path / "kept").write_text(json.dumps(record))
    assert audit.kept("key", 86_399.0) == audit.Outcome([], None, "fine")
    assert audit.kept("key", 86_401.0) is None and audit.kept("other", 1.0) is None
    (tmp_path / "kept").write_text(json.dumps(record | {"skipped": "no net"}))
    assert audit.kept("key", 3_599.0) == audit.Outcome([], "no net", "fine")
    assert audit.kept("key", 3_601.0) is None
