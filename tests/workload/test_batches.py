from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import msgspec
import numpy as np
import pytest

from bench.protocols import Batch
from bench.records import Workload
from bench.workload.batches import Batches
from bench.workload.corpus import Corpus, read_meta
from bench.workload.counter import below, draw, sample_keys
from bench.workload.pretraining import max_predictions

Make = Callable[..., Batches]

PRETRAINING = Workload(sequence_length=64, batch_per_replica=4)
NER = Workload(task="ner", sequence_length=32, batch_per_replica=4)
CLASSIFICATION = Workload(task="classification", sequence_length=32, batch_per_replica=4)
TASKS = pytest.mark.parametrize(
    "workload", [PRETRAINING, NER, CLASSIFICATION], ids=["pretraining", "ner", "classification"]
)
MANY = Workload(batch_per_replica=4000)


@pytest.fixture(scope="module")
def many(batches: Make) -> dict[str, np.ndarray[Any, Any]]:
    """4,000 pre-training samples of 128 tokens; axes (sample, ...)."""
    return {name: array[0, 0] for name, array in batches(MANY).batch(0).arrays.items()}


def equal(left: Batch, right: Batch) -> bool:
    same = all(np.array_equal(array, right.arrays[name]) for name, array in left.arrays.items())
    return same and left.arrays.keys() == right.arrays.keys()


@TASKS
def test_a_batch_depends_on_seed_and_step_alone(batches: Make, workload: Workload) -> None:
    first, other = batches(workload), batches(workload)
    for step in range(5):
        first.batch(step)
    assert equal(first.batch(7), other.batch(7))
    assert not equal(first.batch(7), other.batch(8))
    changed = Workload(task=workload.task, sequence_length=workload.sequence_length, batch_per_replica=4, seed=2)
    assert not equal(first.batch(7), batches(changed).batch(7))


@TASKS
def test_one_rank_with_four_replicas_sees_what_four_ranks_see(batches: Make, workload: Workload) -> None:
    whole = batches(workload, 0, 4, 4)
    parts = [batches(workload, rank, 1, 4) for rank in range(4)]
    pairs = [batches(workload, rank, 2, 4) for rank in (0, 2)]
    for step in (0, 3):
        expected = whole.batch(step)
        for split in (parts, pairs):
            shares = [part.batch(step) for part in split]
            for name, array in expected.arrays.items():
                assert np.array_equal(np.concatenate([share.arrays[name] for share in shares], axis=1), array), name
            assert {tuple(share.global_weights.items()) for share in shares} == {tuple(expected.global_weights.items())}
            assert sum(share.tokens_real for share in shares) == expected.tokens_real
            digests = [part.digest(share) for part, share in zip(split, shares, strict=True)]
            assert sum(digests) % 2**64 == whole.digest(expected)


@TASKS
def test_the_same_global_batch_in_other_portions_is_the_same_data(batches: Make, workload: Workload) -> None:
    larger = Workload(task=workload.task, sequence_length=workload.sequence_length, batch_per_replica=8)
    four, two = batches(workload, 0, 4, 4), batches(larger, 0, 2, 2)
    assert four.digest(four.batch(5)) == two.digest(two.batch(5))


@TASKS
def test_microbatches_are_parts_of_each_replicas_own_batch(batches: Make, workload: Workload) -> None:
    """Replica r's batch is the same whatever the accumulation, and so are the step's weights and its digest."""
    whole, parted = batches(workload, 1, 2, 3), batches(msgspec.structs.replace(workload, accumulation=2), 1, 2, 3)
    expected, batch = whole.batch(3), parted.batch(3)
    for name, array in batch.arrays.items():
        assert array.shape[:3] == (2, 2, 2)
        assert array.flags.c_contiguous
        for replica in range(2):
            assert np.array_equal(np.concatenate(array[:, replica]), expected.arrays[name][0, replica]), name
    assert batch.global_weights == expected.global_weights
    assert (batch.samples, batch.tokens_real) == (expected.samples, expected.tokens_real)
    assert parted.digest(batch) == whole.digest(expected)


def test_a_batch_of_unequal_microbatches_is_a_bug(prepared: Callable[[Workload], Corpus]) -> None:
    with pytest.raises(ValueError, match="4 samples in 3 equal microbatches"):
        Batches(prepared(NER).folder, msgspec.structs.replace(NER, accumulation=3), 0, 1, 1)


@TASKS
def test_replicas_are_fed_differently(batches: Make, workload: Workload) -> None:
    ids = batches(workload, 0, 2, 2).batch(0).arrays["input_ids"]
    assert not np.array_equal(ids[:, 0], ids[:, 1])


