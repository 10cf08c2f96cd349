"""Emulated hosts for real: made, used by each launcher, and removed whatever happens."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench import catalog, hosts
from bench.cli.hosts import down, up
from bench.errors import UserError
from bench.hosts import lifetime, shell
from bench.hosts.emulated import Emulated
from bench.launch.commands import Cluster, Command, commands
from bench.records import Trial

ROOT = Path(__file__).resolve().parents[2]
WIRE_BYTES = 11_175_000  # a quarter of BERT-mini's gradients
WIRE_TOLERANCE = 0.30  # of the wire time, on a machine that others use as well

_reason = hosts.why_not()
if _reason is None and subprocess.run(("unshare", "--net", "true"), capture_output=True, check=False).returncode:
    _reason = "network namespaces are not allowed here"
pytestmark = pytest.mark.skipif(_reason is not None, reason=str(_reason))


def namespaces(identifier: str = "") -> list[str]:
    return sorted(path.name for path in lifetime.NAMESPACES.glob(f"paceline-{identifier}*"))


def left_of(identifier: str) -> list[Path]:
    found = [
        path for folder in (lifetime.NAMESPACES, lifetime.FILES) for path in folder.glob(f"paceline-{identifier}-*")
    ]
    return found + list(shell.STATE.glob(f"{identifier}*"))


@pytest.fixture(scope="module")
def pair() -> Iterator[Emulated]:
    """Two hosts for all launches."""
    with hosts.emulated("2@200mbit") as made:
        yield made
    assert left_of(made.identifier) == []


def on(emulated: Emulated, command: tuple[str, ...], host: int = 0, **more: str) -> str:
    """Standard output of a command on a host."""
    environment = {**os.environ, **emulated.environment, **more}
    done = subprocess.run(
        (*emulated.inside(host), *command), env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def launched(emulated: Emulated, trial: Trial, folder: Path, worker: tuple[str, ...], mpi: bool = False) -> str:
    """Output of the real launcher's ranks, with `worker` in place of the harness's own."""
    cluster = Cluster(hosts=emulated.cluster.hosts, network_interface="eth0", mpi=mpi)
    (built,) = commands(trial, folder, sys.executable, cluster, os.environ)
    own = (sys.executable, "-P", "-m", "bench.worker", str(folder))
    assert built.argv[-len(own) :] == own
    (placed,) = emulated.place([Command((*built.argv[: -len(own)], *worker), built.environment)])
    done = subprocess.run(
        placed.argv, env=dict(placed.environment), cwd=folder, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_each_host_has_its_own_name_and_finds_the_others(pair: Emulated) -> None:
    ask = "import socket; print(socket.gethostname(), *map(socket.gethostbyname, (socket.gethostname(), 'host0')))"
    assert on(pair, (sys.executable, "-c", ask), host=1).split() == ["host1", "10.99.0.2", "10.99.0.1"]


def test_the_ssh_of_the_set_takes_options_before_and_after_the_host_and_passes_no_environment(pair: Emulated) -> None:
    words = ["ssh", "-o", "PasswordAuthentication=no", "host1", "-p", "22"]
    said = on(pair, (*words, "echo $SECRET on $(cat /proc/sys/kernel/hostname); exit 0"), SECRET="secret")
    assert said == "on host1\n"


def test_the_ssh_of_the_set_refuses_a_host_that_is_not_in_it(pair: Emulated) -> None:
    done = subprocess.run(
        [shell.shell_folder(pair.identifier) / "ssh", "host7", "true"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (255, "ssh: no emulated host is called host7; there are host0|host1\n")


@pytest.mark.parametrize("mpi", [False, True], ids=["horovodrun", "mpirun"])
def test_a_launcher_starts_one_rank_on_each_host(pair: Emulated, tmp_path: Path, mpi: bool) -> None:
    launcher = "mpirun" if mpi else "horovodrun"
    if catalog.why_no_launcher(launcher):
        pytest.skip(f"no framework: {catalog.why_no_launcher(launcher)}")
    said = launched(
        pair, Trial(backend="null", launcher=launcher), tmp_path, ("cat", "/proc/sys/kernel/hostname"), mpi
    )  # fmt: skip
    assert sorted(re.findall(r"host\d", said)) == ["host0", "host1"]


def test_torchrun_starts_one_rank_on_each_host(pair: Emulated, tmp_path: Path) -> None:
    torchrun = catalog.program("torchrun")
    if torchrun is None:
        pytest.skip("no framework: torchrun is not installed")
    code = "import os, socket; print(socket.gethostname(), os.environ['RANK'], os.environ['LOCAL_RANK'])"
    meeting = ("--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "host0", "--master-port", "29500")
    started = pair.place(
        [
            Command((torchrun, *meeting, "--node-rank", node, "--no-python", sys.executable, "-c", code), os.environ)
            for node in "01"
        ]
    )
    processes = [
        subprocess.Popen(each.argv, env=dict(each.environment), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for each in started
    ]  # fmt: skip
    assert [process.communicate(timeout=120)[0].split() for process in processes] == [
        ["host0", "0", "0"], ["host1", "1", "0"],
    ]  # fmt: skip


@pytest.mark.parametrize(("stack", "backend"), [("torch", "torch_ddp"), ("horovod", "torch_horovod")])
def test_an_all_reduce_takes_the_time_that_its_bytes_take_on_the_wire(
    pair: Emulated, tmp_path: Path, stack: str, backend: str
) -> None:
    reason = catalog.why_not_installed(backend) or catalog.why_no_launcher("horovodrun")
    if reason is not None:
        pytest.skip(f"no framework: {reason}")
    worker = (sys.executable, "-P", str(Path(__file__).parent / "wire.py"), str(tmp_path), stack, str(WIRE_BYTES), "5")
    trial = Trial(backend=backend)
    launched(pair, trial, tmp_path, ("env", f"PYTHONPATH={ROOT}", *worker))
    seen: list[dict[str, Any]] = [json.loads((tmp_path / f"wire-{rank}.json").read_text()) for rank in range(2)]
    assert [rank["host"] for rank in seen] == ["host0", "host1"]
    took = statistics.median(max(pair_of) for pair_of in zip(*(rank["durations_ns"] for rank in seen), strict=True))
    # 2 (N - 1) / N x bytes / rate, for N = 2 at 200 Mbit/s: 0.447 s.
    assert took / 1e9 == pytest.approx(0.447, rel=WIRE_TOLERANCE)


def test_two_sets_at_once_do_not_meet() -> None:
    with hosts.emulated("1@1gbit") as one, hosts.emulated("1@100mbit") as other:
        shaped = [
            subprocess.run(
                ("tc", "-n", f"paceline-{made.identifier}-host0", "qdisc"), capture_output=True, text=True, check=True
            ).stdout
            for made in (one, other)
        ]
        assert "rate 1Gbit" in shaped[0] and "rate 100Mbit" in shaped[1]
        assert len(namespaces(one.identifier)) == len(namespaces(other.identifier)) == 2
    assert left_of(one.identifier) == left_of(other.identifier) == []


def test_a_set_that_stays_is_used_by_its_name_and_taken_down() -> None:
    identifier = hosts.up(hosts.parse("1@1gbit"))
    with hosts.emulated(identifier) as again:
        assert again.cluster.hosts == (("host0", 1),)
        assert hosts.down((identifier,)) == ([], [identifier])
        with pytest.raises(UserError, match=f"the emulated hosts {identifier} are in use by another run"):
            hosts.emulated(identifier).__enter__()
    assert hosts.down((identifier,)) == ([identifier], [])
    assert left_of(identifier) == []
    with pytest.raises(UserError, match=f"no set of emulated hosts is called '{identifier}'"):
        hosts.emulated(identifier).__enter__()


HOLD = """
import subprocess
from bench import hosts
from bench.cli.shared import on_termination
with on_termination(), hosts.emulated("1@1gbit") as made:
    subprocess.run((*made.inside(0), "sh", "-c", f"echo {made.identifier} $$; exec sleep 1000"))
