"""From spans to the published figures: on spans made by hand, and on null's programmed ones through the whole pass."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from msgspec import structs

from bench import journal, run, selfcheck, trace_run, traces
from bench.errors import TrialError
from bench.protocols import Span, Timeline
from bench.records import Assignment, RankInfo, RankTrace, Timing, Traced, Trial, Window, Workload

MS = 1_000_000


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        ([(3, 3)], []),
        ([(0, 10), (2, 3)], [(0, 10)]),
        ([(5, 7), (0, 2), (2, 4)], [(0, 4), (5, 7)]),
        ([(0, 5), (3, 8), (7, 9), (20, 21)], [(0, 9), (20, 21)]),
    ],
    ids=["empty", "without length", "nested", "touching", "threads that overlap"],
)
def test_a_union_holds_each_moment_once(given, expected):
    assert traces.union(given) == expected


@pytest.mark.parametrize(
    ("communication", "compute", "exposed"),
    [
        ([(0, 10)], [], [(0, 10)]),
        ([], [(0, 10)], []),
        ([(0, 10)], [(0, 10)], []),
        ([(0, 10)], [(10, 12)], [(0, 10)]),
        ([(0, 10)], [(3, 4), (4, 5), (9, 30)], [(0, 3), (5, 9)]),
        ([(0, 4), (6, 10), (8, 12)], [(2, 7), (9, 10)], [(0, 2), (7, 9), (10, 12)]),
    ],
)
def test_exposed_is_what_no_compute_covers(communication, compute, exposed):
    assert traces.minus(communication, compute) == exposed


def window(start_ns: int, duration_ns: int) -> Window:
    return Window(
        index=0, warmup=False, exchange=True, steps=2, samples=1, tokens_real=1, tokens_padded=1, start_ns=start_ns,
        duration_ns=duration_ns, input_wait_ns=0, cpu_ns=0, rss_bytes=None, received_bytes=None, sent_bytes=None,
    )  # fmt: skip


def rank_file(folder: Path, rank: int, host: str, began_ns: int, **changed) -> Path:
    """Two windows of 100 ns. In the first 40 of communication, half of it computing beside; in the second nothing.
    Around them what belongs to no window: a barrier before the first, and two spans over its end."""
    first = [
        Span("communication", "barrier", "net", began_ns - 50, 40),
        Span("communication", "all_reduce", "net", began_ns + 10, 40),
        Span("compute", "mm", "main", began_ns + 30, 20),
        Span("compute", "mul", "worker", began_ns + 35, 10),
        Span("other", "frame", "main", began_ns, 100),
        Span("compute", "adam", "main", began_ns + 90, 30),
        Span("communication", "late", "net", began_ns + 90, 30),
    ]
    both = [
        (window(began_ns, 100), Timeline(source="by hand", spans=first, **changed)),
        (window(began_ns + 500, 100), Timeline(source="by hand", **changed)),
    ]
    path = folder / f"rank-{rank}.trace.json.gz"
    traces.write(path, RankInfo(rank=rank, host=host, pid=1, launcher="local"), both)
    return path


def test_figures_are_clipped_to_the_windows(tmp_path):
    """Of each span over the window's end 10 ns lie within, in which nothing is exposed."""
    found = traces.figures(traces.read(rank_file(tmp_path, 0, "a", 7_000)), steps=4)
    expected = RankTrace(
        rank=0, host="a", source="by hand", steps=4, duration_ns=200, communication_ns=50, exposed_ns=20, compute_ns=30
    )  # fmt: skip
    assert found == expected
    assert found.overlap == 0.6


def test_a_rank_that_sees_no_exchange_has_unknowns_and_no_zeros(tmp_path):
    found = traces.figures(traces.read(rank_file(tmp_path, 0, "a", 7_000, sees_exchange=False)), steps=4)
    assert (found.communication_ns, found.exposed_ns, found.overlap) == (None, None, None)


def test_nothing_to_hide_has_no_overlap():
    found = RankTrace(
        rank=0, host="a", source="", steps=1, duration_ns=9, communication_ns=0, exposed_ns=0, compute_ns=9
    )
    assert found.overlap is None


def test_the_slow_down_is_the_median_of_the_pairs():
    """100 / 50, 30 / 20 and 11 / 10."""
    found = Traced(
        trial_id="t", created_utc="", command=[], error=None, steps_per_window=1, untraced_ns=[50, 20, 10],
        traced_ns=[100, 30, 11], ranks=[], schema=3,
    )  # fmt: skip
    assert found.slow_down == 1.5


def test_merged_ranks_of_one_host_keep_its_clock_and_hosts_meet_at_the_first_window(tmp_path):
    """Rank 1 began 40 ns after rank 0 on the same host; rank 2 of another host has a clock of its own."""
    began = {0: ("a", 7_000), 1: ("a", 7_040), 2: ("b", 999_000)}
    files = [traces.read(rank_file(tmp_path, rank, *place)) for rank, place in began.items()]
    traces.merge(tmp_path / "trace.json.gz", files)
    document = json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))
    starts = {
        event["pid"]: event["ts"]
        for event in reversed(document["traceEvents"])
        if event["ph"] == "X" and event["cat"] == "window"
    }
    assert starts == {0: 0.0, 1: 0.04, 2: 0.0}
    names = [event["args"]["name"] for event in document["traceEvents"] if event["name"] == "process_name"]
    assert names == ["rank 0 on a", "rank 1 on a", "rank 2 on b"]
    assert "compare them with care" in document["otherData"]["clocks"]


