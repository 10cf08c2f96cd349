"""The built-in NER corpus: English sentences made from templates and word lists of our own, with rule-made BIO tags.

Made anew at run time, the same on every machine. Good for speed, for equal losses and for seeing that a model learns;
what it learns is of no use elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np

from bench.workload.conll import Sentence
from bench.workload.counter import below, draw_rows, sample_keys

VERSION = 1
TRAIN_SENTENCES = 2_000
DEV_SENTENCES = 400
SEED = 2017
CHOICES = 32

Item = TypeVar("Item")

# Upper-case words in braces are entities, lower-case ones plain words; every word and mark is one token.
TEMPLATES = (
    "{PER} , the new director of {ORG} , will move to {LOC} in {month} .",
    "On {day} {PER} met {PER} near the old {place} of {LOC} .",
    "{ORG} said on {day} that it would close its {place} in {LOC} .",
    "The {adjective} {place} of {LOC} was {verb} by {PER} {number} years ago .",
    "{number} people from {LOC} and {LOC} came to the {MISC} .",
    "{PER} joined {ORG} after {number} years at {ORG} .",
    "In {month} , {ORG} and {ORG} agreed to share a {adjective} {thing} .",
    "Nobody in {LOC} had seen such a {adjective} {thing} before .",
    '" We {verb} the {thing} ourselves , " said {PER} of {ORG} .',
    "The {MISC} was held in {LOC} for the first time since {number} .",
    "{PER} 's {adjective} {thing} won a prize at the {MISC} .",
    "The train from {LOC} to {LOC} was {number} minutes late on {day} .",
    "Shares of {ORG} fell by {number} percent in {month} .",
    "A {adjective} {thing} was found near the {place} on {day} .",
    "Why did {PER} leave {LOC} so early ?",
    "{PER} , {PER} and {PER} {verb} a {thing} for the {MISC} .",
    "The {place} stays closed until {month} , a spokesman for {ORG} said .",
    "It was a {adjective} {day} , and the {place} was nearly empty .",
    "{ORG} ( based in {LOC} ) sold {number} tickets for the {MISC} .",
    "Doctors in {LOC} praised the {adjective} work of {PER} .",
    "{PER} wrote to {ORG} about the {thing} , but got no answer until {day} .",
    "From {month} on , the {thing} of {ORG} will be {verb} in {LOC} .",
    "The mayor of {LOC} , {PER} , opened the {adjective} {place} on {day} .",
    "Only {number} of the {number} visitors had heard of {PER} .",
)


def listed(text: str) -> list[str]:
    """Words that blanks separate."""
    return text.split()


_FIRST = listed(
    """
    Ada Amina Anders Beatriz Bruno Carmen Chidi Clara Daniel Dilip Edith Elena Emeka Farah Felix Gita Greta Hana
    Hugo Ines Ivan Jamal Jana Jonas Kemal Kira Lars Leila Lin Luca Maja Marek Mei Milan Nadia Nils Noor Olga
    Omar Paula Pedro Priya Rafael Rosa Samir Sofia Tariq Tessa Viktor Wanda Yara Yusuf Zofia
    """
)
_LAST = listed(
    """
    Abara Almeida Andersson Banerjee Becker Bellini Castro Chen Costa Dietrich Duarte Eriksen Fischer Fontana
    Garcia Haddad Hansen Horvath Ibrahim Ivanova Jansen Kapoor Keller Kowalski Kuznetsov Larsen Lindqvist Marino
    Mbeki Meyer Moreau Nakamura Novak Okafor Olsen Park Petrov Quinn Rahman Ricci Rossi Sato Schneider Silva
    Singh Tanaka Torres Ueda Vargas Weber Yilmaz Zhang
    """
)
_TOWN = listed(
    """
    Aarhus Alder|Bay Ashford Bergen Brno Cedar|Falls Coimbra Cork Dakar Delft Elm|Grove Fez Galway Ghent Graz
    Green|Harbour Haifa Izmir Jaipur Kazan Kigali Lagos Leeds Lima Little|Haven Lund Lyon Malmo Mombasa
    New|Aldwick North|Lindow Oslo Osaka Perth Porto|Verde Pune Quito Riga Saint|Orlan Salta Seville Split
    Tampere Tartu Upper|Merton Utrecht Varna Vilnius Windhoek York Zadar
    """
)
_COMPANY = listed(
    """
    Alba Amber Apex Baltic Beacon Blue|River Cobalt Copper|Hill Crescent Delta Ember Falcon Granite Harbor
    Indigo Juniper Kestrel Lantern Meridian North|Star Oak|Lane Orbit Pioneer Quartz Redwood Summit Tidal Umbra
    Vector Willow
    """
)
_KIND = listed(
    "Airways Bank Books Energy Foods Group Hospital|Trust Institute Labs Motors Press Railways Shipping United"
)
_EVENT = listed(
    """
    Autumn Coastal Grand Harvest Lakeside Midnight Northern Silver Spring Summer Winter Golden Open|Air
    Riverside
    """
)
_OCCASION = listed("Cup Fair Festival Games Marathon Open|Day Regatta Summit Trophy Week")

ENTITIES = {
    "PER": (_FIRST, _LAST),
    "LOC": (_TOWN,),
    "ORG": (_COMPANY, _KIND),
    "MISC": (_EVENT, _OCCASION),
}
PLAIN = {
    "month": listed("January February March April May June July August September October November December"),
    "day": listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
    "place": listed("bridge library station museum harbour theatre market school factory stadium tower garden"),
    "adjective": listed("quiet small famous strange modern rusty bright costly careful wooden huge forgotten early"),
    "thing": listed("engine painting report boat machine novel song map garden recipe telescope clock plan letter"),
    "verb": listed("built painted repaired sold restored planned described visited tested designed"),
    "number": listed("3 7 12 18 24 30 45 60 90 150 400 1200 1987 1994 2003 2011"),
}


def generate_sentences(split: Literal["train", "dev"]) -> list[Sentence]:
    """The sentences of a split, in a fixed order; no sentence of "dev" is in "train"."""
    train = [_sentence(row) for row in choices(SEED, 0, TRAIN_SENTENCES)]
    if split == "train":
        return train
    seen = set(train)
    dev = (_sentence(row) for row in choices(SEED, 1, DEV_SENTENCES))
    return [sentence for sentence in dev if sentence not in seen]


def generator_digest() -> str:
    """Changes whenever the sentences do, without making them. Raise VERSION with a change of the functions below."""
    inputs = (VERSION, SEED, TRAIN_SENTENCES, DEV_SENTENCES, TEMPLATES, ENTITIES, PLAIN)
    return hashlib.sha256(repr(inputs).encode()).hexdigest()


def choices(seed: int, stream: int, count: int) -> list[list[int]]:
    """Numbers below 2**31 for `count` sentences, CHOICES each."""
    keys = sample_keys(seed, stream, np.arange(count))
    chosen: list[list[int]] = below(draw_rows(keys, 0, CHOICES), 1 << 31).tolist()
    return chosen


def _sentence(row: list[int]) -> Sentence:
    rest = iter(row)
    words: list[str] = []
    tags: list[str] = []
    for slot in pick(TEMPLATES, next(rest)).split():
        name = slot[1:-1] if slot.startswith("{") else ""
        if name in ENTITIES:
            entity = [word for part in ENTITIES[name] for word in pick(part, next(rest)).split("|")]
            words += entity
            tags += [f"B-{name}", *[f"I-{name}"] * (len(entity) - 1)]
        else:
            words.append(pick(PLAIN[name], next(rest)) if name else slot)
            tags.append("O")
    return Sentence(tuple(words), tuple(tags))


def pick(options: Sequence[Item], choice: int) -> Item:
    """The option that the number `choice` stands for."""
    return options[choice % len(options)]
