"""The sweep on `null`, whose times are programmed: what it says is what a reader computes by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest

from backends import null
from bench import catalog, journal, study, sweep, sweep_rows
from bench.clock import VirtualClock
from bench.errors import TrialError, UserError
from bench.launch.commands import Cluster
from bench.launch.execute import Ended
from bench.launch.world import FileRendezvous
from bench.launching import Launched
from bench.protocols import World
from bench.records import CollectiveLaunch, CollectiveRequest, CollectiveTimes, Phase, Timing, Trial
from bench.run import Observer
from bench.selfcheck import run_assignment
from bench.sweep import Wanted
from bench.timed_collectives import time_standalone
from tests.collectives.virtual import MS, assign, launch, swept, trial

KIB = 1024
SIZES = [64 * KIB, 256 * KIB, 1024 * KIB]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def requests() -> list[CollectiveRequest]:
    return sweep.requests(trial(), Wanted(sizes_bytes=SIZES))


def test_the_models_own_buckets_come_first_then_each_collective_over_the_sizes(
    requests: list[CollectiveRequest],
) -> None:
    """Of two ranks: an all-gather of 64 KiB takes 32 KiB, which are 8192 elements of float32, from each."""
    assert [(each.collective, each.elements) for each in requests] == [
        ("all_reduce", []),
        ("all_reduce", [16384]), ("all_reduce", [65536]), ("all_reduce", [262144]),
        ("all_gather", [8192]), ("all_gather", [32768]), ("all_gather", [131072]),
        ("broadcast", [16384]), ("broadcast", [65536]), ("broadcast", [262144]),
        ("reduce_scatter", [8192]), ("reduce_scatter", [32768]), ("reduce_scatter", [131072]),
    ]  # fmt: skip


def test_an_algorithm_is_one_of_the_all_reduce_and_half_precision_halves_the_bytes() -> None:
    found = sweep.requests(trial(allreduce="tree", wire="float16"), Wanted(sizes_bytes=[64 * KIB]))
    assert [(each.collective, each.elements, each.dtype, each.algorithm) for each in found] == [
        ("all_reduce", [], "float16", "tree"),
        ("all_reduce", [32768], "float16", "tree"),
    ]


def test_every_rank_reads_as_often_as_rank_0_decides_and_the_slowest_counts(
    runs: Path, requests: list[CollectiveRequest], tmp_path: Path
) -> None:
    """64 KiB: rank 0 takes 0.5 + 2 / 16 = 0.625 ms, so 4 fill 2 ms; rank 1 takes 1.125 ms, and is the operation's time.

    algbw = 65536 B / 1.125 ms = 0.058254 GB/s; the bus factor of two ranks is 1.
    """
    found = launch(assign(trial(), requests, runs), tmp_path)
    assert [(rank[1].operations, rank[1].duration_ns) for rank in found.times] == [
        (4, [4 * 625_000] * 20),
        (4, [4 * 1_125_000] * 20),
    ]
    own, first, _, _, gathered, *_ = swept([trial()], [found], requests).rows
    assert (own.median_ns, own.elements, own.size_bytes) == (4 * MS, [1], 4)
    assert first.time_ns == pytest.approx(1_125_000, rel=1e-12)
    assert (first.min_ns, first.median_ns, first.p95_ns, first.max_ns) == (1_125_000,) * 4
    assert first.rank_median_ns == [625_000, 1_125_000]
    assert first.algorithm_gb_per_s == pytest.approx(0.058254, rel=1e-4)
    assert first.bus_gb_per_s == first.algorithm_gb_per_s
    assert (first.exact, first.reason, first.low_ns, first.launches) == (True, None, None, 1)
    # an all-gather of 64 KiB: rank 1 takes 1 + 2 / 32 ms; 65536 B / 1.0625 ms = 0.061681 GB/s, and half is on the bus
    assert (gathered.request.collective, gathered.size_bytes) == ("all_gather", 65536)
    assert gathered.algorithm_gb_per_s == pytest.approx(0.061681, rel=1e-4)
    assert gathered.bus_gb_per_s == pytest.approx(0.061681 / 2, rel=1e-4)


class Warming:
    """A collective whose runs take what they are told, ms; the last one for ever after."""

    elements, algorithm, evidence = (1,), "a", "e"

    def __init__(self, clock: VirtualClock, took_ms: list[int]) -> None:
        self._clock, self._took_ms = clock, took_ms

    def run(self) -> None:
        self._clock.sleep_ns((self._took_ms.pop(0) if len(self._took_ms) > 1 else self._took_ms[0]) * MS)

    def exact(self) -> bool:
        return True


def test_first_runs_trials_and_warm_up_are_not_among_the_readings(tmp_path: Path) -> None:
    """The first run 50 ms, three trials of 3, 1 and 2 ms: the fastest says 2 operations. Two readings of 5 ms runs are
    dropped, and of the rest each takes 2 x 1 ms."""
    clock = VirtualClock()
    backend = null.Backend(clock)
    backend.collective = lambda _: Warming(clock, [50, 3, 1, 2, 5, 5, 5, 5, 1])  # type: ignore[method-assign]
    world = World(
        rank=0, size=1, local_rank=0, local_size=1, local_replicas=1, launcher="local", address="127.0.0.1",
        network_interface=None, rendezvous_port=0, rendezvous=FileRendezvous(tmp_path),
    )  # fmt: skip
    backend.start(world)
    with journal.Journal(tmp_path, 0) as lines:
        made = time_standalone(backend, trial(wire="float16", allreduce="ring"), world, lines, clock)
    assert (made.operations, made.duration_ns) == (2, [2 * MS] * 20)
    assert made.request == CollectiveRequest(elements=[], dtype="float16", algorithm="ring")
    assert (tmp_path / "operations-standalone").read_text() == "2"


def test_the_programmed_line_comes_back(runs: Path, requests: list[CollectiveRequest], tmp_path: Path) -> None:
    """Rank 1: 1 ms + 2 ms per MiB of what one rank gives; an all-gather of two gives half of its size."""
    lines = swept([trial()], [launch(assign(trial(), requests, runs), tmp_path)], requests).lines
    assert [(line.collective, line.sizes) for line in lines] == [
        ("all_reduce", 3), ("all_gather", 3), ("broadcast", 3), ("reduce_scatter", 3)
    ]  # fmt: skip
    assert [line.latency_ns for line in lines] == pytest.approx([MS] * 4, rel=1e-9)
    per_byte = 2 * MS / 2**20
    assert [line.ns_per_byte for line in lines] == pytest.approx([per_byte, per_byte / 2, per_byte, per_byte / 2])
    assert [line.worst_ratio for line in lines] == pytest.approx([1.0] * 4)


def test_a_ladders_launch_times_its_own_exchange_alone(runs: Path, tmp_path: Path) -> None:
    asked = trial(timing=Timing(warmup_windows=1, windows=2, steps_per_window=2, local_windows=True), wire="float32")
    run_assignment(assign(asked, [], runs), tmp_path)
    (times,) = [line for line in journal.read(tmp_path, 1) if isinstance(line, CollectiveTimes)]
    assert times.request == CollectiveRequest(elements=[], dtype="float32", algorithm="auto")
    assert (times.operations, times.duration_ns) == (1, [4 * MS] * 20)


def times(request: CollectiveRequest, took_ns: int, **changes: object) -> CollectiveTimes:
    given = CollectiveTimes(
        request=request, elements=request.elements or [100, 300], algorithm="a", evidence="e", operations=2,
        duration_ns=[2 * took_ns] * 20, exact=True,
    )  # fmt: skip
    return msgspec.structs.replace(given, **changes)


def by_hand(durations: dict[str, dict[int, int]]) -> tuple[list[Trial], list[sweep_rows.Swept]]:
    """Algorithm to {bytes: ns}; the key 0 is the model's own buckets."""
    trials = [trial(backend="torch_ddp", options={}, allreduce=algorithm) for algorithm in durations]
    found = []
    for each in trials:
        for size, took in durations[each.allreduce].items():
            request = CollectiveRequest(elements=[size // 4] if size else [], algorithm=each.allreduce)
            found.append(sweep_rows.Swept(each, request, [0, 1, 2], [[times(request, took)] * 2] * 3))
    return trials, found


def test_tree_and_ring_cross_where_their_lines_do() -> None:
    """Tree 100 us + 2 ns a byte, ring 1100 us + 1 ns: equal at 1,000,000 bytes. The buckets: 400 and 1,200 bytes."""
    sizes = (4_000, 400_000, 4_000_000)
    trials, found = by_hand(
        {
            "tree": {0: 30, **{size: 100_000 + 2 * size for size in sizes}},
            "ring": {0: 20, **{size: 1_100_000 + size for size in sizes}},
            "auto": {size: size for size in sizes},
        }
    )
    lines = sweep_rows.lines([sweep_rows.row(each) for each in found])
    (crossover,) = sweep_rows.crossovers(trials, found, lines)
    assert (crossover.tree_id, crossover.ring_id) == (trials[0].id, trials[1].id)
    assert crossover.size_bytes == pytest.approx(1_000_000)
    assert crossover.bucket_bytes == [400, 1200]
    assert (crossover.own_ratio, crossover.own_low, crossover.own_high) == pytest.approx((1.5, 1.5, 1.5))


def test_links_of_a_known_rate_are_a_ruler() -> None:
    """4 ranks, 1 Gbit/s: an all-reduce of 4,000,000 bytes sends 1.5 times as much, 48 ms; two ranks on a link: unknown."""
    asked, request = trial(backend="torch_ddp", options={}, replicas=4), CollectiveRequest(elements=[1_000_000])
    one = sweep_rows.Swept(asked, request, [0], [[times(request, 50 * MS)] * 4])
    assert sweep_rows.row(one, 1e9).wire_ns == pytest.approx(48 * MS)
    assert sweep_rows.row(one).wire_ns is None
    kept = CollectiveLaunch(
        trial_id=asked.id, repeat=0, started_utc="", wall_ns=1, command=[], error=None,
        times=[[times(request, 50 * MS)]] * 4,
    )  # fmt: skip
    bare = swept([asked], [kept], [request])
    for hosts, expected in (("4@1gbit", 48 * MS), ("2x2@1gbit", None)):
        where = msgspec.structs.replace(bare.environment, emulated_hosts=hosts)
        (row,) = sweep.derived(msgspec.structs.replace(bare, environment=where), {asked.id: [request]}).rows
        assert row.wire_ns == (expected and pytest.approx(expected))


def test_the_interval_is_over_launches() -> None:
    """Medians 1, 2, 4 us: the logs are equally far apart, their mean is that of 2; t(0.975, 2) = 4.3027, s = ln 2."""
    request = CollectiveRequest(elements=[1000])
    of_launches = [[times(request, took)] * 2 for took in (1000, 2000, 4000)]
    found = sweep_rows.row(sweep_rows.Swept(trial(), request, [0, 1, 2], of_launches))
    assert (found.time_ns, found.launches) == (pytest.approx(2000), 3)
    assert found.low_ns == pytest.approx(2000 / 2 ** (4.30265 / 3**0.5), rel=1e-5)
    assert found.high_ns == pytest.approx(2000 * 2 ** (4.30265 / 3**0.5), rel=1e-5)


def test_a_wrong_result_withholds_the_number_and_names_backend_and_rank() -> None:
    request = CollectiveRequest(elements=[1000])
    of_launches = [[times(request, 10), times(request, 10)], [times(request, 10), times(request, 10, exact=False)]]
    found = sweep_rows.row(sweep_rows.Swept(trial(), request, [3, 7], of_launches))
    assert found.reason == "withheld: null: the result on rank 1 is wrong (launch 7, a all-reduce)"
    assert (found.time_ns, found.bus_gb_per_s, found.exact) == (None, None, False)


def test_what_nobody_checked_is_not_called_exact() -> None:
    request = CollectiveRequest(elements=[1000])
    of_launches = [[times(request, 10), times(request, 10, exact=None)]]
    found = sweep_rows.row(sweep_rows.Swept(trial(), request, [0], of_launches))
    assert (found.time_ns, found.exact) == (pytest.approx(10), None)


def test_what_a_backend_refuses_is_a_row_with_its_reason() -> None:
    request = CollectiveRequest(elements=[1000])
    refused = times(request, 1, elements=[], algorithm="", operations=0, duration_ns=[], exact=None, reason="it cannot")
    found = sweep_rows.row(sweep_rows.Swept(trial(), request, [0], [[refused, refused]]))
    assert (found.reason, found.time_ns, found.size_bytes) == ("not selectable, because it cannot", None, 4000)


def test_ranks_that_timed_different_things_are_a_failed_launch(
    runs: Path, requests: list[CollectiveRequest], tmp_path: Path
) -> None:
    assignment = assign(trial(), requests[:2], runs)
    run_assignment(assignment, tmp_path)
    lines = (tmp_path / "rank-1.jsonl").read_text()
    (tmp_path / "rank-1.jsonl").write_text(lines.replace('"operations":4', '"operations":5'))
    with pytest.raises(TrialError, match="rank 1 timed another all_reduce than rank 0"):
        sweep.gathered(assignment, tmp_path, Launched([], "", Ended(0, None, 1), None))
    with pytest.raises(TrialError, match="rank 0 timed 2 of 1 requests"):
        sweep.gathered(
            msgspec.structs.replace(assignment, collectives=requests[:1]),
            tmp_path,
            Launched([], "", Ended(0, None, 1), None),
        )
    assert [line.name for line in journal.read(tmp_path, 0) if isinstance(line, Phase)][-1] == "end"


def load(path: Path, text: str) -> study.Study:
    path.write_text(f"launcher: local\nbare: false\nworkload: {{sequence_length: 16, batch_per_replica: 4}}\n{text}")
    return study.load(path)


def test_each_stack_is_swept_once_with_every_algorithm_whatever_the_study_says_of_it(tmp_path: Path) -> None:
    text = "matrix: {backend: ['null'], allreduce: [ring, auto], replicas: [1, 2], timing.windows: [3, 4]}\n"
    planned = sweep.plan(load(tmp_path / "s.yaml", text), Wanted(sizes_bytes=SIZES), Cluster())
    assert [(each.backend, each.replicas, each.allreduce) for each in planned.trials] == [("null", 2, "auto")]
    reasons = {(each.replicas, each.allreduce): reason for each, reason in planned.rejected}
    assert reasons[1, "auto"] == "one replica exchanges with nobody"
    assert reasons[2, "tree"] == "null cannot select all-reduce tree; it has auto"
    assert len(reasons) == 7


@pytest.mark.skipif(catalog.why_no_launcher("mpirun") is not None, reason="mpirun is not installed")
@pytest.mark.skipif(catalog.why_not_installed("torch_horovod") is not None, reason="torch_horovod is not installed")
def test_an_algorithm_that_another_launcher_has_is_timed_there_beside_its_auto(tmp_path: Path) -> None:
    """Horovod takes its all-reduce from Open MPI under mpirun; under horovodrun from Gloo, which has one."""
    (tmp_path / "s.yaml").write_text("backend: torch_horovod\nlauncher: horovodrun\nbare: false\n")
    wanted = Wanted(sizes_bytes=SIZES, algorithms=["auto", "ring", "hierarchical"])
    planned = sweep.plan(study.load(tmp_path / "s.yaml"), wanted, Cluster())
    assert [(each.launcher, each.allreduce) for each in planned.trials] == [
        ("horovodrun", "auto"), ("mpirun", "auto"), ("mpirun", "ring")
    ]  # fmt: skip
    assert [(each.launcher, each.allreduce) for each, _ in planned.rejected] == [("mpirun", "hierarchical")]
    fixed = dataclasses.replace(wanted, as_launched=True)
    as_launched = sweep.plan(study.load(tmp_path / "s.yaml"), fixed, Cluster())
    assert [(each.launcher, each.allreduce) for each in as_launched.trials] == [("horovodrun", "auto")]


def test_sizes_that_memory_cannot_hold_are_refused_before_anything_starts(tmp_path: Path) -> None:
    loaded = load(tmp_path / "s.yaml", "backend: 'null'\nreplicas: 4\n")
    with pytest.raises(UserError, match=r"^1000000000000 bytes: 4 ranks on a host need 12000.0 GB for it, and"):
        sweep.plan(loaded, Wanted(sizes_bytes=[10**12]), Cluster())


def test_a_sweep_of_real_processes_leaves_one_whole_file_and_says_which_launch_failed(
    runs: Path, tmp_path: Path
) -> None:
    """Two stacks in three launches each: one of them dies in its first step."""
    options = "{latency_ms: 0.1, ms_per_mib: 1}"
    study_text = f"repeats: 2\nseed: 3\nmatrix:\n  backend: ['null']\n  options: [{options}, {{fault: exit}}]\n"
    loaded = load(tmp_path / "real.yaml", study_text)
    wanted = Wanted(sizes_bytes=SIZES, collectives=["all_reduce"])
    folder, made = sweep.sweep(loaded, wanted, runs, Cluster(), Observer())
    sound, faulty = made.trials
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [".lock", "collectives.json", "study.yaml", "sweep-plan.json", sound.id, faulty.id]
    )
    assert [(one.trial_id, one.repeat) for one in made.launches] == made.order
    assert {one.trial_id for one in made.launches if one.error} == {faulty.id}
    errors = [one.error for one in made.launches if one.error]
    assert "died in warmup without a word" in str(errors[0])
    by_trial = {each.id: [row for row in made.rows if row.trial_id == each.id] for each in made.trials}
    assert [row.launches for row in by_trial[sound.id]] == [2] * 4
    assert {row.reason for row in by_trial[faulty.id]} == {"no launch of this trial is whole"}
    # an operation of 1 MiB sleeps 1.1 ms: never less, and on a busy machine it may be much more
    assert by_trial[sound.id][3].min_ns is not None and by_trial[sound.id][3].min_ns > 1_099_000
