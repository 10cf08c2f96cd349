from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.workload.examples import Example, labels_of, read_examples
from bench.workload.labels import LabelSet
from bench.workload.topics import TOPICS, generate_examples

TSV = "label\ttext\nnegative\tIt broke .\n\npositive\t Works well . \n"
EXAMPLES = [Example("negative", "It broke ."), Example("positive", "Works well .")]


def write_parquet(path: Path, **columns: list[object]) -> Path:
    from pyarrow import parquet, table

    parquet.write_table(table(columns), path)
    return path


def test_a_tsv_file_and_a_parquet_file_hold_the_same_examples(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(TSV)
    assert read_examples(tmp_path / "a.tsv") == EXAMPLES
    labels, texts = zip(*EXAMPLES, strict=True)
    path = write_parquet(tmp_path / "a.parquet", text=list(texts), label=list(labels), other=[1, 2])
    assert read_examples(path) == EXAMPLES


def test_windows_line_ends_and_a_byte_order_mark_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"\xef\xbb\xbf" + TSV.replace("\n", "\r\n").encode())
    assert read_examples(tmp_path / "a.tsv") == EXAMPLES


def test_integer_labels_of_a_parquet_file_are_words(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", text=["one", "two"], label=[1, 0])
    assert labels_of(read_examples(path), "a.parquet") == ("0", "1")


def test_labels_are_sorted() -> None:
    assert labels_of([Example("b", "x"), Example("a", "y"), Example("b", "z")], "data") == ("a", "b")


def test_one_label_is_nothing_to_classify() -> None:
    with pytest.raises(UserError, match="my data has only the label 'a'; a classification needs two"):
        labels_of([Example("a", "x")], "my data")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("text\tlabel\nx\ty\n", r"a.tsv:1: the first line is 'text\tlabel'; expected the header label<TAB>text"),
        ("label\ttext\na\tone\na\n", "a.tsv:3: 1 column(s); expected two, label<TAB>text"),
        ("label\ttext\na\tone\ttwo\n", "a.tsv:2: 3 column(s); expected two, label<TAB>text"),
        ("label\ttext\n\tone\n", "a.tsv:2: the label is empty; expected a label and a text"),
        ("label\ttext\na\t \n", "a.tsv:2: the text is empty; expected a label and a text"),
        ("label\ttext\n\n", "a.tsv has no example: expected rows with a label and a text"),
        (
            "label\ttext\na\tone\nc\ttwo\n",
            "a.tsv:3: the label 'c' is none of the labels of the training data, which are a, b",
        ),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "a.tsv").write_text(content)
    with pytest.raises(UserError) as error:
        read_examples(tmp_path / "a.tsv", LabelSet("the labels of the training data", ("a", "b")))
    assert str(error.value) == f"{tmp_path}/{sentence}"


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"text": ["x"]}, "has no column 'label'; its columns are ['text']"),
        ({"text": ["x"], "label": [0.5]}, "column 'label' has type double, allowed is string or integer"),
        ({"text": ["x", None], "label": ["a", "b"]}, "a.parquet, row 2: the text is empty"),
        ({"text": ["x", "y"], "label": ["a", None]}, "a.parquet, row 2: the label is empty"),
    ],
)
def test_a_malformed_parquet_file_is_refused_with_column_or_row(
    tmp_path: Path, columns: dict[str, list[object]], sentence: str
) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        read_examples(write_parquet(tmp_path / "a.parquet", **columns))


def test_generated_splits_share_no_text_and_have_all_labels() -> None:
    train, dev = generate_examples("train"), generate_examples("dev")
    assert (len(train), len(dev)) == (2000, 400)
    assert not {example.text for example in train} & {example.text for example in dev}
    for split in (train, dev):
        assert {example.label for example in split} == {"business", "science", "sports", "travel"}


def test_a_generated_label_is_the_topic_of_most_nouns() -> None:
    for example in generate_examples("train"):
        counts = {topic: sum(word in nouns for word in example.text.split()) for topic, nouns in TOPICS.items()}
        assert sorted(counts.values()) == [0, 0, 1, 3]
        assert counts[example.label] == 3
