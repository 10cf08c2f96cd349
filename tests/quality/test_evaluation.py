"""What an evaluation counts, when it takes place, and that it costs the windows nothing. Time is the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import null
from bench import journal
from bench.errors import TrialError
from bench.evaluation import Accuracy, EntityF1, evaluate
from bench.protocols import Batch, Predictions
from bench.records import Assignment, Evaluation, Phase, Quality, Timing, Trial, Window, Workload
from bench.selfcheck import run_assignment
from bench.workload import checkpoint, corpus
from bench.workload.batches import ValidationBatches
from bench.workload.topics import generate_examples

MS = 1_000_000
TOPICS = Workload(task="classification", sequence_length=16, batch_per_replica=16)


def silent(_: str) -> None:
    pass


def batch(heads: dict[str, float], **arrays: Any) -> Batch:
    """One microbatch and replica; arrays (sample, ...)."""
    return Batch(
        step=0, samples=1, tokens_real=1, tokens_padded=1, global_weights=heads,
        arrays={name: np.array(array)[None, None] for name, array in arrays.items()},
    )  # fmt: skip


def predictions(numerators: list[float], weights: list[float], **classes: Any) -> Predictions:
    return Predictions(
        heads=tuple(classes), numerators=np.array(numerators), weights=np.array(weights),
        classes={head: np.array(found, np.int32) for head, found in classes.items()},
    )  # fmt: skip


class Recited(null.Backend):
    """Answers with prepared predictions, in turn."""

    def __init__(self, *answers: Predictions) -> None:
        super().__init__()
        self._answers = list(answers)

    def evaluate(self, batch: Batch) -> Predictions:
        return self._answers.pop(0)


# ---- what is counted --------------------------------------------------------------------------------------------


def test_an_entity_is_found_when_its_words_and_its_type_are() -> None:
    """True: PER(0-1), LOC(3); LOC(0). Found: PER(0-1), PER(3); LOC(0), PER(2). 2 of 4 and 2 of 3: F1 = 4 / 7."""
    score = EntityF1(("O", "B-LOC", "I-LOC", "B-PER", "I-PER"))
    truth, found = [[3, 4, 0, 1], [1, 0, 0, 0]], [[3, 4, 0, 3], [1, 0, 3, 0]]
    score.add(batch({}, labels=truth, label_weights=np.ones((2, 4))), predictions([], [], ner=found))
    assert score.value() == pytest.approx(4 / 7)


def test_an_entity_that_is_cut_short_is_not_found() -> None:
    score = EntityF1(("O", "B-PER", "I-PER"))
    score.add(batch({}, labels=[[1, 2, 0]], label_weights=[[1, 1, 1]]), predictions([], [], ner=[[1, 0, 0]]))
    assert score.value() == 0


def test_only_first_pieces_of_words_count() -> None:
    """The second place is the rest of a word: what it is called must not end the entity, nor begin one."""
    score = EntityF1(("O", "B-PER", "I-PER"))
    weights = [[1, 0, 1, 0]]
    score.add(batch({}, labels=[[1, 0, 2, 0]], label_weights=weights), predictions([], [], ner=[[1, 0, 2, 1]]))
    assert score.value() == 1


def test_without_any_entity_the_score_is_0_and_no_warning() -> None:
    score = EntityF1(("O", "B-PER", "I-PER"))
    score.add(batch({}, labels=[[0, 0]], label_weights=[[1, 1]]), predictions([], [], ner=[[0, 0]]))
    assert score.value() == 0


def test_accuracy_counts_the_places_that_weigh_over_all_batches() -> None:
    """3 of 4, where the mean of the batches' own accuracies would be 2 of 3."""
    score = Accuracy("mlm", "masked_ids", "masked_weights")
    for truth, weights, found in (
        ([[7, 8], [9, 0]], [[1, 1], [1, 0]], [[7, 8], [9, 0]]),
        ([[5, 0]], [[1, 0]], [[4, 0]]),
    ):
        score.add(batch({}, masked_ids=truth, masked_weights=weights), predictions([], [], mlm=found))
    assert score.value() == 3 / 4


def test_the_loss_is_the_sum_over_heads_of_the_mean_over_all_weights() -> None:
    """mlm (2 + 4) / (1 + 3), nsp (1 + 1) / (2 + 2)."""
    arrays = {"masked_ids": [[1]], "masked_weights": [[1]]}
    batches: Any = [batch({"mlm": 1.0, "nsp": 2.0}, **arrays), batch({"mlm": 3.0, "nsp": 2.0}, **arrays)]
    answers = [
        predictions([2.0, 1.0], [1.0, 2.0], mlm=[[1]], nsp=[0]),
        predictions([4.0, 1.0], [3.0, 2.0], mlm=[[1]], nsp=[0]),
    ]
    score = Accuracy("mlm", "masked_ids", "masked_weights")
    assert evaluate(Recited(*answers), batches, score) == (6 / 4 + 2 / 4, 1.0)


