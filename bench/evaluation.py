"""How well the model does on the validation data, seen by rank 0 between windows while the others wait."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Protocol

import numpy as np

from bench.errors import TrialError
from bench.journal import Journal
from bench.protocols import Backend, Batch, Predictions, World
from bench.records import METRICS, Assignment, Evaluation, Task
from bench.workload.batches import ValidationBatches
from bench.workload.corpus import read_meta

STOP, GO = "stop", "go"


class Evaluator:
    """One rank's part. Does nothing where the trial evaluates nothing."""

    def __init__(self, backend: Backend, world: World, assignment: Assignment, journal: Journal) -> None:
        self._backend, self._world, self._journal = backend, world, journal
        self._trial, self._validation = assignment.trial, assignment.validation

    def after_window(self, index: int, steps: int, train_ns: int) -> bool:
        """Evaluates if it is time to; True: the target is reached, and every rank must stop here.

        `index` counts the windows from 0, without the first step's. `steps` have been made in all, in `train_ns`.
        """
        quality, timing = self._trial.quality, self._trial.timing
        last = index == timing.warmup_windows + timing.windows - 1
        if quality.samples == 0 or not (last or (index + 1) % quality.every_windows == 0):
            return False
        if self._world.rank == 0:
            measured = index >= timing.warmup_windows  # a run without a measured window would show no speed
            reached = self._evaluate(steps, train_ns, may_end=measured)
        else:
            reached = False
        return self._agree(f"evaluation-{index}", reached)

    def _agree(self, name: str, reached: bool) -> bool:
        """What rank 0 found. The barrier may take as long as an evaluation does; `wait_for` has a short deadline."""
        if self._world.size == 1:
            return reached
        if self._world.rank == 0:
            self._world.rendezvous.publish(name, STOP if reached else GO)
        self._backend.barrier()
        return self._world.rendezvous.wait_for(name) == STOP

    def _evaluate(self, steps: int, train_ns: int, may_end: bool) -> bool:
        """Writes the record; whether the run ends with it."""
        trial = self._trial
        if self._validation is None:
            raise TrialError("trial.json asks for an evaluation and names no validation data")
        folder = Path(self._validation)
        batches = ValidationBatches(folder, trial.workload, trial.quality.samples)
        loss, value = evaluate(self._backend, batches, score_of(trial.workload.task, read_meta(folder).labels))
        reached = may_end and 0 < trial.quality.target <= value
        self._journal.write(
            Evaluation(
                step=steps,
                samples=steps * trial.global_batch,
                loss=loss if math.isfinite(loss) else None,
                metric=METRICS[trial.workload.task],
                value=value,
                train_ns=train_ns,
                reached=reached,
            )
        )
        return reached


class Score(Protocol):
    """A task's metric, over batches."""

    def add(self, batch: Batch, predictions: Predictions) -> None: ...

    def value(self) -> float:
        """0 to 1."""
        ...


def evaluate(backend: Backend, batches: ValidationBatches, score: Score) -> tuple[float, float]:
    """(loss, metric) over all batches. Loss: sum over heads of mean weighted losses, as in training."""
    numerators: dict[str, float] = {}
    weights: dict[str, float] = {}
    for batch in batches:
        predictions = backend.evaluate(batch)
        score.add(batch, predictions)
        for head, numerator, weight in zip(predictions.heads, predictions.numerators, predictions.weights, strict=True):
            if weight != batch.global_weights[head]:
                raise TrialError(
                    f"the evaluation weighed {head} with {weight} in all, the data says {batch.global_weights[head]}"
                )
            numerators[head] = numerators.get(head, 0.0) + float(numerator)
            weights[head] = weights.get(head, 0.0) + float(weight)
    return sum(numerators[head] / weights[head] for head in numerators), score.value()


def score_of(task: Task, labels: tuple[str, ...]) -> Score:
    """An empty score. `labels` in index order, for NER."""
    if task == "ner":
        return EntityF1(labels)
    return Accuracy("mlm", "masked_ids", "masked_weights") if task == "pretraining" else Accuracy("classification")


class Accuracy:
    """The share of places, of those that weigh anything, where the most likely class is the right one."""

    def __init__(self, head: str, labels: str = "labels", weights: str | None = None) -> None:
        self._head, self._labels, self._weights = head, labels, weights
        self._right = self._counted = 0

    def add(self, batch: Batch, predictions: Predictions) -> None:
        truth = batch.arrays[self._labels][0, 0]
        counted = np.ones(truth.shape, bool) if self._weights is None else batch.arrays[self._weights][0, 0] > 0
        self._right += int((counted & (predictions.classes[self._head] == truth)).sum())
        self._counted += int(counted.sum())

    def value(self) -> float:
        return self._right / self._counted


class EntityF1:
    """F1 of whole entities over all sentences, by seqeval, as CoNLL's own script counts: an entity is found when its
    words and its type are. A word's label is that of its first piece; no other place counts."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = labels
        self._truth: list[list[str]] = []
        self._found: list[list[str]] = []

    def add(self, batch: Batch, predictions: Predictions) -> None:
        for labels, classes, weights in zip(
            batch.arrays["labels"][0, 0], predictions.classes["ner"], batch.arrays["label_weights"][0, 0], strict=True
        ):
            words = weights > 0
            self._truth.append([self._labels[label] for label in labels[words]])
            self._found.append([self._labels[label] for label in classes[words]])

    def value(self) -> float:
        from seqeval.metrics import f1_score

        return float(f1_score(self._truth, self._found, zero_division=0))
