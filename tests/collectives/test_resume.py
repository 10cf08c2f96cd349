"""A sweep that was cut off, or of which a launch failed, keeps what was finished and is resumed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench import fsck, journal, run, study, sweep
from bench.errors import UserError
from bench.launch.commands import Cluster
from bench.records import CollectiveRequest, CollectiveTimes
from bench.run import Observer
from bench.sweep import Wanted
from tests.collectives.virtual import assign, trial

SIZES = [64 * 1024, 256 * 1024]
STUDY = """
name: swept
launcher: local
bare: false
repeats: 2
backend: 'null'
workload: {sequence_length: 16, batch_per_replica: 4}
options: {latency_ms: 0.1}
"""


def begun(folder: Path) -> Path:
    (folder / "s.yaml").write_text(STUDY)
    wanted = Wanted(sizes_bytes=SIZES, collectives=["all_reduce"])
    return sweep.begin(study.load(folder / "s.yaml"), wanted, folder / "runs", Cluster(), Observer())


def spoil(folder: Path, repeat: int, after: int) -> None:
    """As if that launch had failed when its ranks had finished so many requests, rank 1 one more."""
    _, made = sweep.read(folder)
    (key,) = [one for one in made.order if one[1] == repeat]
    found = sweep._known(made, *key)
    assert found is not None
    launch = folder / key[0] / str(repeat)
    for rank in (0, 1):
        lines = (launch / f"rank-{rank}.jsonl").read_bytes().splitlines(keepends=True)
        timed = [number for number, line in enumerate(lines) if b'"type":"collective",' in line]
        (launch / f"rank-{rank}.jsonl").write_bytes(b"".join(lines[: timed[after + rank - 1] + 1]))
    assignment = assign(made.trials[0], made.requests[key[0]], folder.parent)
    kept = msgspec.structs.replace(found, error="rank 0 died", times=sweep.finished(assignment, launch))
    others = [one for one in made.launches if one is not found]
    sealed = sweep.seal(sweep.derived(msgspec.structs.replace(made, launches=[*others, kept]), made.requests))
    sweep.write_atomically(folder / sweep.FILE, sealed)


def paceline(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-P", "-m", "bench", *map(str, arguments)]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=100, check=False)


def test_what_the_ranks_of_a_failed_launch_had_finished_is_kept_and_resume_times_the_rest(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    assert sweep.read(folder)[1].launches == []
    whole = sweep.proceed(folder, Observer())
    assert [len(one.times[0]) for one in whole.launches] == [3, 3]

    spoil(folder, repeat=0, after=1)
    _, made = sweep.read(folder)
    failed = sweep._known(made, *made.order[0])
    assert failed is not None and [len(of_rank) for of_rank in failed.times] == [1, 1]
    # the launch that failed counts where it had finished; of the others there is one
    assert [row.launches for row in made.rows] == [2, 1, 1]
    kept = failed.times[0][0]
    found = {str(each.path.relative_to(folder)): each.problem for each in fsck.examine(folder)}
    trial_id = made.order[0][0]
    assert found == {
        "collectives.json": None, f"{trial_id}/0": "2 of 3 requests are lacking: rank 0 died", f"{trial_id}/1": None
    }  # fmt: skip

    done = paceline("collectives", "--resume", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    _, again = sweep.read(folder)
    assert [(one.error, len(one.times[0])) for one in again.launches] == [(None, 3), (None, 3)]
    resumed = sweep._known(again, *again.order[0])
    assert resumed is not None and resumed.times[0][0] == kept
    assert [each.request for each in resumed.times[1]] == again.requests[again.order[0][0]]
    # only what was lacking was timed anew, and the other launch was left alone
    lines = journal.read(folder / again.order[0][0] / "0", 0)
    assert sum(isinstance(line, CollectiveTimes) for line in lines) == 2
    assert sweep._known(again, *again.order[1]) == sweep._known(whole, *whole.order[1])
    assert [row.launches for row in again.rows] == [2, 2, 2]

    before = (folder / sweep.FILE).read_bytes()
    assert sweep.proceed(folder, Observer()) == again
    assert (folder / sweep.FILE).read_bytes() == before

    refused = paceline("collectives", "--resume", folder, "--to", "1MiB", cwd=tmp_path)
    assert (refused.returncode, refused.stderr) == (
        2, "paceline: --resume continues what was planned; leave out --to\n"
    )  # fmt: skip
    nothing = paceline("collectives", "--resume", tmp_path, cwd=tmp_path)
    assert nothing.returncode == 2 and "no sweep can be resumed there" in nothing.stderr


def test_a_request_counts_only_when_every_rank_has_finished_it_alike(tmp_path: Path) -> None:
    asked = [CollectiveRequest(elements=[size]) for size in (10, 20, 30)]
    assignment = assign(trial(), asked, tmp_path / "runs")

    def wrote(rank: int, operations: list[int]) -> None:
        (tmp_path / f"rank-{rank}.jsonl").unlink(missing_ok=True)
        with journal.Journal(tmp_path, rank) as lines:
            for request, count in zip(asked, operations, strict=False):
                times = CollectiveTimes(
                    request=request, elements=request.elements, algorithm="a", evidence="e", operations=count,
                    duration_ns=[1] * 20, exact=True,
                )  # fmt: skip
                lines.write(times)

    def kept(one: list[int], other: list[int]) -> list[int]:
        wrote(0, one)
        wrote(1, other)
        return [len(of_rank) for of_rank in sweep.finished(assignment, tmp_path)]

    assert kept([4, 4, 4], [4, 4]) == [2, 2]
    assert kept([4, 4, 4], [4, 5, 4]) == [1, 1]
    assert kept([4], []) == []


def test_two_at_work_in_one_sweep_are_refused(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    with run.alone(folder), pytest.raises(UserError, match="another paceline is running this study"):
        sweep.proceed(folder, Observer())
