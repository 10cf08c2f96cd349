"""Sets of emulated hosts from their making to their end. Whoever uses a set holds a lock on it, which ends with the
process: what nobody holds and nobody asked to keep is a leftover, and `down` removes it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import psutil

from bench.errors import UserError
from bench.hosts import network, shell
from bench.hosts.spec import Spec, check_room
from bench.termination import undisturbed

IDENTIFIER = r"[0-9a-f]{6}"
PROGRAMS = ("ip", "tc", "unshare")
NAMESPACES = Path("/run/netns")
FILES = Path("/etc/netns")  # what `ip netns exec` lays over /etc
TERMINATE_S = 3.0


def why_not() -> str | None:
    """Why there cannot be emulated hosts here, as one clause; None when there can."""
    if not sys.platform.startswith("linux"):
        return f"emulated hosts are network namespaces of Linux, and this is {sys.platform}"
    if os.geteuid() != 0:
        return "emulated hosts need root, which alone may make network namespaces"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"emulated hosts need iproute2 and util-linux: {', '.join(missing)} is not installed"
    return None


def up(spec: Spec) -> str:
    """Makes a set that stays, and returns its identifier."""
    with temporary(spec, keep=True) as (identifier, _):
        return identifier


def down(identifiers: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Removes these sets, or all when none is named: (removed, left alone because a run uses them).

    Also what a killed `up` or `run` has left half made. Ends every process on their hosts. Raises UserError for a
    name that no set has.
    """
    _refuse_elsewhere()
    known = _known()
    unknown = [identifier for identifier in identifiers if identifier not in known]
    if unknown:
        there = f"there are {', '.join(known)}" if known else "there are none"
        raise UserError(f"no set of emulated hosts is called {unknown[0]!r}; {there}")
    removed: list[str] = []
    used: list[str] = []
    for identifier in identifiers or known:
        with _lock(identifier) as held:
            if held:
                _remove(identifier)
            (removed if held else used).append(identifier)
    return removed, used


@contextmanager
def temporary(spec: Spec, keep: bool = False) -> Iterator[tuple[str, Spec]]:
    """A new set, removed on leaving; with `keep` only when something went wrong."""
    refuse(spec)
    identifier, kept = secrets.token_hex(3), False
    with _lock(identifier):  # nobody else knows the name yet
        try:
            _make(identifier, spec)
            yield identifier, spec
            kept = keep
        finally:
            if not kept:
                _remove(identifier)


@contextmanager
def existing(identifier: str) -> Iterator[tuple[str, Spec]]:
    """A set that `up` has made, held against `down`. Raises UserError when it is not there, or another run uses it."""
    spec_of(identifier)  # a lock on a name that is none would leave a file
    with _lock(identifier) as held:
        if not held:
            raise UserError(f"the emulated hosts {identifier} are in use by another run; make more of them")
        yield identifier, spec_of(identifier)


def spec_of(identifier: str) -> Spec:
    """Of a set that `up` has made. Raises UserError when it is not there."""
    _refuse_elsewhere()
    try:
        return msgspec.json.decode(_file(identifier).read_bytes(), type=Spec)
    except FileNotFoundError:
        raise UserError(f"no set of emulated hosts is called {identifier!r}; `paceline hosts up` makes one") from None


def refuse(spec: Spec) -> None:
    """Raises UserError where such hosts cannot be made here and now."""
    _refuse_elsewhere()
    check_room(spec, psutil.virtual_memory().available)


def _refuse_elsewhere() -> None:
    reason = why_not()
    if reason is not None:
        raise UserError(reason)


def _file(identifier: str) -> Path:
    """Holds the Spec of a set that is complete."""
    return shell.STATE / identifier / "spec.json"


def _known() -> list[str]:
    """Identifiers of all sets of which anything is left."""
    named = [path.name.split("-")[1] for folder in (NAMESPACES, FILES) for path in folder.glob(f"{network.PREFIX}-*-*")]
    stated = [path.stem for path in shell.STATE.glob("*")]
    return sorted({*named, *stated})


@contextmanager
def _lock(identifier: str) -> Iterator[bool]:
    """Whether this process now holds the set; false while another one does."""
    shell.STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = shell.STATE / f"{identifier}.lock"
    with _locked(path) as held:
        try:
            yield held
        finally:
            if held and not (shell.STATE / identifier).exists():
                path.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Of the file that has this name now: one that was removed between opening and locking keeps nobody out."""
    while True:
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield True
                return


def _make(identifier: str, spec: Spec) -> None:
    names = [network.host_name(host) for host in range(spec.count)]
    folder = shell.shell_folder(identifier)
    for path in (folder.parent, folder, FILES):  # a mode is not that of the parents made with it
        path.mkdir(mode=0o755, exist_ok=True)
    program = folder / "ssh"
    program.write_text(shell.ssh(identifier, names))
    program.chmod(0o755)
    for name in names:
        files = FILES / network.namespace(identifier, name)
        files.mkdir(mode=0o755)
        (files / "hosts").write_text(network.hosts_file(spec))
        (files / "hosts").chmod(0o644)  # root's umask may let others write it
    for command in network.commands(identifier, spec):
        _run(command)
    _file(identifier).write_bytes(msgspec.json.encode(spec))
    _file(identifier).chmod(0o644)


def _run(command: tuple[str, ...]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode == 0:
        return
    said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
    if "netem" in command:
        raise UserError(f"this kernel cannot delay packets (netem: {said}); leave the latency out")
    raise UserError(f"emulated hosts cannot be made here: `{' '.join(command)}`: {said}")


def _remove(identifier: str) -> None:
    """All that is left of the set, in an order in which a second call can finish what a first one began. A terminal's
    Ctrl-C reaches neither this process before the end nor its children, which have sessions of their own."""
    with undisturbed():
        spaces = sorted(NAMESPACES.glob(f"{network.namespace(identifier, '')}*"))
        _end_processes([space.name for space in spaces])
        for space in spaces:
            subprocess.run(("ip", "netns", "del", space.name), capture_output=True, start_new_session=True, check=False)
        for files in FILES.glob(f"{network.namespace(identifier, '')}*"):
            shutil.rmtree(files, ignore_errors=True)
        shutil.rmtree(shell.STATE / identifier, ignore_errors=True)


def _end_processes(spaces: list[str]) -> None:
    """A namespace lives as long as a process in it."""
    processes = []
    for space in spaces:
        listed = subprocess.run(
            ("ip", "netns", "pids", space), capture_output=True, text=True, start_new_session=True, check=False
        )
        for pid in listed.stdout.split():
            with suppress(psutil.Error):
                processes.append(psutil.Process(int(pid)))
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            with suppress(psutil.Error):
                process.send_signal(number)
        _, processes = psutil.wait_procs(processes, timeout=TERMINATE_S)
