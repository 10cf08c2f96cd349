"""A sealed record is read back whole, or refused: at every byte that is cut and every bit that is flipped."""

from __future__ import annotations

import json

import msgspec
import pytest

from bench import journal
from bench.records import SCHEMA, RankInfo, SetupTimes
from bench.storage import Damaged, seal, unseal, with_checksum

RECORD = RankInfo(rank=1, host="h", pid=7, launcher="local")


def test_what_was_sealed_is_read_back_and_is_ordinary_json():
    assert unseal(seal(RECORD), RankInfo) == RECORD
    assert list(json.loads(seal(RECORD)))[-1] == "sha256"


def test_a_file_cut_at_any_byte_is_refused():
    whole = seal(RECORD)
    for kept in range(len(whole)):
        with pytest.raises(Damaged):
            unseal(whole[:kept], RankInfo)


def test_a_flipped_bit_anywhere_is_refused():
    whole = seal(RECORD)
    for place in range(len(whole)):
        for bit in range(8):
            changed = whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]
            with pytest.raises(Damaged):
                unseal(changed, RankInfo)


def test_a_rank_file_cut_at_any_byte_is_its_whole_lines_and_a_changed_one_is_known_by_its_digest(tmp_path):
    lines = [RECORD, SetupTimes(start_ns=1, build_ns=2, first_step_ns=3)] * 2
    whole = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    path = tmp_path / "rank-0.jsonl"
    path.write_bytes(whole)
    digest = journal.digest(tmp_path, 0)
    for kept in range(len(whole)):
        path.write_bytes(whole[:kept])
        assert journal.read(tmp_path, 0) == lines[: whole[:kept].count(b"\n")]
        path.write_bytes(whole[:kept] + bytes([whole[kept] ^ 1]) + whole[kept + 1 :])
        assert journal.digest(tmp_path, 0) != digest


def test_another_schema_is_told_by_its_number():
    content = with_checksum(seal(RECORD)[:-77].replace(f'"schema":{SCHEMA}'.encode(), b'"schema":99') + b"}")
    with pytest.raises(Damaged, match="it has schema 99, this paceline reads 3"):
        unseal(content, RankInfo)


def test_a_record_of_another_kind_is_refused():
    with pytest.raises(Damaged, match="it is no SetupTimes"):
        unseal(seal(RECORD), SetupTimes)
