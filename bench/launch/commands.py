"""Trial to command lines: pure functions, tested without a cluster. `paceline plan` prints exactly what they return."""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench import catalog
from bench.errors import UserError
from bench.launch.algorithms import algorithm_variables
from bench.records import Trial
from bench.redaction import is_secret

# What ranks inherit. Launchers put the environment on command lines that every user of a host can read, so it
# is an allow-list, and what sounds or looks like a secret is never on it.
INHERITED = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SSH_AUTH_SOCK", "CUDA_HOME",
             "CUDA_DEVICE_ORDER", "XDG_CACHE_HOME")  # fmt: skip
INHERITED_PREFIXES = ("CUDA_VISIBLE", "NVIDIA_VISIBLE", "NCCL_", "HOROVOD_", "GLOO_", "OMPI_MCA_", "UCX_", "OPENBLAS_")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # horovodrun gives names to a shell as they are
# A rank's place belongs to its own launcher: an outer one's must not leak in. The all-reduce belongs to the study.
PLACES = re.compile(r"HOROVOD_(RANK|SIZE|LOCAL_|CROSS_|GLOO_|HOSTNAME|CONTROLLER|CPU_OPERATIONS)|NCCL_(ALGO|PROTO)$")
INTERFACES = re.compile(r"[A-Za-z0-9_.:@-]{1,15}(,[A-Za-z0-9_.:@-]{1,15})*")
HOSTFILE_BYTES = 1_000_000  # a device would never end
HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})")
# horovodrun gives two paths to a shell unquoted: the key's, and the run's folder where a rank is on another host. A
# blank in the second one does no harm.
PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+@%:,=][A-Za-z0-9_./+@%:,=-]*")


@dataclass(frozen=True, slots=True)
class Command:
    """One process to start. `environment` is complete, nothing is inherited beyond it."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where to start: `hosts` as (name, slots), empty for this machine alone. The rest is passed to the launcher.

    emulated     what the hosts are, where they are emulated ones on this machine (bench.hosts)
    door         the words that start the command after them on the first host, empty where that is this machine
    variables    what a launcher must be told to reach these hosts, beside its usual environment
    """

    hosts: tuple[tuple[str, int], ...] = ()
    network_interface: str | None = None
    mpi: bool = False
    ssh_port: int | None = None
    ssh_identity_file: str | None = None
    programs: Mapping[str, str] = field(default_factory=dict)
    emulated: str | None = None
    door: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def spans_hosts(self) -> bool:
        return len(self.hosts) > 1

    @property
    def on_this_machine(self) -> frozenset[str]:
        """Names by which hosts whose processes can be seen from here call themselves."""
        emulated = [name for name, _ in self.hosts] if self.emulated else []
        return frozenset({socket.gethostname(), *emulated})


def parse_hosts(text: str, where: str = "-H") -> tuple[tuple[str, int], ...]:
    """`h1:2,h2` to (("h1", 2), ("h2", 1)). Raises UserError for anything that is not a host name and a count."""
    hosts: list[tuple[str, int]] = []
    for part in (piece.strip() for piece in text.split(",")):
        name, _, slots = part.partition(":")
        if not HOST.fullmatch(name):
            raise UserError(f"{where}: {part!r} is no host name; expected host:slots,host:slots")
        if not re.fullmatch(r"[1-9][0-9]{0,3}", slots or "1"):
            raise UserError(
                f"{where}: {part!r} has no valid number of slots; expected host:slots with slots from 1, or "
                "emulated:4@1gbit"
            )
        if name in dict(hosts):
            raise UserError(f"{where}: the host {name} is given twice")
        hosts.append((name, int(slots or 1)))
    return tuple(hosts)


