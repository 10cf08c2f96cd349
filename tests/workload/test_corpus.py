from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import pytest
from tokenizers import Tokenizer

from bench.errors import UserError
from bench.records import Workload
from bench.workload.arrays import classification_arrays, ner_arrays
from bench.workload.conll import Sentence, labels_of
from bench.workload.corpus import Corpus, prepare, prepare_validation, read_meta
from bench.workload.examples import Example
from bench.workload.generated import ENTITIES, generate_sentences
from bench.workload.topics import generate_examples
from bench.workload.vocabulary import SPECIAL, Vocabulary, read_vocabulary

Prepared = Callable[[Workload], Corpus]

SENTENCES = [
    Sentence(("Anna", "Fischer", "lives", "here"), ("B-PER", "I-PER", "O", "O")),
    Sentence(("Oslo",), ("B-LOC",)),
]


@pytest.fixture
def letters(tmp_path: Path) -> Vocabulary:
    """Every letter is a piece, so that a word has as many pieces as letters."""
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*SPECIAL, *ascii_lowercase, *(f"##{letter}" for letter in ascii_lowercase)]))
    return read_vocabulary(path, 100)


def test_the_second_call_reads_nothing_and_says_nothing(cache: Path, prepared: Prepared) -> None:
    said: list[str] = []
    first = prepared(Workload(sequence_length=64))
    assert prepare(Workload(sequence_length=64), cache, said.append) == first
    assert said == []


def test_the_first_call_says_what_it_waits_for(tmp_path: Path) -> None:
    said: list[str] = []
    prepare(Workload(task="ner"), tmp_path, said.append)
    assert said == ["preparing the ner data from builtin (once)"]


def test_what_changes_the_arrays_changes_the_folder_and_nothing_else_does(prepared: Prepared) -> None:
    folder = prepared(Workload()).folder
    assert prepared(Workload(seed=5, batch_per_replica=3, model="mini", dropout=0.5)).folder == folder
    assert prepared(Workload(sequence_length=64)).folder != folder
    assert prepared(Workload(task="ner")).folder != folder


def test_edited_text_is_prepared_again_and_moved_text_is_not(tmp_path: Path, prepared: Prepared) -> None:
    text = " ".join(f"word{number}" for number in range(300))
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "b.txt").write_text(text)
    first, moved = (prepared(Workload(data=str(tmp_path / name))) for name in ("a.txt", "b.txt"))
    assert first == moved
    (tmp_path / "a.txt").write_text(text.replace("word7 ", "seven "))
    assert prepared(Workload(data=str(tmp_path / "a.txt"))).digest != first.digest


def test_the_tokens_spell_the_text_again(tmp_path: Path, prepared: Prepared) -> None:
    (tmp_path / "a.txt").write_text("first one\nfirst two three\n\nsecond one two two one\n\nthird one two three first")
    corpus = prepared(Workload(data=str(tmp_path / "a.txt"), sequence_length=8))
    tokenizer = Tokenizer.from_file(str(corpus.folder / "tokenizer.json"))
    tokens, offsets = np.load(corpus.folder / "tokens.npy"), np.load(corpus.folder / "offsets.npy")
    documents = [tokens[start:end].tolist() for start, end in pairwise(offsets)]
    assert ["".join(map(tokenizer.id_to_token, document)).replace("##", "") for document in documents] == [
        "firstonefirsttwothree",
        "secondonetwotwoone",
        "thirdonetwothreefirst",
    ]


def test_documents_too_short_for_a_pair_are_joined_within_their_file(tmp_path: Path, prepared: Prepared) -> None:
    """A pair of length 8 has room for 5 tokens; every word here is one token."""
    words = "aa bb cc"
    (tmp_path / "a.txt").write_text("\n\n".join([words] * 5))
    (tmp_path / "b.txt").write_text(words)
    corpus = prepared(Workload(data=str(tmp_path), sequence_length=8))
    assert np.diff(np.load(corpus.folder / "offsets.npy")).tolist() == [6, 9, 3]


