from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.workload.vocabulary import SPECIAL, Vocabulary, read_vocabulary, train_vocabulary, vocabulary_file

ROOT = Path(__file__).parents[2]
TEXTS = ["The quick brown fox jumps over the lazy dog. The dog was quicker!", "Foxes and dogs, quickly."]
ENTRIES = ["[CLS]", "the", "##s", "dog", "[MASK]", "[PAD]", "[UNK]", "[SEP]", "fox"]

TRAIN = """
import hashlib, sys
from bench.workload.text import builtin_sources
from bench.workload.vocabulary import train_vocabulary

vocabulary = train_vocabulary(builtin_sources()[0].documents, 30522)
print(hashlib.sha256(vocabulary.tokenizer.to_str().encode()).hexdigest())
"""


def pieces(vocabulary: Vocabulary, text: str) -> list[str]:
    return [vocabulary.tokenizer.id_to_token(piece) for piece in vocabulary.encode_lines([text])]


def vocab_txt(folder: Path, entries: list[str]) -> Path:
    path = folder / "vocab.txt"
    path.write_text("\n".join(entries) + "\n")
    return path


def test_a_trained_vocabulary_starts_with_the_special_tokens() -> None:
    vocabulary = train_vocabulary(TEXTS, 30_522)
    assert vocabulary.special == {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
    assert min(vocabulary.replacements()) == 5
    assert vocabulary.size == len(vocabulary.replacements()) + 5


def test_a_trained_vocabulary_spells_its_own_text_in_lower_case() -> None:
    vocabulary = train_vocabulary(TEXTS, 30_522)
    spelt = "".join(pieces(vocabulary, "The DOG jumps!")).replace("##", "")
    assert spelt == "thedogjumps!"
    assert pieces(vocabulary, "the") == ["the"]


def test_training_gives_the_same_ids_in_every_process() -> None:
    """The trainer by itself does not: it numbers pieces in the order of a hash map."""
    made = {subprocess.check_output([sys.executable, "-c", TRAIN], cwd=ROOT) for _ in range(3)}
    assert len(made) == 1


def test_a_trained_vocabulary_keeps_within_the_model() -> None:
    assert train_vocabulary(TEXTS, 60).size <= 60


def test_rare_characters_beyond_the_alphabet_are_unknown() -> None:
    text = "a" * 50 + " " + "".join(chr(0x4E00 + number) for number in range(200))
    vocabulary = train_vocabulary([text], 100)
    assert vocabulary.size <= 100
    assert pieces(vocabulary, chr(0x4E00 + 199)) == ["[UNK]"]


def test_special_tokens_written_in_the_text_are_ordinary_text(tmp_path: Path) -> None:
    trained = train_vocabulary([*TEXTS, "[MASK] mask"], 30_522)
    path = tmp_path / "tokenizer.json"
    trained.tokenizer.add_special_tokens(list(SPECIAL))
    path.write_text(trained.tokenizer.to_str())
    for vocabulary in (trained, read_vocabulary(path, 30_522)):
        assert not set(vocabulary.encode_lines(["[MASK] [SEP]"]).tolist()) & {2, 3, 4}


def test_a_word_without_pieces_is_unknown() -> None:
    assert train_vocabulary(TEXTS, 30_522).encode_each(["the", "\u200d"])[1] == [1]


def test_ids_of_a_given_vocabulary_are_looked_up_by_name(tmp_path: Path) -> None:
    vocabulary = read_vocabulary(vocab_txt(tmp_path, ENTRIES), 9)
    assert vocabulary.special == {"[PAD]": 5, "[UNK]": 6, "[CLS]": 0, "[SEP]": 7, "[MASK]": 4}
    assert vocabulary.encode_lines(["The dogs bark"]).tolist() == [1, 3, 2, 6]
    assert vocabulary.replacements().tolist() == [1, 2, 3, 8]


def test_a_vocabulary_with_upper_case_is_cased(tmp_path: Path) -> None:
    vocabulary = read_vocabulary(vocab_txt(tmp_path, [*ENTRIES, "The"]), 30_522)
    assert vocabulary.encode_lines(["The the DOG"]).tolist() == [9, 1, 6]


def test_the_tokenizer_configuration_decides_the_case(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    assert read_vocabulary(vocab_txt(tmp_path, ENTRIES), 9).encode_lines(["The the"]).tolist() == [6, 1]


def test_a_tokenizer_json_pads_and_cuts_nothing(tmp_path: Path) -> None:
    tokenizer = train_vocabulary(TEXTS, 30_522).tokenizer
    tokenizer.enable_padding(length=64)
    tokenizer.enable_truncation(max_length=2)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str())
    vocabulary = read_vocabulary(vocabulary_file(str(tmp_path)), 30_522)
    assert pieces(vocabulary, "the dog the") == ["the", "dog", "the"]


def test_a_vocabulary_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vocabulary is 'nowhere\.txt': there is no such file; allowed are 'trained'"):
        vocabulary_file("nowhere.txt")
    with pytest.raises(UserError, match=r"the folder .* has neither tokenizer\.json nor vocab\.txt"):
        vocabulary_file(str(tmp_path))


def test_a_vocabulary_larger_than_the_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vocab\.txt has 9 entries; the model's vocabulary has 8"):
        read_vocabulary(vocab_txt(tmp_path, ENTRIES), 8)


def test_missing_special_tokens_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vocab\.txt lacks \[PAD\], \[MASK\]; a BERT vocabulary has"):
        read_vocabulary(vocab_txt(tmp_path, ["[CLS]", "[SEP]", "[UNK]", "word"]), 9)


@pytest.mark.parametrize("content", ["{", "{}", '{"model": 1}'])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"tokenizer\.json is no tokenizer\.json"):
        read_vocabulary(path, 9)


def test_a_tokenizer_configuration_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(UserError, match=r"tokenizer_config\.json is no JSON object"):
        read_vocabulary(vocab_txt(tmp_path, ENTRIES), 9)
