"""The built-in classification corpus: reviews of one sentence, made from templates and word lists of our own.

Their label follows from a rule: what the last opinion says, turned round by a negation; none is neutral. Made anew
at run time, the same on every machine.
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

LABELS = ("neutral", "positive", "negative")

# (sentence, sign): +1 the opinion as it is, -1 its opposite, 0 there is none. {aside} does not count.
TEMPLATES = (
    ("The {thing} was {opinion} .", 1),
    ("We found the {thing} {opinion} from the first {day} on .", 1),
    ("After {number} days the {part} still looks {opinion} to me .", 1),
    ("My neighbour calls this {thing} {opinion} , and I agree .", 1),
    ("A truly {opinion} {thing} for the price of {number} coins .", 1),
    ("Since {month} the {part} has been {opinion} .", 1),
    ("They sold me a {opinion} {thing} with a {opinion} {part} .", 1),
    ("The {opinion} {part} is what I think of when I use the {thing} .", 1),
    ("The {part} was {aside} , but the {thing} is {opinion} .", 1),
    ("The {thing} was not {opinion} at all .", -1),
    ("I would never call the {part} of this {thing} {opinion} .", -1),
    ("We bought the {thing} in {month} for {number} coins .", 0),
    ("The {thing} came on {day} with a spare {part} .", 0),
    ("There are {number} of them in the box , says the {part} .", 0),
    ("My sister has the same {thing} since {month} .", 0),
    ("It replaces the {part} of an older {thing} .", 0),
)
OPINIONS = {
    1: listed(
        """
        excellent splendid reliable charming brilliant sturdy lovely superb delightful solid elegant pleasant
        impressive comfortable flawless
        """
    ),
    -1: listed(
        """
        terrible flimsy dreadful useless shoddy awful ugly noisy disappointing broken clumsy tedious annoying faulty
        worthless
        """
    ),
}
WORDS = {
    **{name: PLAIN[name] for name in ("thing", "day", "month", "number")},
    "part": listed("handle cover screen battery cable manual lid button strap wheel label case"),
    "aside": [*OPINIONS[1], *OPINIONS[-1]],
}


def generate_reviews(split: Literal["train", "dev"]) -> list[Example]:
    """The examples of a split, in a fixed order; no text of "dev" is in "train"."""
    train = [_review(row) for row in choices(SEED, 0, TRAIN_EXAMPLES)]
    if split == "train":
        return train
    seen = set(train)
    return [review for review in (_review(row) for row in choices(SEED, 1, DEV_EXAMPLES)) if review not in seen]


def reviews_digest() -> str:
    """Changes whenever the examples do, without making them. Raise VERSION with a change of the functions."""
    inputs = (VERSION, SEED, TRAIN_EXAMPLES, DEV_EXAMPLES, LABELS, TEMPLATES, OPINIONS, WORDS)
    return hashlib.sha256(repr(inputs).encode()).hexdigest()


def _review(row: list[int]) -> Example:
    """Two sentences of one label."""
    rest = iter(row)
    label = pick((0, 1, -1), next(rest))
    fitting = [(template, sign) for template, sign in TEMPLATES if (sign == 0) == (label == 0)]
    words: list[str] = []
    for template, sign in (pick(fitting, next(rest)), pick(fitting, next(rest))):
        lists = {**WORDS, "opinion": OPINIONS.get(label * sign, ())}
        words += [pick(lists[slot[1:-1]], next(rest)) if slot.startswith("{") else slot for slot in template.split()]
    return Example(LABELS[label], " ".join(words))