def test_the_builtin_ner_corpus_is_that_of_the_first_version(prepared: Prepared) -> None:
    """If it must change, raise `generated.VERSION`: the cache is named by it."""
    content = repr(generate_sentences("train")).encode()
    assert hashlib.sha256(content).hexdigest() == "3f4c01bbf56e5f40c144eb637b104232e503f42b04816701d9674747eaaecb64"
    corpus = prepared(Workload(task="ner"))
    assert corpus.labels == ("O", "B-LOC", "I-LOC", "B-MISC", "I-MISC", "B-ORG", "I-ORG", "B-PER", "I-PER")
    assert read_meta(corpus.folder).samples_or_documents == 2000


def test_generated_splits_share_no_sentence_and_tag_what_the_lists_say() -> None:
    train, dev = generate_sentences("train"), generate_sentences("dev")
    assert (len(train), len(dev)) == (2000, 399)
    assert not set(train) & set(dev)
    names = {name: {w for part in parts for e in part for w in e.split("|")} for name, parts in ENTITIES.items()}
    for words, tags in train:
        for word, tag, before in zip(words, tags, ("O", *tags), strict=False):
            assert tag == "O" or word in names[tag[2:]]
            assert not tag.startswith("I-") or before[2:] == tag[2:]


def test_only_the_first_piece_of_a_word_is_labelled(letters: Vocabulary) -> None:
    arrays = ner_arrays(SENTENCES, labels_of(SENTENCES), letters, 32)
    assert arrays["offsets"].tolist() == [0, 20, 24]
    assert arrays["words"].tolist() == [4, 1]
    none = [-1] * 3
    expected = [3, *none, 4, *none, *none, 0, *none, -1, 0, *none, 1, *none]
    assert arrays["labels"].tolist() == expected


def test_a_long_sentence_is_cut_between_words_and_before_an_entity(letters: Vocabulary) -> None:
    """Room for 12 pieces; lengths 4, 3, 5, 4 and an entity in the middle: it moves to the second sample whole."""
    sentence = Sentence(("here", "ann", "lives", "oslo"), ("O", "B-PER", "I-PER", "I-PER"))
    assert [len(word) for word in letters.encode_each(sentence.words)] == [4, 3, 5, 4]
    arrays = ner_arrays([sentence], ("O", "B-PER", "I-PER"), letters, 14)
    assert arrays["offsets"].tolist() == [0, 4, 16]
    assert arrays["words"].tolist() == [1, 3]


def test_an_entity_that_does_not_fit_with_its_next_word_is_cut_again(letters: Vocabulary) -> None:
    """Room for 8; the entity of 3 + 3 + 5 pieces moves to the second sample, where its last word does not fit."""
    sentence = Sentence(("aa", "bbb", "ccc", "ddddd"), ("O", "B-PER", "I-PER", "I-PER"))
    arrays = ner_arrays([sentence], ("O", "B-PER", "I-PER"), letters, 10)
    assert arrays["offsets"].tolist() == [0, 2, 8, 13]


def test_an_entity_longer_than_a_sample_is_cut_and_a_longer_word_shortened(letters: Vocabulary) -> None:
    sentence = Sentence(("fischerfischer", "anna", "anna"), ("B-PER", "I-PER", "I-PER"))
    arrays = ner_arrays([sentence], ("O", "B-PER", "I-PER"), letters, 10)
    assert arrays["offsets"].tolist() == [0, 8, 16]
    assert arrays["labels"][arrays["labels"] >= 0].tolist() == [1, 2, 2]


def test_a_corpus_shorter_than_one_sequence_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("only a few words")
    with pytest.raises(UserError) as error:
        prepare(Workload(data=str(tmp_path / "a.txt")), tmp_path, lambda _: None)
    assert str(error.value) == (
        f"{tmp_path}/a.txt: the corpus has 4 usable tokens, one sequence of workload.sequence_length 128 needs 125"
    )
    assert list((tmp_path / "data").iterdir()) == []


