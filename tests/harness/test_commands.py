"""Trial to command line, without a cluster."""

import shlex
import socket

import pytest

from bench.errors import UserError
from bench.launch.commands import Cluster, commands, environment, parse_hostfile, parse_hosts, ranks
from bench.records import Trial

PROGRAMS = {"horovodrun": "/v/horovodrun", "mpirun": "/v/mpirun", "torchrun": "/v/torchrun"}
WORKER = ("/v/python", "-P", "-m", "bench.worker")


def argv(trial: Trial, tmp_path, **cluster) -> tuple[str, ...]:
    (command,) = commands(trial, tmp_path, "/v/python", Cluster(programs=PROGRAMS, **cluster), {})
    return command.argv


def test_horovodrun_starts_one_rank_per_replica(tmp_path):
    assert argv(Trial(backend="torch_ddp", replicas=2), tmp_path) == (
        "/v/horovodrun", "-np", "2", "--gloo", "-H", "localhost:2", *WORKER, str(tmp_path),
    )  # fmt: skip


def test_a_backend_with_local_replicas_is_one_rank(tmp_path):
    mirrored = Trial(backend="tf_mirrored", replicas=4)
    assert ranks(mirrored) == (1, 4)
    assert argv(mirrored, tmp_path)[1:3] == ("-np", "1")


def test_horovodruns_own_flags_are_passed_on_as_separate_arguments(tmp_path):
    given = argv(
        Trial(backend="torch_horovod", replicas=4), tmp_path, hosts=(("h1", 2), ("h2", 2)),
        network_interface="eth0", mpi=True, ssh_port=2222, ssh_identity_file="/k/id",
    )  # fmt: skip
    assert given[:13] == (
        "/v/horovodrun", "-np", "4", "--mpi", "-H", "h1:2,h2:2", "--network-interfaces", "eth0",
        "--ssh-port", "2222", "--ssh-identity-file", "/k/id", "/v/python",
    )  # fmt: skip


@pytest.mark.parametrize("launcher", ["horovodrun", "mpirun"])
def test_hosts_are_given_no_more_slots_than_there_are_ranks(tmp_path, launcher):
    """horovodrun starts a rank in every slot."""
    given = argv(Trial(backend="torch_ddp", replicas=3, launcher=launcher), tmp_path, hosts=(("h1", 2), ("h2", 2), ("h3", 2)))  # fmt: skip
    assert given[given.index("-H") + 1] == "h1:2,h2:1"


def test_torchrun_needs_no_free_port_to_be_guessed(tmp_path):
    given = argv(Trial(backend="torch_ddp", replicas=2, launcher="torchrun"), tmp_path)
    assert given[0] == "/v/torchrun" and "localhost:0" in given and given[-1] == str(tmp_path)


def test_torchrun_on_several_hosts_is_one_command_for_each_over_ssh(tmp_path):
    cluster = Cluster(
        programs=PROGRAMS, hosts=(("h1", 2), ("h2", 2), ("h3", 2)), ssh_port=2222, ssh_identity_file="/k/a b"
    )
    trial = Trial(backend="torch_ddp", replicas=3, launcher="torchrun")
    started = commands(trial, tmp_path, "/v/python", cluster, {"PATH": "/bin"})
    assert [command.argv[:8] for command in started] == [
        ("ssh", "-o", "BatchMode=yes", "-p", "2222", "-i", "/k/a b", host) for host in ("h1", "h2")
    ]
    first, second = [shlex.split(command.argv[8]) for command in started]
    assert first[0] == "env" and "PATH=/bin" in first and "OMP_NUM_THREADS=1" in first
    begins = first.index("/v/torchrun")
    assert first[begins:] == [
        "/v/torchrun", "--nnodes", "2", "--nproc-per-node", "2", "--node-rank", "0", "--master-addr", "h1",
        "--master-port", first[begins + 10], "--no-python", *WORKER, str(tmp_path),
    ]  # fmt: skip
    assert second[begins:] == [
        {4: "1", 6: "1"}.get(place, word) for place, word in enumerate(first[begins:])
    ]  # fmt: skip
    assert 20_000 <= int(first[begins + 10]) < 30_000


