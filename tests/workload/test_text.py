from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UserError
from bench.workload.text import builtin_sources, input_files, read_source, split_documents

WIKI = " \n = First = \n \n One .\n \n = = Part = = \n Two .\n = Second = \n Three .\n"


def write_parquet(path: Path, **columns: list[object]) -> Path:
    from pyarrow import parquet, table

    parquet.write_table(table(columns), path)
    return path


def test_titles_of_wikitext_split_documents_and_sections_do_not() -> None:
    assert split_documents(WIKI) == (
        " = First = \n \n One .\n \n = = Part = = \n Two .\n",
        " = Second = \n Three .\n",
    )


def test_text_before_the_first_title_is_a_document() -> None:
    assert split_documents("Before\n= Title =\nAfter") == ("Before\n", "= Title =\nAfter")


def test_blank_lines_split_other_text() -> None:
    assert split_documents("a = b\nline\n\n \nnext\n\n") == ("a = b\nline", "next")


def test_the_builtin_text_is_there_in_a_fixed_order() -> None:
    (source,) = builtin_sources()
    assert sum(map(len, source.documents)) > 300_000
    assert source.documents[0].startswith('The "assert" statement')


def test_byte_order_mark_and_windows_line_ends_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\ntwo\rthree\r\n")
    assert read_source(tmp_path / "a.txt").documents == ("one", "two\nthree\n")


def test_a_file_a_folder_and_a_glob_name_sorted_files(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.md"):
        (tmp_path / name).write_text("text")
    (tmp_path / "d.txt").mkdir()

    def names(data: str) -> list[str]:
        return [path.name for path in input_files(data, (".txt",))]

    assert names(str(tmp_path)) == ["a.txt", "b.txt"]
    assert names(f"{tmp_path}/*") == ["a.txt", "b.txt", "c.md"]
    assert names(f"{tmp_path}/**/a.t?t") == ["a.txt"]
    assert names(str(tmp_path / "c.md")) == ["c.md"]


def test_a_relative_glob_starts_at_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("text")
    monkeypatch.chdir(tmp_path)
    assert [path.name for path in input_files("*.txt", ())] == ["a.txt"]


def test_parquet_rows_are_documents(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", text=["one\n\nstill one", None, " ", "two"], other=[1, 2, 3, 4])
    assert read_source(path).documents == ("one\n\nstill one", "two")


def test_parquet_rows_that_are_lines_of_wikitext_become_articles(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", text=["", " = First = \n", " One .\n", " = Second = \n", " Two .\n"])
    assert [document.split() for document in read_source(path).documents] == [
        ["=", "First", "=", "One", "."],
        ["=", "Second", "=", "Two", "."],
    ]


def test_parquet_without_text_names_its_columns(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", body=["one"], label=[1])
    with pytest.raises(UserError, match=r"a\.parquet has no column 'text'; its columns are \['body', 'label'\]"):
        read_source(path)


def test_parquet_with_another_type_of_text_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", text=[1])
    with pytest.raises(UserError, match=r"column 'text' has type int64, allowed is string"):
        read_source(path)


def test_parquet_without_rows_is_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is empty: column 'text' has no text"):
        read_source(write_parquet(tmp_path / "a.parquet", text=["", " "]))


def test_a_file_that_only_claims_to_be_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("text")
    with pytest.raises(UserError, match=r"a\.parquet cannot be read as Parquet"):
        read_source(tmp_path / "a.parquet")


def test_bytes_that_are_no_utf_8_are_named_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\nca\xe9f\n")
    with pytest.raises(UserError, match=r"a\.txt:3: byte 0xe9 is no UTF-8; save it as UTF-8"):
        read_source(tmp_path / "a.txt")


@pytest.mark.parametrize("content", ["", " \n\n", "\ufeff"])
def test_an_empty_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(UserError, match=r"a\.txt is empty"):
        read_source(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("builtn", "workload.data is 'builtn': there is no such file; allowed are 'builtin', a path or a glob"),
        ("{folder}/*.txt", "the glob matches no file"),
        ("{folder}", "the folder has no .txt file"),
    ],
)
def test_data_that_is_not_there_is_refused(tmp_path: Path, data: str, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        input_files(data.format(folder=tmp_path), (".txt",))
    assert str(error.value).endswith(sentence)
