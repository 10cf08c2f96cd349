"""backends/_horovodrun.py is horovodrun, without asking the same question at every launch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import catalog

pytestmark = pytest.mark.skipif(catalog.version("horovod") is None, reason="horovod is not installed")


def horovodrun(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-P", "-m", "backends._horovodrun", *arguments]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cache), "XDG_CACHE_HOME": str(cache)}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_it_starts_ranks_and_what_it_remembers_of_horovods_own_answer_decides(tmp_path: Path) -> None:
    """In one test, because Horovod's own answer takes seconds. A memory that is damaged is asked again."""
    command = ("-np", "2", "--gloo", "-H", "localhost:2", "/bin/sh", "-c", "echo rank $HOROVOD_RANK of $HOROVOD_SIZE")
    first = horovodrun(*command, cache=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "rank 0 of 2" in first.stdout and "rank 1 of 2" in first.stdout
    (file,) = tmp_path.glob("paceline/horovod/*.json")
    assert json.loads(file.read_text()) == {"gloo_built": True}

    file.write_text(json.dumps({"gloo_built": False}))
    refused = horovodrun(*command, cache=tmp_path)
    assert refused.returncode != 0
    assert "Gloo support has not been built" in refused.stderr + refused.stdout

    file.write_text("{")
    assert horovodrun(*command, cache=tmp_path).returncode == 0
    assert json.loads(file.read_text()) == {"gloo_built": True}