def test_several_conll_files_are_refused_unless_one_is_called_train(tmp_path: Path, prepared: Prepared) -> None:
    for name in ("one.conll", "two.conll"):
        (tmp_path / name).write_text("Oslo B-LOC\n")
    workload = Workload(task="ner", data=str(tmp_path))
    with pytest.raises(UserError, match=r"NER takes one CoNLL file, given are one\.conll, two\.conll"):
        prepared(workload)
    (tmp_path / "train.conll").write_text("Anna B-PER\n")
    assert prepared(workload).labels == ("O", "B-PER", "I-PER")


def test_a_given_vocabulary_is_used_and_its_edits_are_noticed(tmp_path: Path, prepared: Prepared) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", "the", "statement"]))
    first = prepared(Workload(vocabulary=str(path)))
    assert read_meta(first.folder).special["[PAD]"] == 1
    assert set(np.unique(np.load(first.folder / "tokens.npy"))) == {0, 5, 6}
    path.write_text(path.read_text() + "\nassert")
    assert prepared(Workload(vocabulary=str(path))).folder != first.folder
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    assert prepared(Workload(vocabulary=str(path))).folder != first.folder


def test_a_text_that_does_not_fit_is_cut_at_its_end(letters: Vocabulary) -> None:
    examples = [Example("good", "ab cdefgh"), Example("bad", "xyz")]
    arrays = classification_arrays(examples, ("bad", "good"), letters, 8)
    assert arrays["offsets"].tolist() == [0, 6, 9]
    assert [letters.tokenizer.id_to_token(piece) for piece in arrays["tokens"][:6]] == [
        "a",
        "##b",
        "c",
        "##d",
        "##e",
        "##f",
    ]
    assert arrays["labels"].tolist() == [1, 0]


def test_the_builtin_classification_corpus_is_that_of_the_first_version(prepared: Prepared) -> None:
    """If it must change, raise `topics.VERSION`: the cache is named by it."""
    content = repr(generate_examples("train")).encode()
    assert hashlib.sha256(content).hexdigest() == "c4afd3c886aa02991ec8089828b61e6392297ed9a5fb01453ff458030f6dcdcc"
    corpus = prepared(Workload(task="classification"))
    assert corpus.labels == ("business", "science", "sports", "travel")
    assert read_meta(corpus.folder).samples_or_documents == 2000


def test_wikitext_2_is_prepared_by_article(shared_data: Path, prepared: Prepared) -> None:
    data = shared_data / "wikitext2" / "train.txt"
    titles = [line for line in data.read_text().split("\n") if line.startswith(" = ") and not line.startswith(" = =")]
    corpus = prepared(Workload(data=str(data)))
    assert read_meta(corpus.folder).samples_or_documents == len(titles) == 60
    assert read_meta(corpus.folder).tokens > 200_000


def test_wnut_17_is_prepared_word_by_word(shared_data: Path, prepared: Prepared) -> None:
    corpus = prepared(Workload(task="ner", data=str(shared_data / "wnut17" / "train.conll")))
    labels = np.load(corpus.folder / "labels.npy")
    assert read_meta(corpus.folder).samples_or_documents == 3394
    assert int(np.load(corpus.folder / "words.npy").sum()) == int((labels >= 0).sum()) == 62_730
    begins = [index for index, label in enumerate(corpus.labels) if label.startswith("B-")]
    assert (len(begins), int(np.isin(labels, begins).sum())) == (6, 1975)


@pytest.mark.parametrize(("name", "words"), [("dev", 15_733), ("test", 23_394)])
def test_the_other_parts_of_wnut_17_are_read_whole(shared_data: Path, cache: Path, name: str, words: int) -> None:
    validation = str(shared_data / "wnut17" / f"{name}.conll")
    workload = Workload(task="ner", data=str(shared_data / "wnut17" / "train.conll"), validation=validation)
    corpus = prepare_validation(workload, cache, lambda _: None)
    assert int(np.load(corpus.folder / "words.npy").sum()) == words
