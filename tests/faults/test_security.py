"""Nothing between a study and its ranks goes through a shell unquoted, and no secret reaches an artefact."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench import catalog, journal, redaction, run, study
from bench.errors import UserError
from bench.launch.commands import Cluster, allowed, commands
from bench.launch.execute import execute
from bench.launch.watch import Watch
from bench.points import Header
from bench.records import Trial

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


def _texts(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[str]:
    """Of a record and those in it: the fields that hold a text."""
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _texts(field.type, f"{prefix}{field.name}.")
        elif "str" in str(field.type) or "Literal" in str(field.type):
            yield prefix + field.name


# `options` are a backend's own: their names are checked, and their values are not on any command line.
FIELDS = sorted({*_texts(Header), *_texts(Trial)} - {"options"})


@pytest.mark.parametrize("field", FIELDS)
def test_a_command_in_a_field_of_the_study_is_refused_and_not_run(tmp_path, field):
    assert {"name", "workload.data", "optimizer.name"} < set(FIELDS)
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


def test_a_command_in_an_option_or_behind_a_yaml_tag_is_not_run(tmp_path, monkeypatch):
    """An option's text is for the backend alone: it is on no command line and in no variable."""
    monkeypatch.chdir(tmp_path)
    marker = tmp_path / "ran"
    for injected in (one for one in injections(marker) if one.isprintable()):  # another one is refused
        options = STUDY.format(launcher=launchers()[-1]).replace("{step_ms: 0.01}", msgspec.json.encode({"fault": injected}).decode())  # fmt: skip
        (tmp_path / "study.yaml").write_text(options)
        (trial,) = study.load(tmp_path / "study.yaml").trials
        assert trial.options == {"fault": injected}
        for started in commands(trial, tmp_path, sys.executable, Cluster(), {}):
            assert str(marker) not in " ".join((*started.argv, *started.environment.values()))
    for tag in ("python/object/apply:os.system", "python/object/new:os.system", "python/name:os.system"):
        (tmp_path / "study.yaml").write_text(f"backend: !!{tag} ['touch {marker}']\n")
        with pytest.raises(UserError, match="has the YAML type 'python/"):
            study.load(tmp_path / "study.yaml")
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
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "HOROVOD_HEADER": f"Authorization: Bearer {SECRET}",
        "UCX_SOURCE": f"https://{SECRET}@host/x",
        "NETRC_LINE": f"machine host login me password {SECRET}",
        "NCCL_X; touch ran;": "x",
    }
    done = paceline("run", "study.yaml", "--runs", runs, cwd=tmp_path, **planted)
    assert done.returncode == 0, done.stderr + done.stdout
    assert not marker.exists() and not list(tmp_path.rglob("ran"))
    files = [path for path in runs.rglob("*") if path.is_file()]
    assert any(path.name == "report.html" for path in files)
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in done.stdout + done.stderr
    assert all("NCCL_X;" not in text.read_text() for text in files if text.suffix in (".json", ".html"))
    assert {path.stat().st_mode & 0o077 for path in runs.iterdir() if path.name.startswith("safe")} == {0}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://me:p@ss@host/p", "https://me:***@host/p"),
        ("clone https://ghp_0123456789abcdef@github.com/x", "clone https://***@github.com/x"),
        ("Authorization: Bearer abcdefghijklmnopqrst", "Authorization: Bearer ***"),
        ("{'authorization': 'Basic dXNlcjpwYXNz'}", "{'authorization': 'Basic ***'}"),
        ("-H 'X-Api-Key: abcdefgh1234'", "-H 'X-Api-Key: ***'"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "AWS_SECRET_ACCESS_KEY=***"),
        ("machine host login me password hunter2", "machine host login me password ***"),
        ("HF_TOKEN=abcdef1234 python x.py", "HF_TOKEN=*** python x.py"),
        ("GET /path?token=abc123&x=1", "GET /path?token=***&x=1"),
        ("s3://b/k?X-Amz-Signature=abcdef123456&x=1", "s3://b/k?X-Amz-Signature=***&x=1"),
        ("token hf_abcdefghijklmnopqrst is", "token hf_*** is"),
    ],
)
def test_what_has_the_form_of_a_secret_is_taken_out_of_a_text(text: str, clean: str) -> None:
    assert redaction.redacted(text) == clean


