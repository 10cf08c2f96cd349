from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .conftest import ROOT

SKIPS = 'import pytest\ndef test_it() -> None:\n    pytest.skip("{reason}")\n'
MODULE = 'import pytest\npytest.importorskip("no_such_framework")\ndef test_it() -> None: ...\n'
NOT_HERE = SKIPS.format(reason="horovod is not installed")


def failing(folder: Path, texts: dict[str, str], ci: str) -> tuple[int, list[str]]:
    """pytest's status and the test folders that fail, of one file in each, under this project's tests/conftest.py."""
    for where, text in texts.items():
        (folder / "tests" / where).mkdir(parents=True)
        (folder / "tests" / where / "test_one.py").write_text(text)
    shutil.copy(ROOT / "tests/conftest.py", folder / "tests")
    argv = [sys.executable, "-P", "-m", "pytest", "-q", "-rfE", "--import-mode=importlib", "-p", "no:cacheprovider"]
    environ = os.environ | {"PACELINE_CI": ci}
    done = subprocess.run([*argv, "tests"], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    named = [line.split() for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return done.returncode, sorted(words[1].split("/")[1] for words in named)


def test_a_skipped_backend_test_is_a_failure_in_ci_unless_this_machine_cannot_run_it(tmp_path: Path) -> None:
    skipped = dict.fromkeys(("contract", "parity", "tensorflow", "reports"), NOT_HERE)
    allowed = {"torch": SKIPS.format(reason="needs a GPU")}
    assert failing(tmp_path, skipped | allowed, "1") == (1, ["contract", "parity", "tensorflow"])


def test_a_backend_test_may_be_skipped_where_it_is_not_ci(tmp_path: Path) -> None:
    assert failing(tmp_path, {"contract": NOT_HERE}, "") == (0, [])


def test_a_backend_test_that_skips_itself_while_it_is_imported_is_an_error_in_ci(tmp_path: Path) -> None:
    assert failing(tmp_path, {"contract": MODULE}, "1") == (2, ["contract"])
