"""What a person gets for a request that cannot be meant: one sentence, and nothing is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import cli
from bench.errors import UserError

STUDY = "backend: 'null'\nlauncher: local\nbare: false\n"


def sentence(folder: Path, *flags: str, study: str = STUDY) -> str:
    (folder / "s.yaml").write_text(study)
    runs = folder / "runs"
    with pytest.raises(UserError) as refused:
        cli.main(["collectives", str(folder / "s.yaml"), "--runs", str(runs), *flags], standalone_mode=False)
    assert not runs.exists()
    return str(refused.value)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--from", "0"], "--from 0: the smallest size is 16 bytes"),
        (["--from", "15B"], "--from 15B: the smallest size is 16 bytes"),
        (["--from", "2MiB", "--to", "1MiB"], "--from 2MiB is more than --to 1MiB"),
        (["--factor", "1"], "--factor 1: expected a number above 1"),
        (["--factor", "0.5"], "--factor 0.5: expected a number above 1"),
        (["--factor", "nan"], "--factor nan: expected a number above 1"),
        (["--to", "64MB s"], "--to '64MB s' is no size; expected as in 4096, 4KiB, 64MiB or 1.5GB"),
        (["--to", "-1"], "--to '-1' is no size; expected as in 4096, 4KiB, 64MiB or 1.5GB"),
        (["--to", "64mib"], "--to '64mib' is no size; expected as in 4096, 4KiB, 64MiB or 1.5GB"),
        (["--algorithm", "rign"], "--algorithm: 'rign' is not known; did you mean 'ring'?"),
        (["--operation", "allreduce"], "--operation: 'allreduce' is not known; did you mean 'all_reduce'?"),
        (["--backend", "torch_dpp"], "--backend: 'torch_dpp' is not known; did you mean 'torch_ddp'?"),
        (["--algorithm", "tree"], "nothing of the study 's' can be timed here: null: null cannot select all-reduce "
                                  "tree; it has auto"),
        (["--backend", "torch_ddp"], "nothing of the study 's' can be timed here: it has no such backend"),
        (["-np", "1"], "nothing of the study 's' can be timed here: null: one replica exchanges with nobody"),
    ],
)  # fmt: skip
def test_one_sentence(tmp_path: Path, flags: list[str], expected: str) -> None:
    assert sentence(tmp_path, *flags) == expected


def test_more_than_memory_holds(tmp_path: Path) -> None:
    found = sentence(tmp_path, "--from", "9000GB", "--to", "9000GB")
    assert found.startswith("9000000000000 bytes: 2 ranks on a host need 54000.0 GB for it, and this one has ")
    assert found.endswith(" GB; give a smaller --to")


def test_an_algorithm_that_the_study_misspells(tmp_path: Path) -> None:
    found = sentence(tmp_path, study=f"{STUDY}allreduce: rign\n")
    assert found.startswith(f"{tmp_path}/s.yaml:4: allreduce is 'rign'; allowed are auto, ring, tree,")
    assert found.endswith("; did you mean 'ring'?")