@pytest.mark.parametrize(
    "text",
    ["pad_token: [PAD], 12345678 tokens", "bert.encoder.layer.1.attention.self.key.weight: 0.123456789",
     "tcp://10.0.0.1:29500, tcp://[::1]:123", "password authentication failed", "num_key_value_heads=8"],
)  # fmt: skip
def test_what_only_sounds_like_one_stays(text: str) -> None:
    assert redaction.redacted(text) == text


def test_a_ranks_error_is_still_one_after_its_secrets_are_gone(tmp_path):
    error = journal.RankError(
        rank=0, phase="windows", kind="ValueError", sentence='cannot open "https://h/x?password=hunter2xyz"',
        traceback='{"Authorization": "Token abcd1234efgh"}', ended_by=None,
    )  # fmt: skip
    path = tmp_path / "rank-0.error"
    path.write_bytes(msgspec.json.encode(error))
    redaction.redact_files([path], {"DB_PASSWORD": "traceback"})
    found = journal.read_error(tmp_path, 0)
    assert found is not None
    assert found.sentence == 'cannot open "https://h/x?password=***"'
    assert "abcd1234efgh" not in found.traceback


def test_logs_and_errors_of_a_launch_keep_no_secret_and_keep_their_times(tmp_path, monkeypatch):
    """A rank's library may print what it was told, or what it found in a file of the person's home."""
    monkeypatch.setenv("MY_API_KEY", SECRET)
    says = f"print('{SECRET} and {SECRET[:8]}; Authorization: Bearer 0123456789abcdefgh', flush=True)"
    code = f"from pathlib import Path; import os; error = Path('rank-0.error'); error.write_text('{SECRET}'); os.utime(error, (5, 5)); {says}"
    started = commands(Trial(backend="null", launcher="local", replicas=1), tmp_path, sys.executable, Cluster(), {})
    started = [type(started[0])((sys.executable, "-c", code), {})]
    execute(started, Watch(tmp_path, 1, Trial(backend="null"), 1.0), 60.0, tmp_path / "lease")
    assert (tmp_path / "launcher.txt").read_text() == f"*** and {SECRET[:8]}; Authorization: Bearer ***\n"
    assert (tmp_path / "rank-0.error").read_text() == "***"
    assert (tmp_path / "rank-0.error").stat().st_mtime == 5


def test_a_variable_reaches_the_ranks_by_a_plain_name_and_without_a_secret_in_it():
    given = {
        "NCCL_DEBUG": "INFO", "NCCL_X;touch ran;": "1", "NCCL_AUTH": "1", "UCX_URL": "http://me:secret@host",
        "SSH_AUTH_SOCK": "/tmp/agent", "HF_TOKEN": "x",
    }  # fmt: skip
    assert allowed(given) == {"NCCL_DEBUG": "INFO", "SSH_AUTH_SOCK": "/tmp/agent"}


def test_a_path_that_horovodrun_would_give_to_a_shell_is_refused(tmp_path):
    key, elsewhere = tmp_path / "key; touch ran", (("h1", 1), ("localhost", 1))
    key.touch()

    def start(folder: Path, **cluster: object) -> None:
        trial = Trial(backend="torch_ddp", replicas=2, launcher="horovodrun")
        commands(trial, folder, sys.executable, Cluster(**cluster), {})  # type: ignore[arg-type]

    with pytest.raises(UserError, match=r"^-i: horovodrun gives the path '.*key; touch ran' to a shell; "):
        start(tmp_path, ssh_identity_file=str(key))
    with pytest.raises(UserError, match=r"^--runs: horovodrun gives the path '.*\$\(touch\)' to a shell; "):
        start(tmp_path / "$(touch)", hosts=elsewhere)
    start(tmp_path / "$(touch)", hosts=(("localhost", 2),))
    start(tmp_path / "a b", hosts=elsewhere, ssh_identity_file=str(tmp_path / "key"))