@TASKS
def test_the_digest_notices_every_array_and_the_step(batches: Make, workload: Workload) -> None:
    source = batches(workload)
    batch = source.batch(0)
    seen = {source.digest(batch)}
    for name, array in batch.arrays.items():
        changed = array.copy()
        changed[0, 0, 1] += 1
        arrays = {**batch.arrays, name: changed}
        seen.add(source.digest(with_arrays(batch, arrays)))
    seen.add(source.digest(with_arrays(batch, batch.arrays, step=1)))
    assert len(seen) == len(batch.arrays) + 2


def with_arrays(batch: Batch, arrays: Any, step: int = 0) -> Batch:
    return Batch(
        step=step,
        arrays=arrays,
        global_weights=batch.global_weights,
        samples=batch.samples,
        tokens_real=batch.tokens_real,
        tokens_padded=batch.tokens_padded,
    )


def test_the_arrays_are_those_of_the_protocol(batches: Make) -> None:
    def shapes(workload: Workload) -> dict[str, tuple[str, tuple[int, ...]]]:
        arrays = batches(workload, 2, 2, 6).batch(0).arrays
        assert all(array.flags.c_contiguous for array in arrays.values())
        return {name: (array.dtype.name, array.shape) for name, array in arrays.items()}

    tokens = dict.fromkeys(("input_ids", "token_type_ids", "attention_mask"), ("int32", (1, 2, 4, 64)))
    assert shapes(PRETRAINING) == tokens | {
        "masked_positions": ("int32", (1, 2, 4, 10)),
        "masked_ids": ("int32", (1, 2, 4, 10)),
        "masked_weights": ("float32", (1, 2, 4, 10)),
        "next_sentence_labels": ("int32", (1, 2, 4)),
    }
    assert shapes(CLASSIFICATION) == dict.fromkeys(tokens, ("int32", (1, 2, 4, 32))) | {"labels": ("int32", (1, 2, 4))}
    assert shapes(NER) == dict.fromkeys((*tokens, "labels"), ("int32", (1, 2, 4, 32))) | {
        "label_weights": ("float32", (1, 2, 4, 32))
    }


@TASKS
def test_counts_and_weights_are_sums_over_what_was_built(batches: Make, workload: Workload) -> None:
    batch, everything = batches(workload, 1, 1, 3).batch(4), batches(workload, 0, 3, 3).batch(4)
    length = workload.sequence_length
    assert (batch.step, batch.samples, batch.tokens_padded) == (4, 4, 4 * length)
    assert batch.tokens_real == batch.arrays["attention_mask"].sum() < batch.tokens_padded
    if workload.task == "ner":
        assert batch.global_weights == {"ner": everything.arrays["label_weights"].sum()}
    elif workload.task == "classification":
        assert batch.global_weights == {"classification": 12.0}
    else:
        assert batch.global_weights == {"mlm": everything.arrays["masked_weights"].sum(), "nsp": 12.0}


@pytest.mark.parametrize(("length", "predictions"), [(128, 19), (512, 77), (8, 1)])
def test_the_prediction_axis_is_15_percent_of_the_sequence(length: int, predictions: int) -> None:
    assert max_predictions(length) == predictions


def test_a_sequence_is_cls_a_sep_b_sep_padding(many: dict[str, np.ndarray[Any, Any]]) -> None:
    for ids, types, mask in zip(
        many["input_ids"][:500], many["token_type_ids"][:500], many["attention_mask"][:500], strict=True
    ):
        real = int(mask.sum())
        assert mask.tolist() == [1] * real + [0] * (128 - real)
        assert not ids[real:].any()
        first, last = np.flatnonzero(ids == 3)
        assert (ids[0], last) == (2, real - 1)
        assert 2 <= first <= last - 2
        assert types.tolist() == [0] * (first + 1) + [1] * (last - first) + [0] * (128 - real)


def test_special_tokens_and_padding_are_never_masked(many: dict[str, np.ndarray[Any, Any]]) -> None:
    used = many["masked_weights"] == 1
    assert not np.isin(many["masked_ids"][used], [0, 2, 3, 4]).any()
    assert not many["masked_ids"][~used].any()
    assert not many["masked_positions"][~used].any()
    assert many["masked_positions"][used].min() >= 1


def test_masked_positions_ascend_without_repetition(many: dict[str, np.ndarray[Any, Any]]) -> None:
    used = many["masked_weights"] == 1
    steps = np.diff(np.where(used, many["masked_positions"], 1000 + np.arange(19)), axis=1)
    assert steps.min() >= 1


