"""A rank's place: taken as a set from one launcher, or refused."""

import pytest

from bench.errors import TrialError
from bench.launch.world import FileRendezvous, find_world, own_address, place
from bench.records import Assignment, Trial

HOROVOD = {"HOROVOD_RANK": "1", "HOROVOD_SIZE": "4", "HOROVOD_LOCAL_RANK": "1", "HOROVOD_LOCAL_SIZE": "2"}
TORCHRUN = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}  # fmt: skip


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (HOROVOD, ("horovodrun", 1, 4, 1, 2)),
        (TORCHRUN, ("torchrun", 0, 2, 0, 2)),
        (OPEN_MPI, ("mpirun", 3, 4, 1, 2)),
        (HOROVOD | {"SLURM_PROCID": "7", "SLURM_NTASKS": "9"}, ("horovodrun", 1, 4, 1, 2)),
        (HOROVOD | OPEN_MPI, ("horovodrun", 1, 4, 1, 2)),
    ],
)
def test_the_place_comes_from_the_launcher_that_started_the_rank(environ, expected):
    assert place(environ) == expected


def test_half_a_set_is_an_error_that_names_what_is_missing():
    half = {name: value for name, value in HOROVOD.items() if name != "HOROVOD_LOCAL_SIZE"}
    with pytest.raises(TrialError, match="horovodrun set only part of this rank's place: HOROVOD_LOCAL_SIZE missing"):
        place(half)


@pytest.mark.parametrize("wrong", [{"HOROVOD_RANK": "4"}, {"HOROVOD_RANK": "-1"}, {"HOROVOD_LOCAL_SIZE": "5"}])
def test_an_impossible_place_is_an_error(wrong):
    with pytest.raises(TrialError, match="impossible place"):
        place(HOROVOD | wrong)


def test_a_place_that_is_no_number_is_an_error():
    with pytest.raises(TrialError, match="no number"):
        place(HOROVOD | {"HOROVOD_RANK": "one"})


def test_no_launcher_at_all_says_how_to_start_a_rank():
    with pytest.raises(TrialError, match="start it with horovodrun, torchrun, mpirun or `paceline run`"):
        place({})


def test_another_number_of_ranks_than_assigned_is_an_error(tmp_path):
    assignment = Assignment(
        trial=Trial(backend="null"), trial_id="x", repeat=0, ranks=2, local_replicas=1, data="d", checkpoint="c"
    )
    with pytest.raises(TrialError, match="horovodrun started 4 ranks where the trial asks for 2"):
        find_world(assignment, tmp_path, HOROVOD)


def test_what_one_rank_publishes_another_can_read(tmp_path):
    FileRendezvous(tmp_path / "meet").publish("store", "127.0.0.1:5000")
    assert FileRendezvous(tmp_path / "meet").wait_for("store") == "127.0.0.1:5000"


def test_an_interface_that_does_not_exist_is_named_with_those_that_do():
    for given in ("nope0", "lo,nope0"):
        with pytest.raises(TrialError, match=r"has no network interface 'nope0'; it has .*lo"):
            own_address(given)


def test_of_several_interfaces_the_first_gives_the_address():
    assert own_address("lo,lo") == "127.0.0.1"


def test_a_host_whose_name_means_itself_only_is_told_to_name_an_interface(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "localhost")
    with pytest.raises(TrialError, match="to 127.0.0.1, which no other host can reach; give --network-interfaces"):
        own_address(None)
