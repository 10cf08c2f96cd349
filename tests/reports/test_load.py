from __future__ import annotations

import hashlib
import json

import pandas
import pytest

from bench.errors import UserError
from bench.storage import with_checksum
from reports import render
from reports.load import load
from reports.windows import NotWhole
from tests.reports.build import Launch, by_hand, launch_at, trial_result, window, write_run


def change(folder, **fields):
    path = folder / "result.json"
    known = json.loads(path.read_text())
    del known["sha256"]
    path.write_bytes(with_checksum(json.dumps({**known, **fields}).encode()))


def refusal(folder) -> str:
    with pytest.raises(UserError) as caught:
        load(folder)
    return str(caught.value)


def test_a_whole_run_loads_with_whole_numbers(tmp_path):
    run = load(by_hand(tmp_path))
    assert run.result.study == "by-hand"
    launch = run.windows.launch(run.result.trials[1].trial_id, 0)
    assert (launch.ranks, launch.index.tolist(), launch.warmup.tolist()) == (2, [0, 1, 2], [True, False, False])
    took = launch.where(~launch.warmup).column("duration_ns")
    assert (took.dtype, took.tolist()) == ("int64", [[1_000_000_000] * 2, [900_000_000] * 2])


def test_a_nanosecond_survives_where_a_float_would_lose_it(tmp_path):
    ranks = [[window(0, 1.0, 5, start_ns=2**60 + 1)]]
    run = load(write_run(tmp_path, [trial_result("torch_bare", 1, [Launch(ranks)])]))
    (trial,) = run.result.trials
    assert run.windows.launch(trial.trial_id, 0).column("start_ns").tolist() == [[2**60 + 1]]


def test_a_launch_that_lies_in_several_row_groups_is_read_as_one(tmp_path):
    whole = load(by_hand(tmp_path / "whole"))
    frame = pandas.read_parquet(by_hand(tmp_path / "pieces") / "windows.parquet")
    replace_windows(tmp_path / "pieces", frame.to_parquet(row_group_size=4))
    pieces = load(tmp_path / "pieces")
    assert len(pieces.windows) == len(frame)
    for trial in whole.result.trials[:3]:
        for repeat in range(3):
            one, other = (run.windows.launch(trial.trial_id, repeat) for run in (whole, pieces))
            for name in ("duration_ns", "samples", "rss_bytes"):
                assert (one.column(name) == other.column(name)).all()


@pytest.mark.parametrize(
    ("order", "clause"),
    [
        ([0, 1, 2, 3, 4, 4], "is not whole: some rank lacks a window, or has one twice"),
        ([0, 1, 1, 3, 4, 4], "is not whole: some rank lacks a window, or has one twice"),
        ([0, 3, 1, 4, 2, 5], "is not whole: some rank lacks a window, or has one twice"),
        ([0, 1, 2, 3, 5], "is not whole: some rank lacks a window, or has one twice"),
        ([], "has no window"),
    ],
)
def test_a_launch_is_refused_where_its_ranks_do_not_have_the_same_windows(tmp_path, order, clause):
    path = write_run(tmp_path, [trial_result("torch_ddp", 2, [launch_at(100)])]) / "windows.parquet"
    frame = pandas.read_parquet(path)
    replace_windows(tmp_path, frame.iloc[order].to_parquet(index=False))
    run = load(tmp_path)
    with pytest.raises(NotWhole, match=clause):
        run.windows.launch(run.result.trials[0].trial_id, 0)


def test_the_windows_read_are_those_whose_checksum_was_right_whatever_replaces_the_file(tmp_path):
    run = load(by_hand(tmp_path))
    staged = tmp_path / "staged"
    staged.write_bytes(b"another run's windows")
    staged.replace(tmp_path / "windows.parquet")
    assert run.windows.launch(run.result.trials[0].trial_id, 2).column("samples").sum() == 300


def test_no_folder_is_said(tmp_path):
    assert refusal(tmp_path / "none").endswith("is not a run folder: there is no such folder")