def test_each_sample_masks_15_percent_of_its_real_tokens(many: dict[str, np.ndarray[Any, Any]]) -> None:
    real = many["attention_mask"].sum(axis=1)
    expected = np.clip(np.floor(0.15 * real + 0.5), 1, 19)
    assert np.array_equal(many["masked_weights"].sum(axis=1), expected)


def test_masking_is_80_10_10(many: dict[str, np.ndarray[Any, Any]]) -> None:
    used = many["masked_weights"] == 1
    now = np.take_along_axis(many["input_ids"], many["masked_positions"], axis=1)[used]
    was = many["masked_ids"][used]
    assert abs(float((now == 4).mean()) - 0.8) < 0.006
    assert abs(float((now == was).mean()) - 0.1) < 0.006
    replaced = now[(now != 4) & (now != was)]
    assert abs(len(replaced) / len(now) - 0.1) < 0.006
    assert replaced.min() >= 5
    assert len(np.unique(replaced)) > 3000


def test_every_place_is_masked_equally_often(many: dict[str, np.ndarray[Any, Any]]) -> None:
    """In full sequences, 19 of 125 places; each is a [SEP] now and then, and then another is taken."""
    full = many["attention_mask"].sum(axis=1) == 128
    counts = np.bincount(many["masked_positions"][full].ravel(), minlength=128)[2:126]
    assert abs(counts.mean() / full.sum() - 0.152) < 0.002
    assert counts.min() > 0.8 * counts.mean()
    assert counts.max() < 1.2 * counts.mean()


def unmasked(sample: int, many: dict[str, np.ndarray[Any, Any]]) -> tuple[list[int], list[int]]:
    ids = many["input_ids"][sample].copy()
    used = many["masked_weights"][sample] == 1
    ids[many["masked_positions"][sample][used]] = many["masked_ids"][sample][used]
    first, last = np.flatnonzero(many["token_type_ids"][sample])[[0, -1]]
    return ids[1 : first - 1].tolist(), ids[first:last].tolist()


def test_b_follows_a_in_half_of_the_samples_and_the_label_says_which(
    many: dict[str, np.ndarray[Any, Any]], prepared: Callable[[Workload], Corpus]
) -> None:
    folder = prepared(MANY).folder
    stream = "," + ",".join(map(str, np.load(folder / "tokens.npy").tolist())) + ","
    labels = many["next_sentence_labels"]
    assert abs(float(labels.mean()) - 0.5) < 0.03
    follows = []
    for sample in range(200):
        a, b = unmasked(sample, many)
        follows.append("," + ",".join(map(str, a + b)) + "," in stream)
        assert "," + ",".join(map(str, b)) + "," in stream
    agree = np.array(follows) == (labels[:200] == 0)
    # A random B of a token or two may continue A by chance; a true next always does.
    assert np.array(follows)[labels[:200] == 0].all()
    assert agree.mean() > 0.97


def test_real_lengths_vary_and_most_sequences_are_full(many: dict[str, np.ndarray[Any, Any]]) -> None:
    real = many["attention_mask"].sum(axis=1)
    assert real.min() >= 5
    assert 0.85 < (real == 128).mean() < 0.95
    assert len(np.unique(real)) > 100


def test_a_random_b_comes_from_another_document(tmp_path: Path, batches: Make) -> None:
    """Document i is made of word i alone; every word is one token, and room for a pair is 5 tokens."""
    words = ["ein", "zwei", "drei"]
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    (tmp_path / "a.txt").write_text("\n\n".join(" ".join([word] * 9) for word in words))
    workload = Workload(
        data=str(tmp_path / "a.txt"), vocabulary=str(tmp_path), sequence_length=8, batch_per_replica=600
    )
    flat = {name: array[0, 0] for name, array in batches(workload).batch(0).arrays.items()}
    seen = set()
    for sample in range(600):
        a, b = unmasked(sample, flat)
        assert len({*a}) == len({*b}) == 1
        assert (a[0] != b[0]) == flat["next_sentence_labels"][sample]
        seen.add((a[0], b[0]))
    assert len(seen) == 9


def test_a_lone_document_is_enough(tmp_path: Path, batches: Make) -> None:
    (tmp_path / "a.txt").write_text("one two three four five six seven")
    batch = batches(Workload(data=str(tmp_path / "a.txt"), sequence_length=8)).batch(0)
    assert batch.tokens_real <= 64
    assert set(batch.arrays["next_sentence_labels"].ravel()) <= {0, 1}


