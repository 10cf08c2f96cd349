"""Which all-reduce ran, by NCCL's own log. The lines of 2.20, 2.23 and 2.26 are as their users and sources print them."""

from __future__ import annotations

import pytest

from backends import _nccl as nccl

V20 = """\
h100-1:497888:497888 [0] NCCL INFO NCCL version 2.20.5+cuda12.4
h100-1:497888:497888 [0] NCCL INFO 8 Bytes -> Algo 1 proto 0 time 25.200924
h100-1:497888:497888 [0] NCCL INFO 26214400 Bytes -> Algo 1 proto 2 time 3970.683594
"""
V23 = """\
node-0:309:309 [0] NCCL INFO NCCL version 2.23.4+cuda12.6
node-0:309:309 [0] NCCL INFO Broadcast: 1048576 Bytes -> Algo 1 proto 2 time 60.000000
node-0:309:309 [0] NCCL INFO AllReduce: 4 Bytes -> Algo 0 proto 0 time 12.000000
node-0:309:309 [0] NCCL INFO AllReduce: 26214400 Bytes -> Algo 1 proto 2 time 860.208008
node-0:309:309 [0] NCCL INFO AllReduce: opCount 1606 sendbuff 0x93fd44a00 recvbuff 0x96d44e200 count 2359808 datatype 7
"""
V27 = """\
h0:1:2 [0] NCCL INFO NCCL version 2.27.5+cuda12.9
h0:1:2 [0] NCCL INFO Broadcast: 4096 Bytes -> Algo RING proto SIMPLE channel{Lo..Hi}={0..0}
h0:1:2 [0] NCCL INFO AllReduce: 26214400 Bytes -> Algo NVLS proto SIMPLE channel{Lo..Hi}={0..15}
h0:1:2 [0] NCCL INFO AllReduce: 16684544 Bytes -> Algo NVLS proto SIMPLE channel{Lo..Hi}={0..15}
h0:1:2 [0] NCCL INFO AllGather [Symmetric]: 4096 Bytes -> Kernel AllGather_LL
"""


@pytest.fixture(autouse=True)
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NCCL_ALGO", "NCCL_DEBUG", "NCCL_DEBUG_FILE", "NCCL_DEBUG_SUBSYS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("log", "algorithm", "words"),
    [
        (V20, "ring", "1 of 8 bytes by ring, protocol ll (this NCCL does not say of which operation)"),
        (V23, "ring", "1 of 26,214,400 bytes by ring, protocol simple; 1 of 4 bytes by tree, protocol ll"),
        (V27, "nvls", "2 of 16,684,544 to 26,214,400 bytes by nvls, protocol simple on 16 to 16 channels"),
    ],
    ids=["2.20", "2.23", "2.27"],
)
def test_the_algorithm_that_carried_the_bytes_is_named_with_protocol_and_channels(
    log: str, algorithm: str, words: str
) -> None:
    name, evidence = nccl.algorithm_in(log)
    assert name == algorithm
    assert words in evidence
    assert evidence.startswith("NCCL chooses for each size; NCCL's log has ")


def test_a_forced_algorithm_must_have_carried_every_all_reduce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_ALGO", "allreduce:ring")
    assert nccl.algorithm_in(V23)[0] == "unknown"  # the one of 4 bytes went by a tree
    assert nccl.algorithm_in(V27)[0] == "nvls"  # and so contradicts what was asked for


def test_two_algorithms_that_share_the_bytes_are_not_one() -> None:
    assert nccl.algorithm_in(V27 + V23)[0] == "unknown"


def test_what_is_new_to_us_keeps_its_number_or_name() -> None:
    line = "NCCL INFO AllReduce: 64 Bytes -> Algo {} proto 2 time 1.0"
    assert [nccl.algorithm_in(line.format(each))[0] for each in ("9", "STARFISH", "5", "NVLSTree")] == [
        "number 9", "starfish", "nvls_tree", "nvls_tree",
    ]  # fmt: skip


def test_rank_0_reads_its_file_and_tells_all_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    from dataclasses import dataclass
    from pathlib import Path

    told: dict[str, str] = {}

    class Board:
        publish = staticmethod(told.__setitem__)
        wait_for = staticmethod(told.__getitem__)

    @dataclass
    class Rank:
        rank: int
        rendezvous: type[Board] = Board

    monkeypatch.setenv("NCCL_ALGO", "allreduce:tree")
    nccl.listen()
    path = Path(os.environ["NCCL_DEBUG_FILE"])
    assert (os.environ["NCCL_DEBUG"], "TUNING" in os.environ["NCCL_DEBUG_SUBSYS"]) == ("INFO", True)
    path.write_text(V27)
    assert nccl.heard(Rank(0))[::2] == nccl.heard(Rank(1))[::2] == ("nvls", "2.27.5")  # type: ignore[arg-type]
    nccl.forget()
    assert not path.exists()
    assert "NCCL_DEBUG_FILE" not in os.environ
