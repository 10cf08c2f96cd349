from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT

SKIPS = 'import pytest\ndef test_it() -> None:\n    pytest.skip("{reason}")\n'
MODULE = 'import pytest\npytest.importorskip("no_such_framework")\ndef test_it() -> None: ...\n'
NOT_HERE = "horovod is not installed"


def outcome(folder: Path, where: str, text: str, ci: str) -> tuple[int, str]:
    """pytest's status and last line for one file that skips, under this project's tests/conftest.py."""
    (folder / "tests" / where).mkdir(parents=True)
    shutil.copy(ROOT / "tests/conftest.py", folder / "tests")
    (folder / "tests" / where / "test_one.py").write_text(text)
    argv = [sys.executable, "-P", "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", "tests"]
    environ = os.environ | {"PACELINE_CI": ci}
    done = subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()[-1].partition(" in ")[0]


@pytest.mark.parametrize(
    ("where", "text", "ci", "expected"),
    [
        ("contract", SKIPS.format(reason=NOT_HERE), "1", (1, "1 failed")),
        ("parity", SKIPS.format(reason=NOT_HERE), "1", (1, "1 failed")),
        ("tensorflow", SKIPS.format(reason=NOT_HERE), "1", (1, "1 failed")),
        ("contract", SKIPS.format(reason=NOT_HERE), "", (0, "1 skipped")),
        ("reports", SKIPS.format(reason=NOT_HERE), "1", (0, "1 skipped")),
        ("contract", SKIPS.format(reason="needs a GPU"), "1", (0, "1 skipped")),
        ("contract", MODULE, "1", (2, "1 error")),
    ],
)
def test_a_skipped_backend_test_is_a_failure_in_ci_only(
    tmp_path: Path, where: str, text: str, ci: str, expected: tuple[int, str]
) -> None:
    assert outcome(tmp_path, where, text, ci) == expected
