"""Studies on emulated hosts: each launcher takes them for a cluster, and no run leaves anything behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench import baselines, catalog, hosts, journal
from bench.cli.run import plan
from bench.errors import UserError
from bench.records import Plan, RankInfo, Result, Window
from bench.storage import unseal
from tests.hosts.leftovers import abandoned, cleared, left_of, namespaces, possible, set_of

STUDY = """
name: on-hosts
bare: false
repeats: {repeats}
workload: {{sequence_length: 16, batch_per_replica: 2}}
timing: {{warmup_windows: 1, windows: {windows}, steps_per_window: 2}}
backend: 'null'
options: {{step_ms: {step_ms}}}
"""


def write_study(folder: Path, more: str = "", step_ms: float = 1, repeats: int = 1, windows: int = 3) -> Path:
    path = folder / "study.yaml"
    path.write_text(STUDY.format(step_ms=step_ms, repeats=repeats, windows=windows) + more)
    return path


def paceline(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-P", "-m", "bench", *map(str, arguments)]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=200, check=False)


def wait_until(condition: Callable[[], Any], deadline_s: float = 60.0) -> Any:
    """Polls, because what is awaited happens in other processes."""
    began = time.monotonic()
    while not (found := condition()):
        assert time.monotonic() - began < deadline_s, "it never happened"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokenised once for all runs."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def folder(tmp_path: Path, cache: Path) -> Path:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / ".cache").symlink_to(cache)
    return tmp_path


def run_folder(folder: Path) -> Path:
    (found,) = folder.glob("runs/on-hosts-*")
    return found


def the_result(folder: Path) -> Result:
    return unseal((run_folder(folder) / "result.json").read_bytes(), Result)


@possible
def test_every_launcher_fills_the_hosts_in_order_and_the_result_says_what_they_were(folder: Path) -> None:
    launchers = [name for name in ("horovodrun", "torchrun", "mpirun") if catalog.why_no_launcher(name) is None]
    if not launchers:
        pytest.skip("no framework: no launcher is installed that reaches other hosts")
    before = abandoned()
    path = write_study(
        folder, f"matrix:\n  launcher: [{', '.join(launchers)}, local]\n  backend: ['null', tf_mirrored]\n"
    )
    path.write_text(path.read_text().replace("backend: 'null'\n", "", 1))
    done = paceline("run", path, "-np", 3, "-H", "emulated:2x2@1gbit", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert abandoned() == before
    result = the_result(folder)
    assert {trial.trial.launcher: [repeat.hosts for repeat in trial.repeats] for trial in result.trials if trial.repeats} == {
        launcher: [["host0", "host0", "host1"]] for launcher in launchers
    }  # fmt: skip
    refused = {trial.reason for trial in result.trials if trial.status == "not_selectable"}
    assert refused == {
        "the launcher local starts ranks on this host only, not on 2",
        "tf_mirrored keeps all replicas in one process and cannot span 2 hosts",
    }
    assert result.environment.emulated_hosts == "2x2@1gbit"
    assert {reading.fingerprint["emulated_hosts"] for reading in baselines.read_run(run_folder(folder))} == {
        "2x2@1gbit"
    }
    assert "2x2@1gbit" in (run_folder(folder) / "report.html").read_text()


def in_a_window(folder: Path, repeat: int) -> RankInfo | None:
    """A rank of that launch, once it is measuring."""
    for path in folder.glob(f"runs/on-hosts-*/*/{repeat}/rank-1.jsonl"):
        lines = journal.read(path.parent, 1)
        if any(isinstance(line, Window) for line in lines) and isinstance(lines[0], RankInfo):
            return lines[0]
    return None


@possible
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_run_that_is_ended_leaves_no_hosts_and_is_resumed_on_the_same_ones(
    folder: Path, number: signal.Signals
) -> None:
    """SIGKILL gives it no chance: `paceline hosts down` then takes the hosts, and the ranks on them, away."""
    launcher = next((name for name in ("mpirun", "horovodrun") if catalog.why_no_launcher(name) is None), None)
    if launcher is None:
        pytest.skip("no framework: no launcher is installed that reaches other hosts")
    before = abandoned()
    # two seconds of windows, in the first of which the rank is met and stopped
    write_study(folder, f"launcher: {launcher}\n", step_ms=100, repeats=2, windows=9)
    argv = [sys.executable, "-P", "-m", "bench", "run", "study.yaml", "-H", "emulated:2@1gbit"]
    process = subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with cleared(process) as sets:
        rank = wait_until(lambda: in_a_window(folder, 1))
        os.kill(rank.pid, signal.SIGSTOP)
        assert rank.host == "host1"
        identifier = set_of(rank.pid)
        sets.append(identifier)
        process.send_signal(number)
        os.kill(rank.pid, signal.SIGCONT)
        status = process.wait(timeout=60)
        if number == signal.SIGKILL:
            assert paceline("hosts", "down", identifier, cwd=folder).stdout == f"{identifier} removed\n"
        else:
            assert status == 130
    assert left_of(identifier) == []
    assert not psutil.pid_exists(rank.pid) or psutil.Process(rank.pid).status() == psutil.STATUS_ZOMBIE
    (kept,) = run_folder(folder).glob("*/0/repeat.json")
    content = kept.read_bytes()
    resumed = paceline("run", "study.yaml", "--resume", run_folder(folder), cwd=folder)
    assert resumed.returncode == 0, resumed.stderr
    assert kept.read_bytes() == content
    (trial,) = the_result(folder).trials
    assert [repeat.hosts for repeat in trial.repeats] == [["host0", "host1"]] * 2
    assert abandoned() == before


@possible
def test_a_set_that_stays_is_used_by_its_name_and_not_taken_away(folder: Path) -> None:
    identifier = hosts.up(hosts.parse("1x2@1gbit"))
    try:
        write_study(folder, "launcher: local\n")
        done = paceline("run", "study.yaml", "-H", f"emulated:{identifier}", cwd=folder)
        assert done.returncode == 0, done.stderr
        (trial,) = the_result(folder).trials
        assert trial.repeats[0].hosts == ["host0", "host0"]
        assert len(namespaces(identifier)) == 2
        planned = unseal((run_folder(folder) / "plan.json").read_bytes(), Plan)
        assert planned.environment.emulated_hosts == "1x2@1gbit"
    finally:
        assert hosts.down((identifier,)) == ([identifier], [])


# ---- bad input: one sentence, and nothing is made -----------------------------------------------------------


def refused(folder: Path, *flags: str, more: str = "") -> str:
    """The sentence of `paceline plan`."""
    before = abandoned()
    with pytest.raises(UserError) as caught:
        plan.main([str(write_study(folder, more)), *flags], standalone_mode=False)
    assert abandoned() == before
    return str(caught.value)


@possible
@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["-H", "emulated:4@0gbit"], "emulated hosts: a rate of 0gbit; the slowest link possible is 10kbit"),
        (["-H", "emulated:200x9@1gbit"], "200 hosts with 9 slots each at 1gbit need 1800 GiB of memory"),
        (["-H", "emulated:4"], "emulated hosts: '4' is not understood; expected COUNT@RATE"),
        (["-H", "emulated:ffffff"], "no set of emulated hosts is called 'ffffff'; `paceline hosts up` makes one"),
        (["-H", "emulatd:4@1gbit"], "-H: 'emulatd:4@1gbit' has no valid number of slots; expected host:slots"),
        (["-H", "emulated:2@1gbit", "--network-interfaces", "ib0"], "emulated hosts have no network interface 'ib0'; they have eth0"),
        (["-H", "emulated:2@1gbit", "-p", "22"], "emulated hosts are reached without ssh; leave out -p and -i"),
        (["-H", "emulated:2@1gbit", "-np", "3"], "-np 3 is more than the 2 slots of the given hosts"),
        (["--network-interfaces", "nope0"], "--network-interfaces: this machine has no network interface 'nope0'; it has "),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence_and_makes_no_hosts(tmp_path: Path, flags: list[str], sentence: str) -> None:
    assert refused(tmp_path, *flags).startswith(sentence)


def test_an_algorithm_with_a_typo_is_answered_with_its_name(tmp_path: Path) -> None:
    said = refused(tmp_path, more="allreduce: rign\n")
    assert "allreduce is 'rign'" in said and "ring" in said


def test_who_is_not_root_is_told_so_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert refused(tmp_path, "-H", "emulated:2@1gbit").startswith("emulated hosts ")


@possible
def test_a_plan_shows_the_commands_and_makes_no_hosts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = abandoned()
    write_study(tmp_path, "launcher: torchrun\n")
    if catalog.why_no_launcher("torchrun") is not None:
        pytest.skip("no framework: torchrun is not installed")
    plan.main([str(tmp_path / "study.yaml"), "-H", "emulated:2@1gbit"], standalone_mode=False)
    said = capsys.readouterr().out
    assert [line.split("'")[0].strip() for line in said.splitlines()[1:3]] == [
        "ssh -o BatchMode=yes host0", "ssh -o BatchMode=yes host1",
    ]  # fmt: skip
    assert "PATH=/var/lib/paceline/hosts/NAME/bin:" in said
    assert abandoned() == before


# ---- who listens --------------------------------------------------------------------------------------------

LISTENING = """
import json, os, sys
from pathlib import Path
import psutil
from bench.launch.world import find_world
from bench.records import Assignment, Trial
from bench.worker import load_backend