def test_a_file_in_place_of_the_folder_is_said(tmp_path):
    assert "it is a file, give the folder" in refusal(by_hand(tmp_path) / "result.json")


def test_a_run_without_a_result_says_how_to_go_on(tmp_path):
    message = refusal(tmp_path)
    assert "has no result.json: this run has not finished a trial" in message
    assert f"`paceline run --resume {tmp_path}`" in message


@pytest.mark.parametrize("kept", [0, 1, 500, -1])
def test_a_result_cut_off_is_said_wherever_it_is_cut(tmp_path, kept):
    path = by_hand(tmp_path) / "result.json"
    path.write_bytes(path.read_bytes()[:kept])
    assert "it is cut off" in refusal(tmp_path)


def test_a_result_in_bytes_that_are_no_text_is_said(tmp_path):
    (by_hand(tmp_path) / "result.json").write_bytes(b'{"schema": 3, "study": "\xff\xfe"}')
    assert "result.json" in refusal(tmp_path)


def test_one_flipped_bit_anywhere_in_the_result_is_said(tmp_path):
    path = by_hand(tmp_path) / "result.json"
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert "result.json: it " in refusal(tmp_path)


def test_json_that_is_no_result_is_said(tmp_path):
    (by_hand(tmp_path) / "result.json").write_text('{"hello": 1}')
    assert "it is no record of paceline" in refusal(tmp_path)


def test_another_format_is_refused_by_number(tmp_path):
    change(by_hand(tmp_path), schema=99, trials="of another shape")
    assert "it has schema 99, this paceline reads 3" in refusal(tmp_path)


def test_a_field_of_the_wrong_type_is_named(tmp_path):
    change(by_hand(tmp_path), quick="yes")
    assert "$.quick" in refusal(tmp_path)


def test_missing_windows_are_said(tmp_path):
    (by_hand(tmp_path) / "windows.parquet").unlink()
    assert "windows.parquet is missing" in refusal(tmp_path)


def test_one_altered_byte_of_the_windows_is_found(tmp_path):
    path = by_hand(tmp_path) / "windows.parquet"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    assert "is not the file that result.json describes" in refusal(tmp_path)


def replace_windows(folder, content: bytes):
    (folder / "windows.parquet").write_bytes(content)
    change(folder, windows_sha256=hashlib.sha256(content).hexdigest())


def test_windows_that_are_no_parquet_are_said(tmp_path):
    replace_windows(by_hand(tmp_path), b"no parquet")
    assert "is not a Parquet file" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda frame: frame.drop(columns=["samples"]), "lacks the columns samples"),
        (lambda frame: frame.assign(duration_ns=1.5), "column duration_ns: double values, expected whole numbers"),
        (lambda frame: frame.assign(warmup="no"), "column warmup"),
        (lambda frame: frame.assign(samples=frame["samples"].where(frame["rank"] == 0)), "a value is missing"),
    ],
)
def test_windows_of_another_shape_are_said(tmp_path, spoil, message):
    path = by_hand(tmp_path) / "windows.parquet"
    replace_windows(tmp_path, spoil(pandas.read_parquet(path)).to_parquet())
    assert message in refusal(tmp_path)


def test_a_column_of_unknowns_only_loads(tmp_path):
    path = by_hand(tmp_path) / "windows.parquet"
    replace_windows(tmp_path, pandas.read_parquet(path).assign(rss_bytes=None).to_parquet())
    run = load(tmp_path)
    launch = run.windows.launch(run.result.trials[0].trial_id, 0)
    assert (launch.optional("rss_bytes"), launch.optional("sent_bytes").sum()) == (None, 150_000_000)
    with pytest.raises(UserError, match="column rss_bytes: a value is missing"):
        launch.column("rss_bytes")


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(UserError, match="format 'pdf' is not known; allowed are html, csv, json, md, text, terminal"):
        render(tmp_path, "pdf")
