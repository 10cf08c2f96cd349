"""Makes `.venv` ready: hashed libraries, the frameworks that this machine can have, Horovod, paceline itself.

Run by bench/setup/ready.sh as `python3 -P -m bench.setup.environment [--with torch,horovod] [--also dev]` with any
Python >= 3.11; standard library only. What is already there is kept, so an interrupted set-up goes on where it was.
A framework that cannot be had here is left out with its reason, unless it was asked for by name.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec

from bench.setup.stamp import DRIVER, ROOT, STAMP, UNFINISHED, VENV, Stamp, key, read_stamp, write_stamp

PYTHON = VENV / "bin" / "python"
LOCK_FILE = VENV / ".setup-lock"
LOG = VENV / "setup.log"
FRAMEWORKS = ("torch", "tensorflow", "horovod")
EXTRAS = ("dev", *FRAMEWORKS)
HEARTBEAT_S = 10.0
# Settings of the person's shell that would send packages elsewhere than into .venv.
FOREIGN = ("PYTHONHOME", "PYTHONPATH", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIREMENT")
NO_NETWORK = ("Failed to establish a new connection", "Temporary failure in name resolution", "ConnectTimeoutError")


class SetupError(Exception):
    """One sentence for the person at the terminal: what is missing and how to get it."""


def say(text: str) -> None:
    """Progress goes to stderr: stdout belongs to the command that called the set-up."""
    print(f"paceline set-up: {text}", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


@contextlib.contextmanager
def alone() -> Iterator[int]:
    """Waits until no other set-up works in this folder; yields the lock's file descriptor."""
    VENV.mkdir(exist_ok=True)
    with LOCK_FILE.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another set-up is at work in {VENV}; waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield held.fileno()


def reason(log: str) -> str:
    """One sentence out of what pip wrote."""
    if any(sign in log for sign in NO_NETWORK):
        return "pip could not reach the package index; check the network, or pip's index and proxy settings"
    if "No space left on device" in log:
        return f"no space left on the disk of {VENV}"
    absent = re.search(r"No matching distribution found for (\S+)", log)
    if absent:
        version = ".".join(map(str, sys.version_info[:2]))
        return f"pip found no {absent[1]} for Python {version} on {sys.platform} {os.uname().machine}"
    errors = re.findall(r"^ *(?:ERROR|error): *(.+)", log, flags=re.MULTILINE)
    return (errors or log.strip().splitlines() or ["it gave no reason"])[-1].strip()


class Setup:
    """One pass over the phases. `lock` is handed to every child: an orphaned pip keeps other set-ups waiting."""

    def __init__(self, lock: int) -> None:
        self.lock = lock
        self.environ = {name: value for name, value in os.environ.items() if name not in FOREIGN}

    def run(self, label: str, *argv: str) -> None:
        """Output goes to LOG; a line of progress every ten seconds. Raises SetupError with the reason."""
        started = time.monotonic()
        with LOG.open("ab") as log:
            log.write(f"\n$ {' '.join(argv)}\n".encode())
            log.flush()
            begin = log.tell()
            process = subprocess.Popen(
                argv, cwd=ROOT, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[self.lock]
            )
            while True:
                try:
                    code = process.wait(timeout=HEARTBEAT_S)
                    break
                except subprocess.TimeoutExpired:
                    say(f"  {label}: {clock(time.monotonic() - started)}, {doing(since(begin))}")
        if code:
            raise SetupError(f"{reason(since(begin))} (log: {LOG})")

    def pip(self, label: str, *arguments: str) -> None:
        """`pip install` in .venv. Isolated from PYTHON* variables and the current directory."""
        self.run(label, str(PYTHON), "-I", "-m", "pip", "install", "--disable-pip-version-check", *arguments)

    def install_lock(self, name: str) -> None:
        """Wheels only: a package without one for this Python is a clear answer, not a compiler's error.

        But for seqeval, pure Python that PyPI has as source only; its build finds its own tools (PEP 517).
        """
        path = ROOT / "locks" / f"{name}.txt"
        wheels = ("--only-binary", ":all:", "--no-binary", "seqeval", "--use-pep517")
        self.pip(name, "--no-deps", "--require-hashes", *wheels, "-r", str(path))

    def create_venv(self) -> None:
        """Keeps a .venv that works; one that is broken, half made or too old is emptied and made anew."""
        if venv_works():
            return
        if find_spec("ensurepip") is None or find_spec("venv") is None:
            raise SetupError(f"{sys.executable} has no venv module; on Debian: apt-get install python3-venv")
        for entry in VENV.iterdir():
            if entry not in (LOCK_FILE, STAMP):
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        self.run("virtual environment", sys.executable, "-m", "venv", str(VENV))

    def install_core(self) -> None:
        """The libraries that every part needs, and paceline as an editable install."""
        self.install_lock("core")
        self.pip("paceline", "--no-deps", "--no-build-isolation", "-e", str(ROOT))

    def install_torch(self) -> None:
        """Without an NVIDIA driver the CPU build, which the default index does not have."""
        if DRIVER.exists():
            # An installed 2.x+cpu would satisfy the pin ==2.x, and the GPU would stay idle.
            check = "from importlib.metadata import version; exit(version('torch').endswith('+cpu'))"
            if subprocess.run([PYTHON, "-Ic", check], capture_output=True, check=False).returncode:
                self.run("torch", str(PYTHON), "-I", "-m", "pip", "uninstall", "--yes", "torch")
            return self.install_lock("torch")
        try:
            self.install_lock("torch-cpu")
        except SetupError as error:
            say(f"  torch: no CPU build to be had, because {error}")
            say("  torch: taking the default build instead; its CUDA libraries are several GB")
            say("  torch: to avoid that, add PyTorch's index of CPU wheels to pip's extra-index-url")
            self.install_lock("torch")

    def install_horovod(self) -> None:
        """Builds the wheel for the frameworks that are here, or takes it from the cache."""
        self.install_lock("horovod-build")
        script = str(ROOT / "bench/setup/horovod_wheel.py")
        argv = [str(PYTHON), "-P", script]
        with subprocess.Popen(
            argv, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=[self.lock]
        ) as process:
            assert process.stdout is not None and process.stderr is not None
            last = ""
            for line in process.stderr:
                last = line.strip().removeprefix("paceline set-up: ")
                if last.startswith(("building", "compiling")):
                    say(f"  horovod: {last}")
            wheel = process.stdout.read().strip().rpartition("\n")[2]
        if process.returncode:
            raise SetupError(last or "the build of its wheel gave no reason")
        # Same version, other framework underneath: pip would call it installed already.
        self.pip("horovod", "--no-deps", "--force-reinstall", wheel)

    def phase(self, name: str) -> None:
        """One line with the time it took. Raises SetupError."""
        started = time.monotonic()
        steps = {
            "virtual environment": self.create_venv,
            "core": self.install_core,
            "torch": self.install_torch,
            "horovod": self.install_horovod,
        }
        steps.get(name, lambda: self.install_lock(name))()
        say(f"  {name}: ready after {clock(time.monotonic() - started)}")