def test_an_evaluation_with_other_weights_than_the_datas_is_no_evaluation() -> None:
    batches: Any = [batch({"classification": 2.0}, labels=[0, 1])]
    with pytest.raises(TrialError, match=r"weighed classification with 1\.0 in all, the data says 2\.0"):
        evaluate(Recited(predictions([1.0], [1.0], classification=[0, 1])), batches, Accuracy("classification"))


# ---- when, and at what cost ----------------------------------------------------------------------------------------


class Slow(null.Backend):
    """An evaluated batch takes a second."""

    def evaluate(self, batch: Batch) -> Predictions:
        assert self._world.rank == 0
        self._clock.sleep_ns(1000 * MS)
        return super().evaluate(batch)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


Lines = list[list[Any]]


@pytest.fixture
def run(cache: Path, tmp_path: Path) -> Callable[[Quality], Lines]:
    """The lines of both ranks: a step takes 10 ms; the first one, then 1 + 3 windows of 5 steps."""

    def launch(quality: Quality) -> Lines:
        trial = Trial(
            backend="null", launcher="local", workload=TOPICS, quality=quality, options={"step_ms": 10.0},
            timing=Timing(warmup_windows=1, windows=3, steps_per_window=5),
        )  # fmt: skip
        validation = corpus.prepare_validation(TOPICS, cache, silent)
        prepared = corpus.prepare(TOPICS, cache, silent)
        assignment = Assignment(
            trial=trial, trial_id=trial.id, repeat=0, ranks=2, local_replicas=1, data=str(prepared.folder),
            checkpoint=str(checkpoint.prepare(TOPICS, prepared.labels, cache)),
            validation=str(validation.folder) if quality.samples else None,
        )  # fmt: skip
        run_assignment(assignment, tmp_path, Slow)
        return [journal.read(tmp_path, rank) for rank in range(2)]

    return launch


def of_kind(lines: list[Any], kind: type) -> list[Any]:
    return [line for line in lines if isinstance(line, kind)]


def share_of_the_first_label(samples: int) -> float:
    """null says "business", the first label, of every text."""
    return sum(example.label == "business" for example in generate_examples("dev")[:samples]) / samples


def test_it_follows_every_so_many_windows_and_the_last_one(run: Callable[[Quality], Lines]) -> None:
    first, second = run(Quality(samples=50, every_windows=3))
    evaluations = of_kind(first, Evaluation)
    assert [(line.step, line.samples, line.reached) for line in evaluations] == [
        (16, 16 * 32, False),
        (21, 21 * 32, False),
    ]
    assert {(line.metric, line.value, line.loss) for line in evaluations} == {
        ("accuracy", share_of_the_first_label(50), 0.0)
    }
    assert of_kind(second, Evaluation) == []


def test_it_is_no_part_of_a_window_nor_of_the_training_time(run: Callable[[Quality], Lines]) -> None:
    first, _ = run(Quality(samples=50))
    windows = of_kind(first, Window)
    assert [window.duration_ns for window in windows] == [10 * MS, *[50 * MS] * 4]
    assert [line.train_ns for line in of_kind(first, Evaluation)] == [60 * MS, 110 * MS, 160 * MS, 210 * MS]
    assert windows[-1].start_ns - windows[1].start_ns >= 3 * 4 * 1000 * MS  # 4 batches of 16, 16, 16 and 2


def test_a_target_ends_the_run_of_all_ranks_after_the_same_window(run: Callable[[Quality], Lines]) -> None:
    ranks = run(Quality(samples=50, every_windows=2, target=share_of_the_first_label(50)))
    assert [(line.step, line.reached) for line in of_kind(ranks[0], Evaluation)] == [(11, True)]
    for lines in ranks:
        assert [window.steps for window in of_kind(lines, Window)] == [1, 5, 5]
        assert of_kind(lines, Phase)[-1].name == "end"


def test_a_target_that_is_missed_ends_nothing(run: Callable[[Quality], Lines]) -> None:
    first, _ = run(Quality(samples=50, target=share_of_the_first_label(50) + 0.01))
    assert [line.reached for line in of_kind(first, Evaluation)] == [False] * 4


def test_nothing_is_evaluated_unless_samples_are_asked_for(run: Callable[[Quality], Lines]) -> None:
    first, _ = run(Quality(samples=0))
    assert of_kind(first, Evaluation) == []
    assert len(of_kind(first, Window)) == 5


def test_the_validation_samples_are_the_first_of_the_split(cache: Path) -> None:
    folder = corpus.prepare_validation(TOPICS, cache, silent).folder
    labels = np.concatenate([found.arrays["labels"][0, 0] for found in ValidationBatches(folder, TOPICS, 20)])
    names = ("business", "science", "sports", "travel")
    assert [names[label] for label in labels] == [example.label for example in generate_examples("dev")[:20]]
