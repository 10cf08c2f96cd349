"""Whatever a file holds, its parser answers with a record or one sentence: no traceback, no hang, no memory."""

from pathlib import Path

import fuzzing
import pytest
from parsers import PARSERS, Parser

from bench.errors import UserError


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_500_broken_files_are_answered_with_a_sentence(parser: Parser, tmp_path: Path) -> None:
    outcome = fuzzing.fuzz(parser, 500, tmp_path)
    assert outcome.problem is None
    assert outcome.inputs >= 500


def test_a_parser_that_lets_a_traceback_through_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(path: Path) -> object:
        try:
            return int(path.read_bytes())
        except UnicodeDecodeError:
            raise UserError("no number") from None

    monkeypatch.setattr(fuzzing, "FOUND", tmp_path / "found")
    outcome = fuzzing.fuzz(Parser("careless", "n", careless, [b"12", b"7"], [b"-"]), 200, tmp_path)
    assert outcome.problem is not None and "ValueError" in outcome.problem
    assert len(list((tmp_path / "found" / "careless").iterdir())) == 1