folder, name = Path(sys.argv[1]), sys.argv[2]
trial = Trial(backend=name)
assignment = Assignment(trial=trial, trial_id="x", repeat=0, ranks=2, local_replicas=1, data="", checkpoint="",
                        network_interface=sys.argv[3] or None)
backend = load_backend(name)
backend.start(find_world(assignment, folder, os.environ))
backend.barrier()
found = psutil.Process().net_connections(kind="inet")
said = sorted({each.laddr.ip.removeprefix("::ffff:") for each in found})
(folder / f"addresses-{os.environ['PACELINE_RANK']}").write_text(json.dumps(said))
backend.barrier()
backend.stop()
os._exit(0)
"""


@possible
@pytest.mark.parametrize(("backend", "interface"), [("null", ""), ("torch_ddp", "eth0")])
def test_ranks_listen_and_talk_on_the_chosen_interface_only_or_else_on_that_of_the_hosts_name(
    tmp_path: Path, backend: str, interface: str
) -> None:
    reason = catalog.why_not_installed(backend)
    if reason is not None:
        pytest.skip(f"no framework: {reason}")
    with hosts.emulated("2@1gbit") as made:
        started = []
        for rank in (0, 1):
            place = {"PACELINE_RANK": str(rank), "PACELINE_SIZE": "2", "PACELINE_LOCAL_RANK": "0", "PACELINE_LOCAL_SIZE": "1"}  # fmt: skip
            argv = (*made.inside(rank), sys.executable, "-P", "-c", LISTENING, str(tmp_path), backend, interface)
            started.append(subprocess.Popen(argv, env={**os.environ, **place}))
        assert [process.wait(timeout=120) for process in started] == [0, 0]
    assert [json.loads((tmp_path / f"addresses-{rank}").read_text()) for rank in (0, 1)] == [
        ["10.99.0.1"],
        ["10.99.0.2"],
    ]
