"""Emulated hosts for real: made, used by each launcher, and removed whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from bench import hosts
from bench.cli.hosts import down, up
from bench.errors import UserError
from bench.hosts import lifetime, shell
from bench.hosts.emulated import Emulated
from tests.hosts.leftovers import abandoned, cleared, left_of, namespaces, possible

ROOT = Path(__file__).resolve().parents[2]

pytestmark = possible


@pytest.fixture(scope="module")
def pair() -> Iterator[Emulated]:
    """Two hosts for all launches."""
    with hosts.emulated("2@200mbit") as made:
        yield made
    assert left_of(made.identifier) == []


def on(emulated: Emulated, command: tuple[str, ...], host: int = 0, **more: str) -> str:
    """Standard output of a command on a host."""
    environment = {**os.environ, **emulated.cluster.variables, **more}
    done = subprocess.run(
        (*emulated.inside(host), *command), env=environment, capture_output=True, text=True, timeout=120, check=False
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
    with cleared() as sets:
        identifier = hosts.up(hosts.parse("1@1gbit"))
        sets.append(identifier)
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


@contextmanager
def holder() -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """A process with a set of its own, the set's identifier, and a process on its host."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", HOLD], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with cleared(process) as sets:
        assert process.stdout is not None
        with process.stdout:
            identifier, pid = process.stdout.readline().split()
        sets.append(identifier)
        yield process, identifier, int(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_told_to_end_removes_its_hosts_and_what_runs_there(number: signal.Signals) -> None:
    with holder() as (process, identifier, pid):
        process.send_signal(number)
        process.wait(timeout=60)
        assert (left_of(identifier), psutil.pid_exists(pid)) == ([], False)


def test_down_repairs_what_a_killed_run_has_left_and_ends_what_runs_there() -> None:
    with holder() as (process, identifier, pid):
        assert hosts.down((identifier,)) == ([], [identifier])
        process.kill()
        process.wait(timeout=60)
        assert (len(namespaces(identifier)), psutil.pid_exists(pid)) == (2, True)
        assert hosts.down((identifier,)) == ([identifier], [])
        assert left_of(identifier) == []
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_what_an_interrupted_up_has_half_made_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was made under a umask that lets others write belongs to root alone."""
    modes: set[str] = set()

    def interrupted(command: tuple[str, ...]) -> None:
        if "addr" in command:
            (name,) = {word for word in command if word.startswith("paceline-")}
            sets.append(name.split("-")[1])
            found = [path for path in left_of(sets[-1]) if path.parent != lifetime.NAMESPACES]
            every = [*found, *(inner for path in found if path.is_dir() for inner in path.rglob("*"))]
            modes.update(oct(path.stat().st_mode & 0o022) for path in every if path.suffix != ".lock")
            raise KeyboardInterrupt
        made(command)

    made = lifetime._run
    monkeypatch.setattr(lifetime, "_run", interrupted)
    before = os.umask(0)
    try:
        with cleared() as sets:
            with pytest.raises(KeyboardInterrupt):
                hosts.up(hosts.parse("2@1gbit"))
            assert [left_of(identifier) for identifier in sets] == [[]]
            assert modes == {"0o0"}
    finally:
        os.umask(before)


def test_a_kernel_without_netem_is_a_sentence_and_leaves_nothing() -> None:
    before = abandoned()
    probe = "tc qdisc replace dev lo root netem delay 1ms"
    if subprocess.run(("unshare", "--net", *probe.split()), capture_output=True, check=False).returncode == 0:
        pytest.skip("this kernel has netem")
    with pytest.raises(UserError, match=r"this kernel cannot delay packets \(netem: .*\); leave the latency out"):
        hosts.up(hosts.parse("1@1gbit+2ms"))
    assert abandoned() == before


def test_the_command_says_how_to_use_what_it_made(capsys: pytest.CaptureFixture[str]) -> None:
    with cleared() as sets:
        up.main(["--count", "1", "--rate", "1gbit"], standalone_mode=False)
        made, run, shell_on_one, _ = capsys.readouterr().out.splitlines()
        identifier = made[:6]
        sets.append(identifier)
        assert made == f"{identifier}: 1 host at 1gbit, host0 to host0"
        assert run == f"run a study on them  paceline run --hosts emulated:{identifier} STUDY"
        assert shutil.which(shell_on_one.split()[4]) is not None
        down.main([identifier], standalone_mode=False)
    assert capsys.readouterr().out == f"{identifier} removed\n"