def parse_hostfile(path: Path) -> tuple[tuple[str, int], ...]:
    """Lines of `host slots=N` as horovodrun and mpirun read them; # begins a comment."""
    try:
        with path.open("rb") as file:
            lines = file.read(HOSTFILE_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable host file ({getattr(error, 'strerror', None) or error})") from None
    parts: list[str] = []
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        slots = words[1].removeprefix("slots=") if len(words) == 2 and words[1].startswith("slots=") else "1"
        if len(words) > 2 or (len(words) == 2 and not words[1].startswith("slots=")):
            raise UserError(f"{path}:{number}: expected `host slots=N`, got {line.strip()!r}")
        parts.append(parse_hosts(f"{words[0]}:{slots}", f"{path}:{number}")[0][0] + f":{slots}")
    if not parts:
        raise UserError(f"{path}: no host in this host file")
    return parse_hosts(",".join(parts), str(path))


def ranks(trial: Trial) -> tuple[int, int]:
    """(ranks, local replicas): a backend that keeps all replicas in one process is one rank."""
    return (1, trial.replicas) if catalog.entry(trial.backend).local_replicas else (trial.replicas, 1)


def allowed(inherited: Mapping[str, str]) -> dict[str, str]:
    """What of the parent's environment the ranks may see."""
    return {
        name: value
        for name, value in inherited.items()
        if (name in INHERITED or (name.startswith(INHERITED_PREFIXES) and not is_secret(name, value)))
        and VARIABLE.fullmatch(name)
        and not PLACES.match(name)
    }


def environment(trial: Trial, inherited: Mapping[str, str]) -> dict[str, str]:
    """The ranks' whole environment: the allow-list, explicit thread counts, the all-reduce, and silence from the
    frameworks."""
    passed = allowed(inherited)
    threads = str(trial.threads_per_replica * ranks(trial)[1])
    return passed | {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        # Its default of 30 s is over before a framework is imported on a busy host; the harness has its own deadline.
        "HOROVOD_GLOO_TIMEOUT_SECONDS": "300",
        **algorithm_variables(trial),
    }


def commands(trial: Trial, folder: Path, python: str, cluster: Cluster, inherited: Mapping[str, str]) -> list[Command]:
    """What starts all ranks of `trial`; each rank is told nothing but `folder`."""
    worker = (python, "-P", "-m", "bench.worker", str(folder))
    count, _ = ranks(trial)
    variables = {**environment(trial, inherited), **cluster.variables}
    if trial.launcher == "torchrun" and cluster.hosts:
        return _torchrun_on_hosts(count, cluster, variables, worker)
    if trial.launcher == "local":
        return [Command((*cluster.door, *worker), {**variables, **_local_place(rank, count)}) for rank in range(count)]
    if trial.launcher == "horovodrun":
        _refuse_shell_words(cluster, folder)
    prefix = {"horovodrun": _horovodrun, "torchrun": _torchrun, "mpirun": _mpirun}[trial.launcher]
    return [Command((*cluster.door, *prefix(count, cluster, variables), *worker), variables)]


def _local_place(rank: int, count: int) -> dict[str, str]:
    return {
        "PACELINE_RANK": str(rank),
        "PACELINE_SIZE": str(count),
        "PACELINE_LOCAL_RANK": str(rank),
        "PACELINE_LOCAL_SIZE": str(count),
    }


def _refuse_shell_words(cluster: Cluster, folder: Path) -> None:
    """Raises UserError for what horovodrun would have a shell read as more than a path."""
    elsewhere = any(not _is_here(name, cluster) for name, _ in cluster.hosts)
    reached = str(folder).replace(" ", "") if elsewhere else None
    for what, path in (("-i", cluster.ssh_identity_file), ("--runs", reached)):
        if path is not None and not PLAIN_PATH.fullmatch(path):
            raise UserError(
                f"{what}: horovodrun gives the path {path!r} to a shell; use one of letters, digits and _./+@%:,=- only"
            )


def _is_here(host: str, cluster: Cluster) -> bool:
    return not cluster.emulated and host in ("localhost", socket.gethostname())


def _horovodrun(count: int, cluster: Cluster, variables: Mapping[str, str]) -> tuple[str, ...]:
    argv = [*_horovodrun_program(cluster), "-np", str(count), "--mpi" if cluster.mpi else "--gloo"]
    argv += ["-H", _hosts(cluster, count)]
    if cluster.network_interface is not None:
        argv += ["--network-interfaces", cluster.network_interface]
    if cluster.ssh_port is not None:
        argv += ["--ssh-port", str(cluster.ssh_port)]
    if cluster.ssh_identity_file is not None:
        argv += ["--ssh-identity-file", cluster.ssh_identity_file]
    return tuple(argv)


def _mpirun(count: int, cluster: Cluster, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Open MPI. Ranks are not bound to cores, as under the other launchers: threads decide, and they are recorded."""
    argv = [_program("mpirun", cluster), "-np", str(count), "--bind-to", "none", "--oversubscribe"]
    argv += ["-H", _hosts(cluster, count)]
    if os.geteuid() == 0:
        argv.append("--allow-run-as-root")
    if cluster.network_interface is not None:
        argv += ["--mca", "btl_tcp_if_include", cluster.network_interface]
        argv += ["--mca", "oob_tcp_if_include", cluster.network_interface]
    if cluster.ssh_port is not None or cluster.ssh_identity_file is not None:
        argv += ["--mca", "plm_rsh_args", _rsh_arguments(cluster)]
    for name in sorted(variables) if cluster.spans_hosts else []:
        argv += ["-x", name]
    return tuple(argv)


def _rsh_arguments(cluster: Cluster) -> str:
    """One word, which Open MPI splits at blanks. Raises UserError for a path that has some."""
    words = [] if cluster.ssh_port is None else ["-p", str(cluster.ssh_port)]
    if cluster.ssh_identity_file is not None:
        if re.search(r"\s", cluster.ssh_identity_file):
            raise UserError(f"-i: mpirun cannot take a path with blanks, as in {cluster.ssh_identity_file!r}")
        words += ["-i", cluster.ssh_identity_file]
    return " ".join(words)


def _torchrun(count: int, cluster: Cluster, variables: Mapping[str, str]) -> tuple[str, ...]:
    argv = [_program("torchrun", cluster), "--nnodes", "1", "--nproc-per-node", str(count)]
    return (*argv, "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--no-python")


def _torchrun_on_hosts(
    count: int, cluster: Cluster, variables: Mapping[str, str], worker: tuple[str, ...]
) -> list[Command]:
    """One torchrun for each host, filled in their order as horovodrun fills them, and reached over ssh as by it."""
    shares = _shares(count, cluster)
    # The others must find it, too: what this host calls itself, where it was named as only it can.
    first = socket.gethostname() if shares[0][0] in ("localhost", "127.0.0.1") else shares[0][0]
    # The agents must agree on a port that nobody can ask them for: another one for each launch, below those that
    # systems give to whoever connects.
    port = 20_000 + zlib.crc32(worker[-1].encode()) % 10_000
    started = []
    for node, (host, share) in enumerate(shares):
        meeting = ("--node-rank", str(node), "--master-addr", first, "--master-port", str(port))
        sizes = ("--nnodes", str(len(shares)), "--nproc-per-node", str(share))
        argv = (_program("torchrun", cluster), *sizes, *meeting, "--no-python", *worker)
        started.append(Command(_reached(host, argv, cluster, variables), variables))
    return started


def _shares(count: int, cluster: Cluster) -> list[tuple[str, int]]:
    """(host, ranks) of those that get some."""
    shares, left = [], count
    for name, slots in cluster.hosts:
        if left > 0:
            shares.append((name, min(slots, left)))
            left -= slots
    return shares


def _reached(host: str, argv: tuple[str, ...], cluster: Cluster, variables: Mapping[str, str]) -> tuple[str, ...]:
    """The words that start `argv` on that host; as horovodrun does it, this machine is not reached over ssh."""
    if _is_here(host, cluster):
        return argv
    options = ["-o", "BatchMode=yes"]
    if cluster.ssh_port is not None:
        options += ["-p", str(cluster.ssh_port)]
    if cluster.ssh_identity_file is not None:
        options += ["-i", cluster.ssh_identity_file]
    told = (f"{name}={value}" for name, value in sorted(variables.items()))
    return ("ssh", *options, host, shlex.join(("env", *told, *argv)))


def _hosts(cluster: Cluster, count: int) -> str:
    """No more slots than ranks: horovodrun starts a rank in every slot, whatever its -np."""
    return ",".join(f"{name}:{share}" for name, share in _shares(count, cluster) or [("localhost", count)])


def _horovodrun_program(cluster: Cluster) -> tuple[str, ...]:
    """horovodrun of this environment by way of backends/_horovodrun.py, which saves seconds a launch; else as found."""
    found = cluster.programs.get("horovodrun") or catalog.program("horovodrun") or "horovodrun"
    if Path(found) == Path(sys.executable).parent / "horovodrun":
        return (sys.executable, "-P", "-m", "backends._horovodrun")
    return (found,)


def _program(name: str, cluster: Cluster) -> str:
    return cluster.programs.get(name) or catalog.program(name) or name