"""


def holder() -> tuple[subprocess.Popen[str], str, int]:
    """A process with a set of its own, the set's identifier, and a process on its host."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", HOLD], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout:
        identifier, pid = process.stdout.readline().split()
    return process, identifier, int(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_told_to_end_removes_its_hosts_and_what_runs_there(number: signal.Signals) -> None:
    process, identifier, pid = holder()
    process.send_signal(number)
    process.wait(timeout=60)
    assert (left_of(identifier), psutil.pid_exists(pid)) == ([], False)


def test_down_repairs_what_a_killed_run_has_left_and_ends_what_runs_there() -> None:
    process, identifier, pid = holder()
    assert hosts.down((identifier,)) == ([], [identifier])
    process.kill()
    process.wait(timeout=60)
    assert (len(namespaces(identifier)), psutil.pid_exists(pid)) == (2, True)
    assert hosts.down((identifier,)) == ([identifier], [])
    assert left_of(identifier) == []
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_what_an_interrupted_up_has_half_made_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = namespaces()

    def interrupted(command: tuple[str, ...]) -> None:
        if "addr" in command:
            raise KeyboardInterrupt
        made(command)

    made = lifetime._run
    monkeypatch.setattr(lifetime, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        hosts.up(hosts.parse("2@1gbit"))
    assert namespaces() == before


def test_a_kernel_without_netem_is_a_sentence_and_leaves_nothing() -> None:
    before = namespaces()
    probe = "tc qdisc replace dev lo root netem delay 1ms"
    if subprocess.run(("unshare", "--net", *probe.split()), capture_output=True, check=False).returncode == 0:
        pytest.skip("this kernel has netem")
    with pytest.raises(UserError, match=r"this kernel cannot delay packets \(netem: .*\); leave the latency out"):
        hosts.up(hosts.parse("1@1gbit+2ms"))
    assert namespaces() == before


def test_the_command_says_how_to_use_what_it_made(capsys: pytest.CaptureFixture[str]) -> None:
    up.main(["--count", "1", "--rate", "1gbit"], standalone_mode=False)
    made, run, shell_on_one, _ = capsys.readouterr().out.splitlines()
    identifier = made[:6]
    assert made == f"{identifier}: 1 host at 1gbit, host0 to host0"
    assert run == f"run a study on them  paceline run --hosts emulated:{identifier} STUDY"
    assert shutil.which(shell_on_one.split()[4]) is not None
    down.main([identifier], standalone_mode=False)
    assert capsys.readouterr().out == f"{identifier} removed\n"
