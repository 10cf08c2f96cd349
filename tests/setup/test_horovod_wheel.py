from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from bench.setup import horovod_wheel
from bench.setup.horovod_wheel import EDITS, SetupError, cache_key, patch

SCRIPT = horovod_wheel.__file__
INGREDIENTS: dict[str, str | None] = {
    "horovod": "0.28.1",
    "edits": "09f1bfe96fea404c",
    "python": "3.11",
    "platform": "linux-x86_64-glibc-2.36",
    "compiler": "g++ 12.2.0",
    "mpi": None,
    "nvcc": None,
    "gpu_operations": None,
    "torch": "2.13.0",
    "tensorflow": "2.21.0",
}


def source_tree(root: Path) -> Path:
    for name, old, _ in EDITS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"before\n{old}\nafter\n")
    return root


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)


def build(tools: Path, *python: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The real script with `tools` as the only folder on PATH and an empty cache."""
    env = {"PATH": str(tools), "XDG_CACHE_HOME": str(tools / "cache"), "HOME": str(tools), **environ}
    argv = [*(python or (sys.executable,)), "-P", SCRIPT]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


def test_the_three_edits_change_those_lines_and_nothing_else(tmp_path: Path) -> None:
    patch(source_tree(tmp_path))
    assert (tmp_path / "CMakeLists.txt").read_text() == "before\nset(CMAKE_CXX_STANDARD 20)\nafter\n"
    assert (tmp_path / "horovod/torch/CMakeLists.txt").read_text() == "before\nset(CMAKE_CXX_STANDARD 20)\nafter\n"
    assert "xla_mpi_ops.cc)" not in (tmp_path / "horovod/tensorflow/CMakeLists.txt").read_text()


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("times", [0, 2])
def test_a_source_without_exactly_one_place_for_an_edit_is_refused(tmp_path: Path, index: int, times: int) -> None:
    name, old, _ = EDITS[index]
    (source_tree(tmp_path) / name).write_text(f"{old}\n" * times)
    with pytest.raises(SetupError, match=r"does not hold .* exactly once; is this really 0\.28\.1"):
        patch(tmp_path)


@pytest.mark.parametrize("ingredient", INGREDIENTS)
def test_the_cache_key_changes_with_every_ingredient(ingredient: str) -> None:
    assert cache_key(INGREDIENTS | {ingredient: "another"}) != cache_key(INGREDIENTS)


def test_the_cache_is_keyed_by_everything_that_is_read_from_this_machine() -> None:
    assert sorted(horovod_wheel.ingredients()) == sorted(INGREDIENTS)
    assert cache_key(dict(reversed(INGREDIENTS.items()))) == cache_key(INGREDIENTS)


def test_another_compiler_on_the_path_is_another_key(tmp_path: Path) -> None:
    keys = []
    for version in ("g++ 12.2.0", "g++ 14.1.0"):
        program(tmp_path, "g++", version)
        done = subprocess.run(
            [sys.executable, "-P", SCRIPT, "--print-key"],
            env={"PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        keys.append(done.stdout)
    assert '"compiler": "g++ 12.2.0"' in keys[0]
    assert '"compiler": "g++ 14.1.0"' in keys[1]


def test_a_machine_without_a_compiler_is_told_what_to_install(tmp_path: Path) -> None:
    done = build(tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "paceline set-up: no C++ compiler: g++ is not on PATH; on Debian: apt-get install g++ make\n"
    )


def test_a_machine_without_make_is_told_what_to_install(tmp_path: Path) -> None:
    program(tmp_path, "g++", "g++ 12.2.0")
    done = build(tmp_path)
    assert done.returncode == 2
    assert done.stderr == "paceline set-up: no make on PATH; on Debian: apt-get install make\n"


def tools_without_work(folder: Path) -> Path:
    for name in ("g++", "make"):
        program(folder, name, f"{name} 1.0")
    return folder


def test_a_python_without_headers_is_told_what_to_install(tmp_path: Path) -> None:
    stdlib = Path(sysconfig.get_path("stdlib"))
    (tmp_path / "home" / "lib").mkdir(parents=True)
    (tmp_path / "home" / "lib" / stdlib.name).symlink_to(stdlib)
    done = build(tools_without_work(tmp_path), sys._base_executable, PYTHONHOME=str(tmp_path / "home"))
    assert done.returncode == 2
    header = tmp_path / "home" / "include" / stdlib.name
    assert done.stderr == f"paceline set-up: no Python.h in {header}; on Debian: apt-get install python3-dev\n"


def test_horovod_without_a_framework_says_that_it_needs_one(tmp_path: Path) -> None:
    done = build(tools_without_work(tmp_path), sys.executable, "-S")
    assert done.returncode == 2
    assert done.stderr == (
        "paceline set-up: Horovod needs torch or tensorflow to build against; install one of them first\n"
    )


@pytest.mark.skipif(not (horovod_wheel.installed("torch") or horovod_wheel.installed("tensorflow")), reason="neither")
def test_a_source_that_cannot_be_downloaded_is_one_sentence(tmp_path: Path) -> None:
    closed = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0"}
    done = build(tools_without_work(tmp_path), **closed)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("paceline set-up: could not download the Horovod 0.28.1 source: ")
    assert last.endswith("; check the network or pip's index settings")
    assert "Traceback" not in done.stderr
