from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Repository

NO_COMPILER = {"CXX": "no-such-compiler"}
HERE = f"Python {sys.version_info[0]}.{sys.version_info[1]} on linux {platform.machine()}"


def stamp(repository: Repository) -> dict[str, Any]:
    return json.loads((repository.root / ".venv/.paceline").read_text())


def commands(repository: Repository) -> list[str]:
    log = (repository.root / ".venv/setup.log").read_text()
    return [line for line in log.splitlines() if line.startswith("$ ")]


def has(repository: Repository, module: str) -> bool:
    argv = [repository.root / ".venv/bin/python", "-Ic", f"import {module}"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def test_what_cannot_be_had_is_left_out_with_its_reason_and_the_rest_works(repository: Repository) -> None:
    repository.make_venv()
    done = repository.ready(**NO_COMPILER)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    written = stamp(repository)
    assert written["wanted"] == ["torch", "tensorflow", "horovod"]
    assert written["installed"] == ["core", "torch"]
    assert list(written["missing"]) == ["tensorflow", "horovod"]
    assert written["missing"]["tensorflow"].startswith(f"pip found no tensorflow==1.0 for {HERE}")
    assert written["missing"]["horovod"] == (
        "no C++ compiler: no-such-compiler is not on PATH; on Debian: apt-get install g++ make"
    )
    assert "taking the default build instead; its CUDA libraries are several GB" in done.stderr
    assert has(repository, "torch_module") and has(repository, "core_libraries_module")
    assert not has(repository, "tensorflow_module")

    commands_before = commands(repository)
    again = repository.ready(**NO_COMPILER)
    assert (again.returncode, again.stderr) == (0, "")
    assert commands(repository) == commands_before

    repository.pin("tensorflow", "tensorflow")
    retried = repository.ready("--retry", **NO_COMPILER)
    assert retried.returncode == 0, retried.stderr
    assert stamp(repository)["installed"] == ["core", "torch", "tensorflow"]


def test_a_part_that_was_asked_for_by_name_and_cannot_be_had_is_exit_2(repository: Repository) -> None:
    repository.make_venv()
    done = repository.ready(PACELINE_WITH="torch,tensorflow")
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"paceline set-up: tensorflow was asked for: pip found no tensorflow==1.0 for {HERE}")
    assert stamp(repository)["installed"] == ["core", "torch"]


def test_only_what_was_asked_for_is_installed_and_stays_the_choice(repository: Repository) -> None:
    repository.make_venv()
    assert repository.ready(PACELINE_WITH="torch").returncode == 0
    assert stamp(repository)["wanted"] == ["torch"]
    assert repository.ready("dev").returncode == 0
    assert stamp(repository)["wanted"] == ["dev", "torch"]
    assert stamp(repository)["installed"] == ["core", "dev", "torch"]
    with (repository.root / "pyproject.toml").open("a") as pyproject:
        pyproject.write("# changed\n")
    changed = repository.ready()
    assert "core, dev, torch" in changed.stderr
    assert stamp(repository)["wanted"] == ["dev", "torch"]


def test_a_name_that_is_no_part_is_refused_before_anything_is_made(repository: Repository) -> None:
    done = repository.ready(PACELINE_WITH="tensorflwo")
    assert (done.returncode, done.stderr) == (
        2,
        "paceline set-up: no part is called 'tensorflwo'; allowed are dev, torch, tensorflow, horovod\n",
    )
    assert not (repository.root / ".venv/pyvenv.cfg").exists()


def test_a_wheel_with_another_hash_is_refused(repository: Repository) -> None:
    repository.make_venv()
    repository.pin("core", "core_libraries", sha256="1" * 64)
    done = repository.ready()
    assert done.returncode == 2
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert stamp(repository)["key"] == "unfinished"
    assert not has(repository, "core_libraries_module")


def test_without_a_network_the_set_up_says_so_in_one_sentence(repository: Repository) -> None:
    repository.make_venv()
    closed = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "1", "PIP_NO_INDEX": "", "PIP_FIND_LINKS": ""}
    done = repository.ready(**closed)
    assert done.returncode == 2
    log = repository.root / ".venv/setup.log"
    assert done.stderr.splitlines()[-1] == (
        "paceline set-up: pip could not reach the package index; "
        f"check the network, or pip's index and proxy settings (log: {log})"
    )
    assert "Traceback" not in done.stderr


