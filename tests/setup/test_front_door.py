from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import ROOT, Repository

FIRST_LINE = "Usage: horovodrun.sh [-np N] [-H HOST:SLOTS,...] [OPTION...] [STUDY.yaml]"
ECHO = """import os, sys
import bench
print(bench.__file__)
print(os.getcwd())
print(*sys.argv[1:], sep="\\n")
"""


@pytest.fixture
def door(repository: Repository) -> Path:
    """The front door of a clone that is set up, with a `bench` that prints how it was called."""
    root = repository.root
    (root / "bench/__main__.py").write_text(ECHO)
    (root / ".venv/bin").mkdir(parents=True)
    (root / ".venv/bin/python").symlink_to(sys.executable)
    stamp(root)
    return root / "horovodrun.sh"


def stamp(root: Path) -> None:
    shell = f"source '{root}/bench/setup/ready.sh' && paceline_key"
    key = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True).stdout
    written = {"key": key, "wanted": ["torch"], "installed": ["core", "torch"], "missing": {}}
    (root / ".venv/.paceline").write_text(json.dumps(written) + "\n")


def call(door: Path, cwd: Path, *arguments: str, **environ: str) -> list[str]:
    """Lines that the stand-in for `python -m bench` printed."""
    env = {"PATH": "/usr/bin:/bin", "PYTHON": "/nowhere/python3"} | environ
    done = subprocess.run([door, *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_without_a_study_the_default_one_of_this_clone_runs(door: Path, tmp_path: Path) -> None:
    assert call(door, tmp_path, "-np", "2") == [
        f"{door.parent}/bench/__init__.py",
        str(tmp_path),
        "run", "-np", "2", f"{door.parent}/studies/default.yaml",
    ]  # fmt: skip


def test_arguments_arrive_as_they_were_given(door: Path, tmp_path: Path) -> None:
    given = ["-np", "4", "-H", "a:2,b:2", "--network-interfaces", "eth 0", "--gloo", "", "$HOME `id`", "my study.yaml"]
    assert call(door, tmp_path, *given)[2:] == ["run", *given]


def test_a_link_in_a_folder_with_spaces_finds_its_clone(door: Path, tmp_path: Path) -> None:
    links = tmp_path / "my links"
    links.mkdir()
    (links / "first").symlink_to(os.path.relpath(door, links))
    (links / "second").symlink_to("first")
    assert call(links / "second", links, "x.yml")[0] == f"{door.parent}/bench/__init__.py"


@pytest.mark.parametrize("environ", [{}, {"PYTHONPATH": "."}])
def test_a_bench_folder_where_the_caller_stands_does_not_win(
    door: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    decoy = tmp_path / "decoy"
    (decoy / "bench").mkdir(parents=True)
    (decoy / "bench/__init__.py").write_text("raise SystemExit('the decoy won')")
    assert call(door, decoy, **environ)[:2] == [f"{door.parent}/bench/__init__.py", str(decoy)]


def test_help_needs_no_set_up_and_no_python(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "horovodrun.sh", "-np", "2", "--help"],
        cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "PYTHON": "/nowhere"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0] == FIRST_LINE
    assert lines[-1].startswith("change the set-up; `make setup`")
    for flag in ("-np N", "-H, --hosts", "--hostfile", "--network-interfaces", "--gloo, --mpi", "PACELINE_WITH"):
        assert flag in done.stdout


def test_a_set_up_that_fails_stops_the_front_door(repository: Repository) -> None:
    done = subprocess.run(
        [repository.root / "horovodrun.sh"],
        env=repository.environ | {"PACELINE_WITH": "nothing"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("paceline set-up: no part is called 'nothing'")


def test_a_second_start_reaches_the_study_without_starting_another_python(door: Path, tmp_path: Path) -> None:
    python = door.parent / ".venv/bin/python"
    python.unlink()
    python.write_text("#!/bin/sh\necho reached\n")
    python.chmod(0o755)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        assert call(door, tmp_path) == ["reached"]
        seconds.append(time.perf_counter() - started)
    # For a reader of `pytest -rP`; a bound would measure the other tests on this machine.
    print(f"shell part, median of 5: {1000 * statistics.median(seconds):.1f} ms")
