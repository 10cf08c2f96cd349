from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.workload.staging import publish

ROOT = Path(__file__).parents[2]

KILLED = """
import os, signal, sys
from pathlib import Path
from bench.workload.staging import publish

def fill(staged):
    (staged / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

publish(Path(sys.argv[1]), fill)
"""

PREPARE = """
import sys
from pathlib import Path
from bench.records import Workload
from bench.workload import checkpoint, corpus

sys.stdin.readline()
cache = Path(sys.argv[1])
made = corpus.prepare(Workload(), cache, lambda sentence: None)
print(made.folder, made.digest, checkpoint.prepare(Workload(), (), cache))
"""


def test_a_killed_writer_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "key"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not folder.exists()
    publish(folder, lambda staged: (staged / "whole").write_text("whole") and None)
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_what_a_killed_writer_left_goes_away_after_a_day(tmp_path: Path) -> None:
    left = [tmp_path / ".staged-old-x", tmp_path / ".staged-new-x"]
    for path in left:
        path.mkdir()
    os.utime(left[0], (0, 0))
    publish(tmp_path / "key", lambda staged: None)
    assert [path.exists() for path in left] == [False, True]


def test_two_writers_at_once_agree_on_one_folder(tmp_path: Path) -> None:
    both = threading.Barrier(2)

    def fill(staged: Path) -> None:
        (staged / "content").write_text("equal")
        both.wait(timeout=30)

    folder = tmp_path / "key"
    writers = [threading.Thread(target=publish, args=(folder, fill)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert (folder / "content").read_text() == "equal"


def test_two_processes_that_prepare_at_once_get_the_same_whole_folders(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PREPARE, str(tmp_path)]
    ranks = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    answers = []
    for rank in ranks:
        assert rank.stdin is not None
        rank.stdin.write("go\n")
        rank.stdin.flush()
    for rank in ranks:
        answers.append(rank.communicate()[0].split())
        assert rank.returncode == 0
    assert answers[0] == answers[1]
    data, _, checkpoint = answers[0]
    assert {path.name for path in Path(checkpoint).iterdir()} == {"config.json", "model.safetensors"}
    names = {"meta.json", "offsets.npy", "replacements.npy", "tokenizer.json", "tokens.npy"}
    assert {path.name for path in Path(data).iterdir()} == names
    assert [path.name for path in Path(data).parent.iterdir()] == [Path(data).name]


def test_a_failed_fill_leaves_no_trace(tmp_path: Path) -> None:
    def fill(staged: Path) -> None:
        (staged / "half").write_text("half")
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        publish(tmp_path / "key", fill)
    assert list(tmp_path.iterdir()) == []


def test_others_may_read_what_was_published(tmp_path: Path) -> None:
    def fill(staged: Path) -> None:
        (staged / "file").touch(mode=0o600)

    folder = publish(tmp_path / "key", fill)
    assert (folder.stat().st_mode & 0o777, (folder / "file").stat().st_mode & 0o777) == (0o755, 0o644)


def test_a_cache_that_cannot_be_written_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"the cache .*file cannot be written"):
        publish(tmp_path / "file" / "key", lambda staged: None)