def test_a_set_up_that_was_killed_goes_on_where_it_was(repository: Repository) -> None:
    argv = [repository.root / "bench/setup/ready.sh"]
    environ = repository.environ | {"PACELINE_WITH": "torch"}
    with subprocess.Popen(argv, env=environ, stderr=subprocess.PIPE, text=True, start_new_session=True) as first:
        assert first.stderr is not None
        for line in first.stderr:
            if "virtual environment: ready" in line:
                os.killpg(first.pid, signal.SIGKILL)
    assert first.returncode == -signal.SIGKILL
    assert stamp(repository) == {"key": "unfinished", "wanted": ["torch"], "installed": [], "missing": {}}
    second = repository.ready()
    assert second.returncode == 0, second.stderr
    assert stamp(repository)["installed"] == ["core", "torch"]
    assert sum("-m venv" in command for command in commands(repository)) == 1


def test_a_broken_virtual_environment_is_made_anew(repository: Repository) -> None:
    (repository.root / ".venv/bin").mkdir(parents=True)
    (repository.root / ".venv/bin/python").symlink_to("/nowhere/python3")
    (repository.root / ".venv/pyvenv.cfg").write_text("home = /nowhere\n")
    assert repository.ready(PACELINE_WITH="torch").returncode == 0
    assert has(repository, "torch_module")


def test_of_two_set_ups_at_once_one_waits_and_has_nothing_left_to_do(repository: Repository) -> None:
    argv = [repository.root / "bench/setup/ready.sh"]
    environ = repository.environ | {"PACELINE_WITH": "torch"}
    running = [subprocess.Popen(argv, env=environ, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted((process.communicate()[1] for process in running), key=len)
    assert [process.returncode for process in running] == [0, 0], said
    assert said[0] == f"paceline set-up: another set-up is at work in {repository.root}/.venv; waiting for it\n"
    assert sum("-m venv" in command for command in commands(repository)) == 1


def test_a_clone_that_was_moved_is_set_up_again(repository: Repository) -> None:
    repository.make_venv()
    assert repository.ready(PACELINE_WITH="torch").returncode == 0
    moved = Repository(repository.root.with_name("moved"), repository.wheels, repository.tools)
    repository.root.rename(moved.root)
    done = moved.ready(PACELINE_WITH="torch")
    assert done.returncode == 0, done.stderr
    assert str(moved.root) in (moved.root / ".venv/bin/pip").read_text()
    assert "virtual environment: ready" in done.stderr and has(moved, "torch_module")


def test_the_shell_and_python_compute_the_same_key(repository: Repository) -> None:
    shell = f"source '{repository.root}/bench/setup/ready.sh' && paceline_key"
    python = [sys.executable, "-P", "-c", "from bench.setup.stamp import key; print(key(), end='')"]
    by_shell = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True).stdout
    environ = os.environ | {"PYTHONPATH": str(repository.root)}
    assert len(by_shell) == 64
    assert subprocess.run(python, env=environ, capture_output=True, text=True, check=True).stdout == by_shell


@pytest.mark.parametrize(
    "changed",
    ["pyproject.toml", "bench/setup/horovod_wheel.py", "bench/setup/nccl.py", "locks/torch.txt", ".venv/pyvenv.cfg"],
)
def test_the_key_changes_with_each_file_that_the_set_up_reads(repository: Repository, changed: str) -> None:
    shell = f"source '{repository.root}/bench/setup/ready.sh' && paceline_key"
    before = subprocess.run(["bash", "-c", shell], capture_output=True, check=True).stdout
    path: Path = repository.root / changed
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write("\n")
    assert subprocess.run(["bash", "-c", shell], capture_output=True, check=True).stdout != before


def test_a_machine_without_python_3_11_is_told_what_to_install(repository: Repository, tmp_path: Path) -> None:
    shells = tmp_path / "shells"
    shells.mkdir()
    for name in ("bash", "dirname", "cat", "sha256sum"):
        (shells / name).symlink_to(f"/usr/bin/{name}")
    done = subprocess.run(
        ["/bin/bash", repository.root / "bench/setup/ready.sh"],
        env={"PATH": str(shells)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "paceline set-up: no Python 3.11 or newer on PATH; "
        "on Debian 12 or newer: apt-get install python3 python3-venv; elsewhere: PYTHON=/path/to/python3.11\n"
    )


def test_a_python_without_venv_is_told_what_to_install(repository: Repository) -> None:
    code = (
        "import runpy, sys; sys.modules['ensurepip'] = None; sys.argv = ['environment'];"
        "runpy.run_module('bench.setup.environment', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=repository.environ | {"PYTHONPATH": str(repository.root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "has no venv module; on Debian: apt-get install python3-venv" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_set_up_runs_on_the_standard_library_alone() -> None:
    code = "import bench.setup.environment, bench.setup.horovod_wheel, sys; print(*sys.path, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", code],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "site-packages" not in done.stdout