def test_torchrun_does_not_reach_this_machine_over_ssh(tmp_path):
    cluster = Cluster(programs=PROGRAMS, hosts=((socket.gethostname(), 1), ("h2", 1)))
    here, there = commands(Trial(backend="torch_ddp", launcher="torchrun"), tmp_path, "/v/python", cluster, {})
    assert (here.argv[0], there.argv[0]) == ("/v/torchrun", "ssh")


@pytest.mark.parametrize("launcher", ["horovodrun", "mpirun", "local"])
def test_a_launcher_starts_behind_the_door_of_its_cluster_with_its_variables(tmp_path, launcher):
    cluster = Cluster(programs=PROGRAMS, hosts=(("h1", 2),), door=("enter", "h1"), variables={"PATH": "/set:/bin"})
    for command in commands(Trial(backend="null", launcher=launcher), tmp_path, "/v/python", cluster, {"PATH": "/bin"}):
        assert command.argv[:2] == ("enter", "h1") and command.argv[-1] == str(tmp_path)
        assert command.environment["PATH"] == "/set:/bin"


def test_mpirun_does_not_bind_ranks_to_cores(tmp_path):
    given = argv(Trial(backend="torch_horovod", replicas=2, launcher="mpirun"), tmp_path)
    assert given[given.index("--bind-to") + 1] == "none"


def test_local_gives_each_rank_its_place(tmp_path):
    started = commands(Trial(backend="null", replicas=2, launcher="local"), tmp_path, "/v/python", Cluster(), {})
    assert [command.environment["PACELINE_RANK"] for command in started] == ["0", "1"]


def test_no_secret_and_no_outer_place_reaches_the_ranks():
    inherited = {
        "PATH": "/bin", "HF_TOKEN": "x", "AWS_SECRET_ACCESS_KEY": "x", "NCCL_ALGO": "ring", "HOROVOD_SECRET_KEY": "x",
        "HOROVOD_FUSION_THRESHOLD": "1", "HOROVOD_RANK": "3", "HOROVOD_GLOO_IFACE": "eth9", "EDITOR": "vi",
    }  # fmt: skip
    passed = environment(Trial(backend="null"), inherited)
    assert {name: passed[name] for name in inherited if name in passed} == {
        "PATH": "/bin", "HOROVOD_FUSION_THRESHOLD": "1",
    }  # fmt: skip


def test_threads_are_said_to_every_rank():
    assert environment(Trial(backend="torch_ddp", threads_per_replica=3), {})["OMP_NUM_THREADS"] == "3"
    assert environment(Trial(backend="tf_mirrored", replicas=2, threads_per_replica=3), {})["OMP_NUM_THREADS"] == "6"


def test_hosts_are_names_and_counts():
    assert parse_hosts("h1:2, h2") == (("h1", 2), ("h2", 1))


@pytest.mark.parametrize("text", ["h1:0", "h1:x", "a b:1", "$(touch x):1", ";id", "", "h1:1,h1:2", "-x:1", "h1:99999"])
def test_anything_else_is_refused(text):
    with pytest.raises(UserError, match="^-H: "):
        parse_hosts(text)


def test_a_hostfile_is_read_as_horovodrun_and_mpirun_do(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("# nodes\nh1 slots=2\n\nh2 slots=4  # big\nh3\n")
    assert parse_hostfile(path) == (("h1", 2), ("h2", 4), ("h3", 1))


@pytest.mark.parametrize(("text", "where"), [("h1 slots=2 x\n", ":1"), ("h1\nh2 cpus=3\n", ":2"), ("h1 slots=-1\n", ":1")])  # fmt: skip
def test_a_broken_hostfile_names_its_line(tmp_path, text, where):
    path = tmp_path / "hosts"
    path.write_text(text)
    with pytest.raises(UserError, match=f"{path}{where}"):
        parse_hostfile(path)


def test_an_empty_hostfile_is_refused(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("# nothing\n")
    with pytest.raises(UserError, match="no host in this host file"):
        parse_hostfile(path)