def since(begin: int) -> str:
    """The part of LOG that the present command wrote."""
    with LOG.open("rb") as log:
        log.seek(begin)
        return log.read().decode(errors="replace")


def doing(log: str) -> str:
    """pip's last step, in its own words."""
    steps = re.findall(r"^ *((?:Collecting|Downloading|Building) \S+|Installing [\w ]+)", log, flags=re.MULTILINE)
    return str(steps[-1]) if steps else "starting"


def venv_works() -> bool:
    """True if .venv has a Python >= 3.11 with pip, and was made in this place: scripts in it hold its path."""
    check = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    try:
        made_here = f"{VENV}/bin/" in (VENV / "bin" / "pip").read_text()[:1000]
        return made_here and subprocess.run([PYTHON, "-Ic", check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def choose(explicit: str | None, also: str | None, stamp: Stamp | None) -> tuple[list[str], set[str]]:
    """(extras in order of installation, those whose failure is an error). Raises SetupError on an unknown name."""
    named = [name.strip() for text in (explicit, also) if text for name in text.split(",") if name.strip()]
    for name in named:
        if name not in EXTRAS:
            raise SetupError(f"no part is called {name!r}; allowed are {', '.join(EXTRAS)}")
    wanted = set(named) | set(stamp.installed if stamp else ()) - {"core"}
    if not explicit:
        wanted |= set(stamp.wanted) if stamp else set(FRAMEWORKS)
    return [name for name in EXTRAS if name in wanted], set(named)


def left_to_do(wanted: list[str], stamp: Stamp | None) -> list[str]:
    """What is not installed yet. Horovod is compiled against the frameworks, so it follows a new one."""
    done = set(stamp.installed) if stamp and stamp.key == key() and venv_works() else set()
    names = [name for name in ("core", *wanted) if name not in done]
    if {"torch", "tensorflow"} & set(names) and "horovod" in wanted and "horovod" not in names:
        names.append("horovod")
    return names


def set_up(explicit: str | None, also: str | None) -> None:
    """Raises SetupError when the core, or something asked for by name, cannot be had."""
    with alone() as lock:
        stamp = read_stamp()
        wanted, required = choose(explicit, also, stamp)
        todo = left_to_do(wanted, stamp)
        if not todo:
            return
        say(f"into {VENV}: {', '.join(todo)} (log: {LOG})")
        started, missing = time.monotonic(), dict[str, str]()
        write_stamp(Stamp(UNFINISHED, wanted, []))
        setup = Setup(lock)
        setup.phase("virtual environment")
        for name in todo:
            try:
                setup.phase(name)
            except SetupError as error:
                if name == "core":
                    raise
                missing[name] = str(error)
                say(f"  {name}: not installed: {error}")
        installed = [name for name in ("core", *wanted) if name not in missing]
        write_stamp(Stamp(key(), wanted, installed, missing))
        failed = sorted(required & set(missing))
        if failed:
            raise SetupError(f"{failed[0]} was asked for: {missing[failed[0]]}")
        say(f"ready after {clock(time.monotonic() - started)}: {', '.join(installed)}")


def main() -> int:
    """Exit status 0, or 2 with one sentence on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--with", dest="explicit", default=os.environ.get("PACELINE_WITH"), metavar="LIST",
        help=f"of {', '.join(EXTRAS)}; default: $PACELINE_WITH, else what was chosen before, else every framework",
    )  # fmt: skip
    parser.add_argument("--also", metavar="LIST", help="in addition to that")
    arguments = parser.parse_args()
    try:
        set_up(arguments.explicit, arguments.also)
    except SetupError as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("interrupted; run it again to go on from here")
        return 130
    except OSError as error:
        say(f"{error.filename or VENV}: {error.strerror}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
