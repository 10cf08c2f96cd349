"""Nothing between a study and its ranks goes through a shell unquoted, and no secret reaches an artefact."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import catalog, run, study
from bench.errors import UserError
from bench.launch.commands import Cluster

SECRET = "hunter2-planted-token"
STUDY = """
name: safe
launcher: {launcher}
bare: false
repeats: 1
backend: 'null'
replicas: 2
workload: {{sequence_length: 16, batch_per_replica: 2}}
timing: {{warmup_windows: 1, windows: 2, steps_per_window: 2}}
options: {{step_ms: 0.01}}
"""


def paceline(*arguments: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-P", "-m", "bench", *map(str, arguments)]
    environment = {**os.environ, **variables}
    return subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=200, check=False)


def launchers() -> list[str]:
    return [name for name in ("local", "horovodrun", "torchrun", "mpirun") if catalog.why_no_launcher(name) is None]


def injections(marker: Path) -> list[str]:
    """What a shell would run, in each of the ways in which a shell can be reached."""
    touch = f"touch {marker}"
    return [f"x; {touch}", f"$({touch})", f"`{touch}`", f"x' ; {touch} ; '", f'x" ; {touch} ; "', f"x\n{touch}\n", f"| {touch}", f"-x={touch}"]  # fmt: skip


FIELDS = ("name", "backend", "launcher", "workload.task", "workload.model", "workload.data", "workload.validation",
          "workload.vocabulary", "optimizer.name", "compute", "wire", "allreduce")  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_a_command_in_a_field_of_the_study_is_refused_and_not_run(tmp_path, field):
    marker = tmp_path / "ran"
    section, _, key = field.rpartition(".")
    for injected in injections(marker):
        text = STUDY.format(launcher="local")
        lines = [line for line in text.splitlines() if not line.startswith(f"{section or key}:")]
        value = f'"{injected}"'.replace("\n", "\\n") if '"' not in injected else f"'{injected}'".replace("' ;", "'' ;")
        lines.append(f"{section}: {{{key}: {value}}}" if section else f"{key}: {value}")
        (tmp_path / "study.yaml").write_text("\n".join(lines))
        with pytest.raises(UserError):
            run.begin(study.load(tmp_path / "study.yaml"), tmp_path / "runs", False, Cluster(), run.Observer())
    assert not marker.exists()


@pytest.mark.parametrize(
    "flags",
    [("-H", "{}:2"), ("--network-interfaces", "{}"), ("-i", "{}"), ("--launcher", "{}")],
    ids=lambda flags: flags[0],
)
def test_a_command_in_a_flag_is_not_run(tmp_path, flags):
    marker = tmp_path / "ran"
    (tmp_path / "study.yaml").write_text(STUDY.format(launcher=launchers()[-1]))
    for injected in injections(marker)[:4]:
        given = [flag.format(injected) for flag in flags]
        done = paceline("run", "study.yaml", "--runs", "runs", *given, cwd=tmp_path)
        assert done.returncode in (1, 2), done.stdout
        assert "Traceback" not in done.stderr
    assert not marker.exists()


def test_a_command_in_a_host_file_is_refused_and_not_run(tmp_path):
    marker = tmp_path / "ran"
    (tmp_path / "study.yaml").write_text(STUDY.format(launcher="local"))
    for injected in injections(marker):
        (tmp_path / "hosts").write_text(f"{injected} slots=2\n")
        done = paceline("plan", "study.yaml", "--hostfile", "hosts", cwd=tmp_path)
        assert done.returncode == 2, done.stdout
        assert "Traceback" not in done.stderr
    assert not marker.exists()


@pytest.mark.parametrize("launcher", launchers())
def test_a_run_folder_with_a_command_in_its_name_is_only_a_folder(tmp_path, launcher):
    """And no secret of the environment, or in an address, is in anything that the run leaves."""
    marker = tmp_path / "ran"
    runs = tmp_path / "a 'b\" $(touch ran) ; touch ran; `touch ran`"
    (tmp_path / "study.yaml").write_text(STUDY.format(launcher=launcher))
    planted = {
        "HF_TOKEN": SECRET,
        "WANDB_API_KEY": SECRET,
        "HOROVOD_PASSWORD": SECRET,
        "NCCL_SECRET": SECRET,
        "HTTPS_PROXY": f"http://user:{SECRET}@proxy:1/",
        "NCCL_NET_PLUGIN_URL": f"https://user:{SECRET}@host/",
    }
    done = paceline("run", "study.yaml", "--runs", runs, cwd=tmp_path, **planted)
    assert done.returncode == 0, done.stderr + done.stdout
    assert not marker.exists() and not list(tmp_path.rglob("ran"))
    files = [path for path in runs.rglob("*") if path.is_file()]
    assert any(path.name == "report.html" for path in files)
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in done.stdout + done.stderr
    assert {path.stat().st_mode & 0o077 for path in runs.iterdir() if path.name.startswith("safe")} == {0}
