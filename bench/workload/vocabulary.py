"""The WordPiece tokenizer: a given one, or one trained on the corpus."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.quoting import clipped
from bench.workload.staging import file_digest
from bench.workload.text import read_text

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TRAINED_SIZE = 8_192
SAMPLE_CHARACTERS = 4_000_000
MAX_ALPHABET = 1_000


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer that adds no special tokens and reads none in the text: a literal "[MASK]" is six pieces or so.

    `special` are the ids of SPECIAL, `size` is the largest id plus one.
    """

    tokenizer: Any
    special: dict[str, int]
    size: int

    def encode_lines(self, lines: Sequence[str]) -> NDArray[np.int32]:
        """The pieces of all lines, one after the other."""
        encoded = self.tokenizer.encode_batch_fast(list(lines), add_special_tokens=False)
        return np.array([piece for line in encoded for piece in line.ids], np.int32)

    def encode_each(self, texts: Sequence[str]) -> list[list[int]]:
        """The pieces of each word or text; one without any (a lone control character) becomes [UNK]."""
        encoded = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [text.ids or [self.special["[UNK]"]] for text in encoded]

    def replacements(self) -> NDArray[np.int32]:
        """Every id that may replace a masked token: all in the tokenizer but the special ones."""
        ids = set(self.tokenizer.get_vocab().values()) - set(self.special.values())
        return np.array(sorted(ids), np.int32)


def vocabulary_file(name: str) -> Path:
    """tokenizer.json or vocab.txt: `name` itself, or the one in that folder. Raises UserError."""
    path = Path(name).expanduser()
    candidates = [path / "tokenizer.json", path / "vocab.txt"] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if path.is_dir():
        raise UserError(f"workload.vocabulary: the folder {path} has neither tokenizer.json nor vocab.txt")
    raise UserError(
        f"workload.vocabulary is {name!r}: there is no such file; "
        f"allowed are 'trained', a vocab.txt, a tokenizer.json or a folder with one"
    )


def vocabulary_digest(path: Path) -> list[str]:
    """What the tokenizer read from `path` depends on."""
    settings = path.parent / "tokenizer_config.json"
    beside = [settings] if path.suffix != ".json" and settings.is_file() else []
    return [path.suffix, *(file_digest(file) for file in [path, *beside])]


def read_vocabulary(path: Path, model_size: int) -> Vocabulary:
    """A given tokenizer. Raises UserError when it is none, lacks a special token or exceeds the model's vocabulary."""
    vocabulary = _tokenizer_json(path) if path.suffix == ".json" else _vocab_txt(path)
    missing = [name for name in SPECIAL if vocabulary.token_to_id(name) is None]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; a BERT vocabulary has {', '.join(SPECIAL)}")
    result = _vocabulary(vocabulary)
    if result.size > model_size:
        raise UserError(f"{path} has {result.size} entries; the model's vocabulary has {model_size}")
    return result


def train_vocabulary(texts: Iterable[str], model_size: int) -> Vocabulary:
    """Lower-case WordPiece of at most TRAINED_SIZE entries, the same for the same texts.

    Learns from a sample of about SAMPLE_CHARACTERS, spread evenly: a newcomer's first run waits for it, and the
    model keeps its full vocabulary whatever is learnt here. Characters beyond the MAX_ALPHABET most frequent are
    unknown.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    size = min(TRAINED_SIZE, model_size)
    normalizer = _normalizer(lowercase=True)
    sample, alphabet = _keep_alphabet(
        [normalizer.normalize_str(text) for text in _sample(list(texts))], max_alphabet=min(MAX_ALPHABET, size // 4)
    )
    # The trainer numbers the pieces inside words as it meets them in a hash map, in another order in every process,
    # and breaks ties by number: naming them first, in order, makes the result repeatable.
    names = [*SPECIAL, *(f"##{character}" for character in alphabet)]
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=names, show_progress=False)
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    learner.train_from_iterator(sample, trainer)
    return _vocabulary(_word_piece(learner.get_vocab(), lowercase=True))


def _sample(texts: list[str]) -> list[str]:
    """About SAMPLE_CHARACTERS: every n-th text, and of each no more than fits."""
    stride = -(-sum(map(len, texts)) // SAMPLE_CHARACTERS) or 1
    room = SAMPLE_CHARACTERS
    sample: list[str] = []
    for text in texts[::stride]:
        sample.append(text[:room])
        room -= len(text)
        if room <= 0:
            break
    return sample


def _keep_alphabet(texts: list[str], max_alphabet: int) -> tuple[list[str], list[str]]:
    """The texts without rare characters, and the sorted characters that remain; ties go to the lower code point."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    characters = sorted((c for c in counts if not c.isspace()), key=lambda c: (-counts[c], c))
    dropped = str.maketrans(dict.fromkeys(characters[max_alphabet:], " "))
    kept = sorted(characters[:max_alphabet])
    return [text.translate(dropped) for text in texts] if dropped else texts, kept


def _normalizer(lowercase: bool) -> Any:
    from tokenizers import normalizers

    return normalizers.BertNormalizer(lowercase=lowercase)


def _word_piece(ids: dict[str, int], lowercase: bool) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = _normalizer(lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _vocabulary(tokenizer: Any) -> Vocabulary:
    tokenizer.encode_special_tokens = True
    special = {name: tokenizer.token_to_id(name) for name in SPECIAL}
    return Vocabulary(tokenizer, special, max(tokenizer.get_vocab().values()) + 1)


def _tokenizer_json(path: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(read_text(path))
    except UserError:
        raise
    except Exception as error:  # tokenizers raises nothing more specific
        raise UserError(f"{path} is no tokenizer.json: {clipped(' '.join(str(error).split()))}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _vocab_txt(path: Path) -> Any:
    """One entry a line, its id is the line's number from 0.

    Cased if the tokenizer_config.json beside it says so or, without one, if an entry has an upper-case letter.
    """
    entries = read_text(path).rstrip("\n").split("\n")
    ids = {entry: index for index, entry in enumerate(entries)}
    lowercase = not any(entry != entry.lower() for entry in entries if not entry.startswith("["))
    settings = path.parent / "tokenizer_config.json"
    if settings.is_file():
        try:
            lowercase = bool(json.loads(settings.read_bytes()).get("do_lower_case", lowercase))
        except (ValueError, AttributeError) as error:
            raise UserError(f"{settings} is no JSON object: {error}") from None
    return _word_piece(ids, lowercase)
