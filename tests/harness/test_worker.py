"""The measured loop, with time owned by the test: what the report says is what a reader computes by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

from backends import null
from bench import assemble, collect, journal, study, worker
from bench.clock import VirtualClock
from bench.launch.commands import Cluster
from bench.launch.world import FileRendezvous
from bench.protocols import World
from bench.records import Phase, Timing, Trial, Window, Workload
from bench.run import Observer, begin, prepare
from bench.selfcheck import run_ranks
from reports.load import load
from reports.table import rows

MS = 1_000_000


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    """Prepared data is shared by the tests, as it is by runs."""
    return tmp_path_factory.mktemp("runs")


def trial(**changes) -> Trial:
    given = {
        "backend": "null",
        "launcher": "local",
        "replicas": 2,
        "workload": Workload(sequence_length=16, batch_per_replica=4),
        "timing": Timing(warmup_windows=1, windows=3, steps_per_window=5),
        "options": {"step_ms": [10.0, 12.0], "build_ms": 7.0},
    }
    return Trial(**(given | changes))


def test_windows_hold_exactly_the_programmed_time(runs, tmp_path):
    run_ranks(trial(), runs, tmp_path)
    windows = [line for line in journal.read(tmp_path, 1) if isinstance(line, Window)]
    assert [(w.steps, w.samples, w.duration_ns, w.warmup) for w in windows] == [
        (1, 4, 12 * MS, True),
        (5, 20, 60 * MS, True),
        (5, 20, 60 * MS, False),
        (5, 20, 60 * MS, False),
        (5, 20, 60 * MS, False),
    ]
    assert [w.input_wait_ns for w in windows] == [0] * 5
    assert {w.tokens_padded for w in windows} == {4 * 16, 20 * 16}


def test_the_first_step_and_the_set_up_are_timed_apart(runs, tmp_path):
    repeat = run_ranks(trial(), runs, tmp_path)
    assert [(s.build_ns, s.first_step_ns) for s in repeat.setup] == [(7 * MS, 10 * MS), (7 * MS, 12 * MS)]


def test_phases_come_in_order(runs, tmp_path):
    run_ranks(trial(), runs, tmp_path)
    phases = [line.name for line in journal.read(tmp_path, 0) if isinstance(line, Phase)]
    assert phases == ["start", "build", "warmup", "windows", "finish", "stop", "end"]


def test_the_report_holds_exactly_the_throughput_that_a_reader_computes_by_hand(runs, tmp_path):
    """2 ranks x 4 samples x 5 steps = 40 samples a window; the slower rank takes 5 x 12 ms: 40 / 0.06 s = 666.7/s."""
    path = tmp_path / "hand.yaml"
    path.write_text(
        "backend: 'null'\nlauncher: local\nworkload: {sequence_length: 16, batch_per_replica: 4}\nrepeats: 1\n"
        "timing: {warmup_windows: 1, windows: 3, steps_per_window: 5}\noptions: {step_ms: [10, 12]}\n"
    )
    asked = study.load(path)
    folder = begin(asked, runs, False, Cluster(), Observer())
    run_ranks(asked.trials[0], runs, folder / asked.trials[0].id / "0")
    assemble.assemble(folder)
    (row,) = rows(load(folder))
    assert row.status == "ok"
    assert row.measured.samples_per_second.point == pytest.approx(40 / 0.060, rel=1e-12)


def test_input_wait_is_the_time_to_obtain_batches_and_part_of_the_window(runs, tmp_path, monkeypatch):
    clock = VirtualClock()
    asked = trial(replicas=1, options={"step_ms": 10.0})
    prepared = prepare(asked, runs, Observer())
    batches = worker.Batches(prepared.data, asked.workload, 0, 1, 1)
    obtain = batches.batch

    def slow(step):
        clock.sleep_ns(3 * MS)
        return obtain(step)

    monkeypatch.setattr(batches, "batch", slow)
    backend = null.Backend(clock)
    backend._world = World(
        rank=0, size=1, local_rank=0, local_size=1, local_replicas=1, launcher="local", address="127.0.0.1",
        network_interface=None, rendezvous_port=0, rendezvous=FileRendezvous(tmp_path),
    )  # fmt: skip
    backend.build(asked, prepared.checkpoint)
    with journal.Journal(tmp_path, 0) as lines:
        window = worker.Measurement(backend, batches, lines, clock).window(steps=4, warmup=False)
    # the device works on the step before while a batch is obtained: 3 + 4 x 10 ms, of which 4 x 3 ms waiting
    assert (window.input_wait_ns, window.duration_ns) == (12 * MS, 43 * MS)


def test_a_damaged_line_in_the_middle_is_an_error_and_an_unfinished_last_line_is_not(tmp_path):
    path = tmp_path / "rank-0.jsonl"
    path.write_bytes(b'{"type":"phase","name":"start","at_ns":1}\n{"type":"pha')
    assert journal.read(tmp_path, 0) == [Phase(name="start", at_ns=1)]
    path.write_bytes(b'{"type":"phase","na\n{"type":"phase","name":"start","at_ns":1}\n')
    with pytest.raises(collect.TrialError, match=r"rank-0.jsonl line 1 is damaged"):
        journal.read(tmp_path, 0)


def test_a_host_that_does_not_see_the_run_folder_says_so(tmp_path):
    argv = [sys.executable, "-P", "-m", "bench.worker", str(tmp_path / "elsewhere")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "does not see" in done.stderr and "a file system that they share (--runs)" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
