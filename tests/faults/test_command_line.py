"""What somebody types who has never seen this code: one line that says where, what was given and what is allowed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.cli import main
from tests.reports.build import by_hand

USAGE = "Usage: paceline "
PLAN = ("plan", "s.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study, a run that can be read and one that lacks its windows, and things that are neither."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "s.yaml").write_text("backend: 'null'\nlauncher: local\n")
    (folder / "bytes").write_bytes(bytes(range(256)))
    (folder / "empty").touch()
    (folder / "folder").mkdir()
    by_hand(folder / "read")
    by_hand(folder / "short")
    (folder / "short" / "windows.parquet").unlink()
    (folder / "sealed").mkdir()
    (folder / "sealed" / "plan.json").write_text("{}")
    (folder / "sealed" / "collectives.json").write_text("{}")
    (folder / "odd").mkdir()
    (folder / "odd" / "plan.json").mkdir()
    return folder


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (("plan", "nope.yaml"), "nope.yaml: no such file; `paceline init` writes a study to start from"),
        (("plan", "folder"), "folder: a folder; expected a study, which is a YAML file"),
        (("plan", "empty"), "empty: empty; `paceline init` writes a study to start from"),
        (("plan", "bytes"), "bytes: not UTF-8 text (byte 128)"),
        (("plan", "/dev/zero"), "/dev/zero: larger than 100000 bytes; this is not a study"),
        (("plan", "a\nb\x1b[31m\udcff"), r"a\nb\x1b[31m\udcff: no such file; `paceline init` writes a study to start from"),
        ((*PLAN, "-H", ""), "-H: '' is no host name; expected host:slots,host:slots"),
        ((*PLAN, "-H", "a:b"), "-H: 'a:b' has no valid number of slots; expected host:slots with slots from 1, or emulated:4@1gbit"),
        ((*PLAN, "-H", "emulated:2@" + "9" * 400 + "gbit"), "is no rate; expected a number with bit, kbit, mbit, gbit, tbit, as in 1gbit"),
        ((*PLAN, "-H", "h1:2", "-np", "3"), "-np 3 is more than the 2 slots of the given hosts"),
        ((*PLAN, "-H", "h1", "--hostfile", "empty"), "give -H or --hostfile, not both"),
        ((*PLAN, "--hostfile", "folder"), "folder: not a readable host file"),
        ((*PLAN, "--gloo", "--mpi"), "give --gloo or --mpi, not both"),
        ((*PLAN, "--network-interfaces", ""), "--network-interfaces: '' is no list of interface names such as eth0,eth1"),
        ((*PLAN, "-i", "nope"), "-i: there is no file 'nope'"),
        (("run",), "give a study to run, or --resume with a run folder to continue"),
        (("run", "s.yaml", "--runs", "bytes"), "the cache bytes/.cache/data cannot be written: "),
        (("run", "--resume", "folder"), "folder: no plan.json; this is not a run folder"),
        (("run", "--resume", "sealed"), "sealed/plan.json: it is no record of paceline"),
        (("run", "--resume", "odd"), "odd: no plan.json; this is not a run folder"),
        (("run", "--resume", "read", "-np", "2", "--quick"), "--resume continues what was planned; leave out --num-proc, --quick"),
        (("report",), "give a run folder, or --history with a folder of runs"),
        (("report", "bytes"), "bytes: no such run folder"),
        (("report", "--history", "folder"), "below folder there is no run that can be read"),
        (("fsck", "folder"), "folder: no plan.json; this is not a run folder"),
        (("export", "sealed", "--to", "parquet"), "--to parquet takes a run of `paceline run`; sealed holds collectives"),
        (("verify", "folder"), "folder: a folder; expected a study, which is a YAML file"),
        (("check", "short"), "short/windows.parquet is missing: result.json and windows.parquet belong together"),
        (("check", "read", "--minimum-effect", "nan"), "--rule-out must be more than --minimum-effect, or a pass would allow what fails"),
        (("compare", "read", "short"), "short/windows.parquet is missing"),
        (("compare", "read", "read"), "read is given twice: a run does not differ from itself"),
        (("import", "bytes"), "bytes is not text; known are the text that Horovod's synthetic benchmarks print, "),
        (("import", "/dev/zero"), "/dev/zero is larger than 100000000 bytes; known are "),
        (("hosts", "up", "--rate", "fast"), "emulated hosts: 'fast' is no rate; expected a number with bit, "),
        (("hosts", "down", "../../etc"), "no set of emulated hosts is called '../../etc'; there are none"),
        (("collectives", "--to", "9" * 400), "9' is no size; expected as in 4096, 4KiB, 64MiB or 1.5GB"),
        (("collectives", "--factor", "1.000001"), "--factor 1.000001: from 4KiB to 64MiB these are more than 1000 sizes"),
        (("collectives", "--resume", "folder"), "no sweep can be resumed there"),
        (("site", "folder"), "below folder there is no run"),
        (("trace", "folder"), "folder: no plan.json; this is not a run folder"),
        (("init", "folder"), "folder: exists already; give another name"),
        (("frobnicate",), USAGE),
        ((*PLAN, "-np", "9" * 20), USAGE),
        ((*PLAN, "--launcher", "ssh"), USAGE),
        (("report", "read", "--format", "pdf"), USAGE),
    ],
    ids=lambda given: " ".join(given)[:60] if isinstance(given, tuple) else "",
)  # fmt: skip
def test_a_wrong_command_is_answered_with_a_sentence_and_status_2(
    folder: Path, typed: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["paceline", *typed])
    with pytest.raises(SystemExit) as ended:
        main()
    output, said = capsys.readouterr()
    assert (ended.value.code, output) == (2, "")
    assert sentence in said
    assert sentence == USAGE or (said.startswith("paceline: ") and said.count("\n") == 1 and said.endswith("\n"))
    assert len(said) < 1_000