def test_ner_samples_are_whole_sentences_with_their_labels(
    tmp_path: Path, batches: Make, prepared: Callable[[Workload], Corpus]
) -> None:
    """With letters as pieces, so that most words have several."""
    pieces = [f"{start}{letter}" for start in ("", "##") for letter in ascii_lowercase]
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]))
    workload = Workload(task="ner", vocabulary=str(tmp_path), sequence_length=32, batch_per_replica=4)
    folder = prepared(workload).folder
    tokens, labels, offsets = (np.load(folder / f"{name}.npy") for name in ("tokens", "labels", "offsets"))
    known = {tuple(tokens[start:end].tolist()): labels[start:end].tolist() for start, end in pairwise(offsets)}
    batch = batches(workload, 0, 5, 5).batch(2)
    flat = {name: array.reshape(20, 32) for name, array in batch.arrays.items()}
    for sample in range(20):
        real = int(flat["attention_mask"][sample].sum())
        ids = flat["input_ids"][sample].tolist()
        assert (ids[0], ids[real - 1], ids[real:]) == (2, 3, [0] * (32 - real))
        expected = [-1, *known[tuple(ids[1 : real - 1])], -1, *[-1] * (32 - real)]
        assert flat["labels"][sample].tolist() == [max(label, 0) for label in expected]
        assert flat["label_weights"][sample].tolist() == [float(label >= 0) for label in expected]
    assert not flat["token_type_ids"].any()


def test_classification_samples_are_whole_texts_with_their_label(
    batches: Make, prepared: Callable[[Workload], Corpus]
) -> None:
    folder = prepared(CLASSIFICATION).folder
    tokens, labels, offsets = (np.load(folder / f"{name}.npy") for name in ("tokens", "labels", "offsets"))
    known = {
        tuple(tokens[start:end].tolist()): label
        for (start, end), label in zip(pairwise(offsets), labels.tolist(), strict=True)
    }
    flat = {name: array.reshape(20, -1) for name, array in batches(CLASSIFICATION, 0, 5, 5).batch(2).arrays.items()}
    for ids, mask, label in zip(flat["input_ids"], flat["attention_mask"], flat["labels"][:, 0], strict=True):
        real = int(mask.sum())
        assert (ids[0], ids[real - 1], ids[real:].any()) == (2, 3, False)
        assert known[tuple(ids[1 : real - 1].tolist())] == label


def test_all_sentences_come_up(batches: Make, prepared: Callable[[Workload], Corpus]) -> None:
    samples = read_meta(prepared(NER).folder).samples_or_documents
    source = batches(Workload(task="ner", sequence_length=32, batch_per_replica=20_000))
    rows = np.unique(source.batch(0).arrays["input_ids"][0, 0], axis=0)
    assert len(rows) > 0.99 * samples


def test_special_ids_of_a_given_vocabulary_are_used(tmp_path: Path, batches: Make) -> None:
    entries = ["the", "of", "a", "statement", "[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    (tmp_path / "vocab.txt").write_text("\n".join(entries))
    ids = batches(Workload(vocabulary=str(tmp_path), batch_per_replica=64)).batch(0).arrays["input_ids"][0, 0]
    assert set(ids[:, 0]) == {5}
    assert set(ids[:, -1]) == {6, 7}
    assert set(np.unique(ids)) == set(range(9))


def test_a_corpus_of_another_shape_is_a_bug(prepared: Callable[[Workload], Corpus]) -> None:
    with pytest.raises(ValueError, match="was prepared for ner with length 32"):
        Batches(prepared(NER).folder, PRETRAINING, 0, 1, 1)
    with pytest.raises(ValueError, match=r"no replicas 1 \+ 1 of 1"):
        Batches(prepared(NER).folder, NER, 1, 1, 1)


def test_the_generator_is_splitmix64() -> None:
    """mix(n * GAMMA) is the n-th output of SplitMix64 seeded with 0: the reference implementation's first values."""
    keys = np.zeros(1, np.uint64)
    outputs = [int(draw(keys, number)[0]) for number in (1, 2, 3)]
    assert outputs == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_draws_are_evenly_spread_over_any_bound() -> None:
    keys = sample_keys(1, 0, np.arange(30_000))
    counts = np.bincount(below(draw(keys, 3), 10), minlength=10)
    assert counts.min() > 2800
    assert counts.max() < 3200
    assert below(np.array([0, 2**64 - 1], np.uint64), 7).tolist() == [0, 6]
