"""`paceline collectives` end to end on two real stacks, one of which is made to return one wrong element."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import catalog
from bench.cli import cli
from bench.launch import commands
from bench.records import Sweep
from reports import collectives as report

STACKS = ("torch_ddp", "torch_horovod")
SPOILED = Path(__file__).with_name("spoiled.py")
STUDY = """
name: two
repeats: 1
bare: false
workload: {sequence_length: 16, batch_per_replica: 4}
matrix: {backend: [torch_ddp, torch_horovod]}
"""

pytestmark = [pytest.mark.slow] + [
    pytest.mark.skipif(reason is not None, reason=f"{name}: {reason}")
    for name in STACKS
    for reason in [catalog.why_not_installed(name) or catalog.why_no_launcher("horovodrun")]
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, Path, Sweep]:
    """Exit status, standard output, folder and file of one sweep."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "two.yaml").write_text(STUDY)
    sizes, algorithms = ["--from", "4KiB", "--to", "16KiB"], ["--algorithm", "auto", "--algorithm", "ring"]
    flags = [*sizes, *algorithms, "--launcher", "horovodrun"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(commands, "commands", _spoiled(commands.commands))
        said: list[str] = []
        patched.setattr("click.echo", lambda text="", **_: said.append(str(text)))
        arguments = ["collectives", str(folder / "two.yaml"), "--runs", str(folder / "runs"), *flags]
        status = cli.main(arguments, standalone_mode=False)
    (made,) = (folder / "runs").glob("two-collectives-*")
    return status, "\n".join(said), made, report.load(made)


def _spoiled(original: Any) -> Any:
    def started(*given: Any) -> list[commands.Command]:
        return [
            dataclasses.replace(each, argv=_replaced(each.argv, ("-m", "bench.worker"), str(SPOILED)))
            for each in original(*given)
        ]

    return started


def _replaced(argv: Sequence[str], old: tuple[str, str], new: str) -> tuple[str, ...]:
    place = next(at for at in range(len(argv)) if tuple(argv[at : at + 2]) == old)
    return (*argv[:place], new, *argv[place + 2 :])


def test_every_sound_result_is_exact_and_has_its_number(found: Any) -> None:
    _, said, _, sweep = found
    assert [one.error for one in sweep.launches] == [None] * 3, said
    sound = [row for row in sweep.rows if row.reason is None]
    assert [row.exact for row in sound] == [True] * len(sound)
    assert len(sound) == len(sweep.rows) - 1
    assert all(row.low_ns is None and row.time_ns and row.min_ns and row.p95_ns for row in sound)
    assert {row.request.collective for row in sound} == {"all_reduce", "all_gather", "reduce_scatter", "broadcast"}


def test_one_wrong_element_on_one_rank_is_caught_and_named(found: Any) -> None:
    status, said, _, sweep = found
    (wrong,) = [row for row in sweep.rows if row.exact is False]
    assert wrong.reason == "withheld: torch_ddp: the result on rank 1 is wrong (launch 0, ring all-reduce)"
    assert (wrong.time_ns, wrong.size_bytes) == (None, 16_384)
    assert "torch_ddp \u00d72, ring, all-reduce of 16.4 kB: withheld: torch_ddp: the result on" in said
    assert status == 1


def test_the_models_own_buckets_are_all_its_gradients(found: Any) -> None:
    """BERT-tiny has 4,433,468 parameters: 17,733,872 bytes of float32, in every stack."""
    *_, sweep = found
    own = [row for row in sweep.rows if not row.request.elements]
    assert [row.size_bytes for row in own] == [17_733_872] * 3
    assert all(len(row.elements) > 1 for row in own if row.trial_id.startswith("torch_ddp"))


def test_each_row_says_which_algorithm_ran_and_how_that_is_known(found: Any) -> None:
    *_, sweep = found
    ran = {
        (trial.backend, trial.allreduce): (row.algorithm, row.evidence)
        for trial in sweep.trials
        for row in sweep.rows
        if row.trial_id == trial.id and row.request.collective == "all_reduce" and row.exact
    }
    assert ran["torch_ddp", "ring"][0] == "ring"
    assert "point-to-point" in ran["torch_ddp", "ring"][1]
    assert ran["torch_ddp", "auto"][1].startswith("Gloo's all-reduce")
    assert {(trial.backend, trial.allreduce) for trial, _ in sweep.rejected} == {("torch_horovod", "ring")}


def test_the_page_and_the_csv_lie_beside_the_file(found: Any) -> None:
    _, said, folder, sweep = found
    assert {"collectives.json", "collectives.csv", "report.html", "study.yaml"} <= {
        path.name for path in folder.iterdir()
    }
    assert (folder / "collectives.csv").read_text().count("\n") == 1 + len(sweep.rows) + len(sweep.rejected)
    assert str(folder / "report.html") in said