def test_spans_of_one_thread_that_cross_lie_in_lanes_of_their_own(tmp_path):
    """Two receives that were posted one after the other; one in the first, one after both."""
    spans = [("a", 10, 30), ("b", 20, 40), ("inside a", 12, 18), ("after", 40, 50)]
    timeline = Timeline(source="", spans=[Span("other", name, "net", start, end - start) for name, start, end in spans])
    who = RankInfo(rank=0, host="a", pid=1, launcher="local")
    traces.write(tmp_path / "rank-0.trace.json.gz", who, [(window(0, 100), timeline)])
    events = traces.read(tmp_path / "rank-0.trace.json.gz").events
    lanes = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    found = {event["name"]: lanes[event["tid"]] for event in events if event["ph"] == "X"}
    assert found == {
        "2 steps": "windows", "a": "net", "inside a": "net", "b": "net, beside it 1", "after": "net",
    }  # fmt: skip


def test_a_file_cut_off_is_named(tmp_path):
    path = rank_file(tmp_path, 0, "a", 7_000)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(TrialError, match=r"rank-0\.trace\.json\.gz is no trace of a rank"):
        traces.read(path)


def test_each_pair_is_of_the_slowest_rank_and_the_traced_window_is_the_second(tmp_path):
    trial = Trial(backend="null", timing=Timing(warmup_windows=1, windows=1, steps_per_window=2))
    assignment = Assignment(
        trial=trial, trial_id=trial.id, repeat=0, ranks=2, local_replicas=1, data="", checkpoint="", traced_windows=1
    )  # fmt: skip
    for rank, (untraced, traced) in enumerate([(50, 100), (60, 90)]):
        rank_file(tmp_path, rank, "a", 7_000)
        with journal.Journal(tmp_path, rank) as lines:
            lines.write(structs.replace(window(0, 999), warmup=True))
            lines.write(window(1_000, untraced))
            lines.write(window(2_000, traced))
    found = trace_run.gathered(assignment, tmp_path)
    assert (found.untraced_ns, found.traced_ns) == ([60], [100])
    (tmp_path / "rank-1.jsonl").write_bytes((tmp_path / "rank-1.jsonl").read_bytes().rsplit(b"\n", 2)[0] + b"\n")
    with pytest.raises(TrialError, match="rank 1 has 1 windows of 2"):
        trace_run.gathered(assignment, tmp_path)


@pytest.fixture(scope="module")
def programmed(tmp_path_factory) -> tuple[Path, Traced]:
    """Two ranks of `null` in trace mode, each a thread with a clock of its own."""
    runs = tmp_path_factory.mktemp("runs")
    trial = Trial(
        backend="null", launcher="local", workload=Workload(sequence_length=16, batch_per_replica=2),
        timing=Timing(warmup_windows=1, windows=1, steps_per_window=4),
        options={"step_ms": [10.0, 13.0], "exchange_ms": 8.0, "overlap_ms": 5.0, "synchronous": True},
    )  # fmt: skip
    prepared = run.prepare(trial, runs, run.Observer())
    assignment = Assignment(
        trial=trial, trial_id=trial.id, repeat=0, ranks=2, local_replicas=1, data=str(prepared.data),
        checkpoint=str(prepared.checkpoint), traced_windows=2,
    )  # fmt: skip
    folder = runs / "traced"
    selfcheck.run_assignment(assignment, folder)
    return folder, trace_run.gathered(assignment, folder)


def test_what_is_programmed_comes_back_exactly(programmed):
    """A step of 13 + 8 - 5 = 16. The exchange takes its last 8: rank 0 computes for 10, so 2 of them are hidden; rank 1
    for 13, so 5."""
    _, found = programmed
    assert [rank.steps for rank in found.ranks] == [8, 8]
    assert [rank.duration_ns for rank in found.ranks] == [8 * 16 * MS] * 2
    assert [rank.communication_ns for rank in found.ranks] == [8 * 8 * MS] * 2
    assert [rank.exposed_ns for rank in found.ranks] == [8 * 6 * MS, 8 * 3 * MS]
    assert [rank.compute_ns for rank in found.ranks] == [8 * 10 * MS, 8 * 13 * MS]
    assert [rank.overlap for rank in found.ranks] == [0.25, 0.625]


def test_windows_take_turns_and_the_first_pair_is_warm_up(programmed):
    """First step, one warm-up window, one pair that does not count, two that do."""
    folder, found = programmed
    lines = [json.loads(line) for line in (folder / "rank-0.jsonl").read_text().splitlines()]
    windows = [line for line in lines if line["type"] == "window"]
    assert [each["steps"] for each in windows] == [1, 4, 4, 4, 4, 4, 4, 4]
    assert [each["warmup"] for each in windows] == [True] * 4 + [False] * 4
    assert (found.untraced_ns, found.traced_ns, found.slow_down) == ([64 * MS] * 2, [64 * MS] * 2, 1.0)
