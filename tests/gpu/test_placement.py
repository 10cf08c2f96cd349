"""Each rank has a GPU of its own, unless the study says otherwise; and what the device marks between its steps."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from backends._placement import Place, anybody_shares, place
from bench.errors import TrialError
from bench.protocols import World


class Board:
    """bench.protocols.Rendezvous among threads."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._changed = threading.Condition()

    def publish(self, name: str, text: str) -> None:
        with self._changed:
            self._texts[name] = text
            self._changed.notify_all()

    def wait_for(self, name: str) -> str:
        with self._changed:
            assert self._changed.wait_for(lambda: name in self._texts, 10)
            return self._texts[name]


def placed(seen: list[list[str | None]], share: bool = False, visible: list[str] | None = None) -> list[Any]:
    """Of the ranks of one host, which see these GPUs each: the place, or the sentence of the refusal."""
    board = Board()

    def rank(number: int) -> Any:
        world = World(
            rank=number, size=len(seen), local_rank=number, local_size=len(seen), local_replicas=1, launcher="local",
            address="127.0.0.1", network_interface=None, rendezvous_port=0, rendezvous=board, share_devices=share,
        )  # fmt: skip
        try:
            found = place(world, seen[number], {"CUDA_VISIBLE_DEVICES": visible[number]} if visible else {})
        except TrialError as error:
            return str(error)
        return found, anybody_shares(world, found)

    with ThreadPoolExecutor(len(seen)) as pool:
        return list(pool.map(rank, range(len(seen))))


def test_ranks_take_the_gpus_of_their_host_in_order_of_their_local_rank():
    assert placed([["a", "b"]] * 2) == [(Place(0, 1), False), (Place(1, 1), False)]


def test_more_ranks_than_gpus_are_refused_with_the_way_to_allow_it():
    sentences = placed([["a", "b"]] * 3)
    assert len(set(sentences)) == 1
    assert "3 ranks have no GPU each: 2 GPUs on" in sentences[0]
    assert sentences[0].endswith("start fewer ranks, or let them share with `share_devices: true`")


def test_ranks_that_share_because_the_study_says_so_know_how_many_they_are():
    assert placed([["a", "b"]] * 3, share=True) == [(Place(0, 2), True), (Place(1, 1), True), (Place(0, 2), True)]


def test_a_launcher_that_shows_each_rank_one_gpu_of_its_own_makes_nobody_share():
    assert placed([["a"], ["b"]]) == [(Place(0, 1), False), (Place(0, 1), False)]


@pytest.mark.parametrize(
    ("seen", "visible"), [([["a"], ["a"]], None), ([[None], [None]], ["0", "0"])], ids=["by uuid", "by variable"]
)
def test_two_ranks_that_each_see_the_same_single_gpu_are_refused(seen: Any, visible: Any) -> None:
    for sentence in placed(seen, visible=visible):
        assert "local ranks 0, 1 see the same one" in sentence


def test_without_a_uuid_the_variable_tells_two_gpus_apart():
    assert placed([[None], [None]], visible=["0", "1"]) == [(Place(0, 1), False), (Place(0, 1), False)]


class Event:
    """torch.cuda.Event without a device: the log has what was recorded and what was waited for or read."""

    def __init__(self, log: list[str], times_ms: list[float]) -> None:
        self._log, self._times_ms, self._at_ms = log, times_ms, 0.0

    def record(self) -> None:
        self._log.append("record")
        self._at_ms = self._times_ms.pop(0)

    def elapsed_time(self, later: Event) -> float:
        self._log.append("read")
        return later._at_ms - self._at_ms

    def synchronize(self) -> None:
        self._log.append("wait")


def test_steps_are_marked_without_waiting_and_read_only_when_asked_after_the_fence() -> None:
    pytest.importorskip("torch")
    from backends._torch_device import StepMarks

    log: list[str] = []
    times_ms = [100.0, 110.0, 121.5, 500.0, 503.0]
    marks = StepMarks(lambda: Event(log, times_ms), lambda: 4096)
    for _ in range(2):
        marks.begin()
        log.append("step")
        marks.end()
    assert log == ["record", "step", "record", "step", "record"]
    (found,) = marks.take()
    assert (found.step_ns, found.allocated_bytes) == ((10_000_000, 11_500_000), 4096)
    assert set(log[5:]) == {"read"}
    assert marks.take() == []
    marks.begin()
    marks.end()
    (found,) = marks.take()  # the next window, with the same events
    assert found.step_ns == (3_000_000,)
    assert "wait" not in log


def test_the_time_of_a_step_is_told_by_phases_also_where_they_take_turns() -> None:
    """Two microbatches: 2 + 4 ms forward, 3 + 6 ms backward, 1.5 ms update; then a step of one."""
    pytest.importorskip("torch")
    from backends._torch_device import StepMarks

    times_ms = [100.0, 102.0, 105.0, 109.0, 115.0, 116.5, 117.5, 119.5, 120.0]
    marks = StepMarks(lambda: Event([], times_ms))
    for microbatches in (2, 1):
        marks.begin()
        for _ in range(microbatches):
            marks.passed("forward")
            marks.passed("backward")
        marks.end()
    (found,) = marks.take()
    assert found.step_ns == (16_500_000, 3_500_000)
    assert found.phase_ns == {
        "forward": (6_000_000, 1_000_000), "backward": (9_000_000, 2_000_000), "update": (1_500_000, 500_000),
    }  # fmt: skip


def test_the_host_marks_nothing() -> None:
    torch = pytest.importorskip("torch")
    from backends._torch_device import StepMarks

    marks = StepMarks.of(torch.device("cpu"))
    marks.begin()
    marks.end()
    assert marks.take() == []
