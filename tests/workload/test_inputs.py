"""What is trained on and what is held out. Whatever the study evaluates, the training data is the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.errors import UserError
from bench.records import Workload
from bench.workload.batches import ValidationBatches
from bench.workload.corpus import Corpus, prepare_validation, read_meta
from bench.workload.generated import generate_sentences
from bench.workload.inputs import Input, training_input, validation_input

Prepared = Callable[[Workload], Corpus]


def silent(_: str) -> None:
    pass


def folder_of(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text("text")
    return folder


def names(given: Input) -> tuple[list[str], str]:
    return [file.name for file in given.files], given.portion


@pytest.mark.parametrize(
    ("files", "data", "training", "validation"),
    [
        (("train.txt", "valid.txt"), "train.txt", (["train.txt"], "whole"), (["valid.txt"], "whole")),
        (("train.txt", "valid.txt"), "", (["train.txt"], "whole"), (["valid.txt"], "whole")),
        (("a.txt", "b.txt", "dev.txt", "valid.txt"), "*.txt", (["a.txt", "b.txt", "valid.txt"], "whole"), (["dev.txt"], "whole")),
        (("a.txt", "b.txt"), "", (["a.txt", "b.txt"], "kept"), (["a.txt", "b.txt"], "held_out")),
        (("valid.txt",), "valid.txt", (["valid.txt"], "kept"), (["valid.txt"], "held_out")),
        (("train.txt", "valid.parquet"), "train.txt", (["train.txt"], "kept"), (["train.txt"], "held_out")),
    ],
)  # fmt: skip
def test_a_dev_or_valid_file_beside_the_data_is_for_validation_else_a_part_is_held_out(
    tmp_path: Path, files: tuple[str, ...], data: str, training: object, validation: object
) -> None:
    workload = Workload(data=str(folder_of(tmp_path, *files) / data))
    assert names(training_input(workload)) == training
    assert names(validation_input(workload)) == validation


def test_a_path_is_validated_on_and_never_trained_on(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "a.txt", "b.txt", "dev.txt")
    workload = Workload(data=str(folder), validation=str(folder / "b.txt"))
    assert names(training_input(workload)) == (["a.txt", "dev.txt"], "whole")
    assert names(validation_input(workload)) == (["b.txt"], "whole")


def test_validation_on_the_training_data_is_refused(tmp_path: Path) -> None:
    data = str(folder_of(tmp_path, "a.txt") / "a.txt")
    with pytest.raises(UserError, match=r"workload.validation names what workload.data does \(.*a\.txt\)"):
        training_input(Workload(data=data, validation=data))


def test_a_missing_validation_file_is_named_with_its_key(tmp_path: Path) -> None:
    data = str(folder_of(tmp_path, "a.txt") / "a.txt")
    with pytest.raises(
        UserError, match=r"workload.validation is '.*b\.txt': there is no such file; allowed are 'held_"
    ):
        validation_input(Workload(data=data, validation=str(tmp_path / "b.txt")))


def test_the_train_file_of_three_is_trained_on(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "train.tsv", "dev.tsv", "test.tsv")
    workload = Workload(task="classification", data=str(folder))
    assert names(training_input(workload)) == (["train.tsv"], "whole")
    assert names(validation_input(workload)) == (["dev.tsv"], "whole")


def test_every_twentieth_item_is_held_out_and_no_other() -> None:
    items = list(range(1, 66))
    kept, held_out = (Input((), portion).select(items) for portion in ("kept", "held_out"))
    assert held_out == [20, 40, 60]
    assert sorted(kept + held_out) == items


def test_held_out_sentences_are_not_trained_on(tmp_path: Path, cache: Path, prepared: Prepared) -> None:
    lines = [f"word{number} {'B-PER' if number % 2 else 'O'}" for number in range(1, 61)]
    (tmp_path / "a.conll").write_text("\n\n".join(lines))
    workload = Workload(task="ner", data=str(tmp_path / "a.conll"), sequence_length=16)
    training, validation = prepared(workload), prepare_validation(workload, cache, silent)
    assert [read_meta(corpus.folder).samples_or_documents for corpus in (training, validation)] == [57, 3]
    assert training.labels == validation.labels == ("O", "B-PER", "I-PER")


def test_a_label_that_is_held_out_everywhere_still_counts(tmp_path: Path, cache: Path, prepared: Prepared) -> None:
    (tmp_path / "a.conll").write_text("\n\n".join(["a O"] * 19 + ["b B-LOC"]))
    workload = Workload(task="ner", data=str(tmp_path / "a.conll"))
    assert prepared(workload).labels == ("O", "B-LOC", "I-LOC")
    assert read_meta(prepare_validation(workload, cache, silent).folder).samples_or_documents == 1


def test_the_builtin_text_trains_on_nineteen_of_twenty_documents(cache: Path, prepared: Prepared) -> None:
    """Joined documents are counted as one, so the tokens are compared: 5 % of about 80 topics."""
    workload = Workload(sequence_length=16)
    training = read_meta(prepared(workload).folder)
    validation = read_meta(prepare_validation(workload, cache, silent).folder)
    assert 0.005 < validation.tokens / training.tokens < 0.2
    assert validation.vocabulary_size == training.vocabulary_size


def test_the_builtin_sentences_are_validated_on_their_own_split(cache: Path, prepared: Prepared) -> None:
    workload = Workload(task="ner", sequence_length=64)
    assert read_meta(prepared(workload).folder).samples_or_documents == 2000
    validation = prepare_validation(workload, cache, silent)
    assert read_meta(validation.folder).samples_or_documents == len(generate_sentences("dev"))


def test_data_that_is_too_small_to_hold_anything_out_says_what_to_do(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "a.txt").write_text("one two three four five six seven\n\neight")
    with pytest.raises(UserError) as error:
        prepare_validation(Workload(data=str(tmp_path / "a.txt"), sequence_length=8), cache, silent)
    assert str(error.value) == (
        f"workload.data is '{tmp_path}/a.txt', whose 2 documents are too few to hold out every 20th for validation; "
        "name other data in workload.validation"
    )


@pytest.mark.parametrize(
    ("task", "name", "training", "validation", "sentence"),
    [
        ("ner", "conll", "Oslo B-LOC\nis O\n", "is O\nAnna B-PER\n", "dev.conll:2: the label 'B-PER' is none of the labels of the training data, which are O, B-LOC, I-LOC"),
        ("classification", "tsv", "label\ttext\na\tx\nb\ty\n", "label\ttext\na\tx\nc\ty\n", "dev.tsv:3: the label 'c' is none of the labels of the training data, which are a, b"),
    ],
)  # fmt: skip
def test_a_label_that_the_training_data_lacks_is_named_with_file_and_line(
    tmp_path: Path, cache: Path, task: str, name: str, training: str, validation: str, sentence: str
) -> None:
    (tmp_path / f"train.{name}").write_text(training)
    (tmp_path / f"dev.{name}").write_text(validation)
    workload = Workload(task=task, data=str(tmp_path / f"train.{name}"))  # type: ignore[arg-type]
    with pytest.raises(UserError) as error:
        prepare_validation(workload, cache, silent)
    assert str(error.value) == f"{tmp_path}/{sentence}"


@pytest.mark.parametrize("task", ["pretraining", "ner", "classification"])
def test_validation_samples_are_the_same_for_every_seed_and_batch_and_no_two_are_equal(cache: Path, task: str) -> None:
    def rows(**changes: int) -> np.ndarray:
        workload = Workload(task=task, sequence_length=32, **changes)  # type: ignore[arg-type]
        batches = ValidationBatches(prepare_validation(workload, cache, silent).folder, workload, 21)
        assert batches.samples == 21
        found = list(batches)
        assert [batch.arrays["input_ids"].shape[:2] for batch in found] == [(1, 1)] * len(found)
        assert sum(batch.samples for batch in found) == 21
        return np.concatenate([batch.arrays["input_ids"][0, 0] for batch in found])

    first = rows(batch_per_replica=8)
    assert np.array_equal(first, rows(batch_per_replica=4, seed=7))
    assert np.array_equal(first, rows(batch_per_replica=8, accumulation=4))
    assert len(np.unique(first, axis=0)) == 21


def test_no_more_samples_are_validated_on_than_there_are(cache: Path) -> None:
    workload = Workload(task="ner", sequence_length=32, batch_per_replica=64)
    batches = ValidationBatches(prepare_validation(workload, cache, silent).folder, workload, 100_000)
    assert batches.samples == sum(batch.samples for batch in batches) == len(generate_sentences("dev"))
    assert [batch.global_weights for batch in batches] == [
        {"ner": float(batch.arrays["label_weights"].sum())} for batch in batches
    ]
