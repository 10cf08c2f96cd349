from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UserError
from bench.workload.conll import Sentence, labels_of, read_conll

CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP I-NP B-ORG
rejects VBZ I-VP O

Peter NNP I-NP B-PER
Blackburn NNP I-NP I-PER
"""


def read(folder: Path, content: str | bytes) -> list[Sentence]:
    path = folder / "train.conll"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_conll(path)


def test_first_and_last_column_are_word_and_tag(tmp_path: Path) -> None:
    assert read(tmp_path, CONLL_2003) == [
        Sentence(("EU", "rejects"), ("B-ORG", "O")),
        Sentence(("Peter", "Blackburn"), ("B-PER", "I-PER")),
    ]


def test_tabs_separate_where_there_are_any(tmp_path: Path) -> None:
    assert read(tmp_path, "New York\tB-LOC\nis\tO\n") == [Sentence(("New York", "is"), ("B-LOC", "O"))]


def test_byte_order_mark_windows_line_ends_and_lines_of_blanks_are_no_words(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbfone O\r\n \t\r\n\r\ntwo O"
    assert [sentence.words for sentence in read(tmp_path, content)] == [("one",), ("two",)]


def test_comments_are_skipped_and_hash_signs_in_the_text_are_not(tmp_path: Path) -> None:
    content = "# id 7 domain=train\n#\n#nowplaying\tO\n#\tO\n# O\n"
    assert read(tmp_path, content) == [Sentence(("#nowplaying", "#", "#"), ("O", "O", "O"))]


def test_other_unicode_line_and_word_separators_stay_in_the_word(tmp_path: Path) -> None:
    assert read(tmp_path, "a\u2028b\tO\nc\u00a0d O\n")[0].words == ("a\u2028b", "c\u00a0d")


def test_labels_are_sorted_and_have_both_positions() -> None:
    assert labels_of([Sentence(("a", "b"), ("B-PER", "B-LOC"))]) == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("one O\ntwo\n", r"train\.conll:2: 'two' has no tag; expected a word, a tab or space, and a BIO tag"),
        ("one O\n#two\n", r"train\.conll:2: '#two' has no tag"),
        ("one O\ntwo\t\n", r"train\.conll:2: 'two' has no tag"),
        ("one O\n\ntwo S-PER\n", r"train\.conll:3: 'S-PER' is no BIO tag; allowed are O, B-<type> and I-<type>"),
        ("one B-\n", r"train\.conll:1: 'B-' is no BIO tag"),
        ("\tO\n", r"train\.conll:1: the first column is empty; expected a word"),
        ("-DOCSTART- O\n\n# none\n", r"train\.conll has no usable sentence: expected lines with a word and a BIO tag"),
        ("", r"train\.conll is empty"),
        (b"one O\n\xff O\n", r"train\.conll:2: byte 0xff is no UTF-8"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(tmp_path: Path, content: str | bytes, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read(tmp_path, content)
