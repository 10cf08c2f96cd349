"""The built-in classification corpus: English sentences made from templates and word lists of our own.

The label is the topic that most of a sentence's nouns belong to; one noun is of another topic. Made anew at run time,
the same on every machine.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from bench.workload.examples import Example
from bench.workload.generated import PLAIN, choices, listed, pick

VERSION = 1
TRAIN_EXAMPLES = 2_000
DEV_EXAMPLES = 400
SEED = 2018

# {noun} is of the label's topic, {stray} of another one.
TEMPLATES = (
    "The {noun} and the {noun} were more important than any {stray} or {noun} .",
    "On {day} they spoke about the {noun} , the {noun} , a {stray} and the last {noun} .",
    "Without a {adjective} {noun} no {noun} can have a {noun} , with or without a {stray} .",
    "In {month} the {stray} was forgotten , and everyone asked for the {noun} , the {noun} and the {noun} .",
    "She wrote {number} pages about the {noun} of a {noun} ; the {stray} and the {noun} came last .",
    "A {stray} is no {noun} , but this {adjective} {noun} needs a {noun} .",
    "Since {day} the {noun} has had a {adjective} {noun} , a {noun} and hardly any {stray} .",
    "What has a {stray} to do with the {noun} , the {noun} or the {adjective} {noun} ?",
    "The {noun} cost {number} times as much as the {stray} , the {noun} and the {noun} together .",
    "After {number} days the {adjective} {noun} met its {noun} , and the {stray} became a {noun} .",
)
TOPICS = {
    "business": listed(
        """
        bank budget contract customer debt dividend factory invoice loan manager market merger price profit salary
        share supplier tax wage warehouse
        """
    ),
    "science": listed(
        """
        atom cell comet crystal enzyme experiment fossil galaxy gene laser magnet microscope molecule neuron orbit
        particle planet proton theory virus
        """
    ),
    "sports": listed(
        """
        athlete ball coach cyclist defender final goal goalkeeper hurdle league marathon match medal penalty racket
        referee relay runner striker trophy
        """
    ),
    "travel": listed(
        """
        airport beach cabin camp cruise ferry flight guide hostel hotel island journey luggage map passport resort
        souvenir ticket tourist visa
        """
    ),
}
WORDS = {name: PLAIN[name] for name in ("day", "month", "number", "adjective")}


def generate_examples(split: Literal["train", "dev"]) -> list[Example]:
    """The examples of a split, in a fixed order; no text of "dev" is in "train"."""
    train = [_example(row) for row in choices(SEED, 0, TRAIN_EXAMPLES)]
    if split == "train":
        return train
    seen = set(train)
    return [example for example in (_example(row) for row in choices(SEED, 1, DEV_EXAMPLES)) if example not in seen]


def topics_digest() -> str:
    """Changes whenever the examples do, without making them. Raise VERSION with a change of the functions."""
    inputs = (VERSION, SEED, TRAIN_EXAMPLES, DEV_EXAMPLES, TEMPLATES, TOPICS, WORDS)
    return hashlib.sha256(repr(inputs).encode()).hexdigest()


def _example(row: list[int]) -> Example:
    rest = iter(row)
    label = pick(tuple(TOPICS), next(rest))
    stray = pick([topic for topic in TOPICS if topic != label], next(rest))
    lists = {**WORDS, "noun": TOPICS[label], "stray": TOPICS[stray]}
    template = pick(TEMPLATES, next(rest))
    words = [pick(lists[slot[1:-1]], next(rest)) if slot.startswith("{") else slot for slot in template.split()]
    return Example(label, " ".join(words))
