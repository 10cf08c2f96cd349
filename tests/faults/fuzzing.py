"""Inputs that nobody meant to write, for every parser of a user's files: a sentence is the only allowed answer.

`make test` makes 500 inputs a parser, `make proof ARGS=fuzz` 10,000. What was once found is kept in `found/PARSER/`
and tried again by every run.
"""

from __future__ import annotations

import hashlib
import resource
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from parsers import PARSERS as PARSERS
from parsers import Parser, Read

from bench.errors import TrialError, UserError
from bench.quoting import printable

FOUND = Path(__file__).with_name("found")
SLOW_S = 5.0
HUNG_S = 60.0
MEMORY_BYTES = 300_000_000
LONGEST_SENTENCE = 5_000


@dataclass
class Outcome:
    """Of one parser: how many inputs it was given, and the sentence of the first that was not answered as it must."""

    inputs: int = 0
    problem: str | None = None
    slowest_s: float = 0.0


def fuzz(parser: Parser, inputs: int, folder: Path, seed: int | None = None) -> Outcome:
    """Gives `parser` the kept files, then so many new ones, for one seed always the same. What it finds is written to
    `found`."""
    outcome = Outcome()
    path = folder / parser.file
    for kept in [*parser.samples, *_kept(parser)]:
        _try(parser, kept, path, outcome)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    @settings(
        max_examples=inputs, derandomize=seed is None, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.randoms(use_true_random=True))  # one draw: hypothesis takes ten times as long for an input of 30
    def each(draw: Random) -> None:
        if outcome.problem is None:
            _try(parser, _made(parser, draw), path, outcome)

    (each if seed is None else seeded(seed)(each))()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    if outcome.problem is None and grown > MEMORY_BYTES:
        outcome.problem = f"{parser.name}: memory grew by {grown / 1e6:.0f} MB"
    return outcome


def _try(parser: Parser, content: bytes, path: Path, outcome: Outcome) -> None:
    path.write_bytes(content)
    begun = time.process_time()  # other processes of a busy machine do not count
    problem = None
    try:
        _unless_hung(parser.read, path)
    except TrialError as error:  # of a rank: its row is cleaned where it is shown
        problem = None if str(error).strip() else "the answer is empty"
    except UserError as error:
        sentence = printable(str(error)).strip()  # as the command shows it
        if not 0 < len(sentence) <= LONGEST_SENTENCE:
            problem = f"the answer is no sentence: {sentence[:200]!r}"
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        problem = f"{type(error).__name__}: {error}"
    took_s = time.process_time() - begun
    outcome.inputs += 1
    outcome.slowest_s = max(outcome.slowest_s, took_s)
    if problem is None and took_s > SLOW_S:
        problem = f"it took {took_s:.1f} s"
    if problem is not None and outcome.problem is None:
        outcome.problem = f"{parser.name}: {problem}; the input is {content[:200]!r}"
        (FOUND / parser.name).mkdir(exist_ok=True, parents=True)
        (FOUND / parser.name / hashlib.sha256(content).hexdigest()[:12]).write_bytes(content)


def _unless_hung(read: Read, path: Path) -> None:
    def end(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not answered within {HUNG_S:.0f} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, HUNG_S)
    try:
        read(path)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _kept(parser: Parser) -> Iterator[bytes]:
    for path in sorted((FOUND / parser.name).glob("*")):
        yield path.read_bytes()


def _made(parser: Parser, draw: Random) -> bytes:
    """A good file with up to 8 edits: cut, overwritten, repeated, or with a word of the grammar put in; a well-formed odd
    one; or noise."""
    kind = draw.random()
    if kind < 0.1:
        return draw.randbytes(draw.randint(0, 400))
    if parser.deep is not None and kind < 0.55:
        return parser.deep(draw)
    content = draw.choice(parser.samples)
    for _ in range(draw.randint(1, 8)):
        content = _edited(content, draw, parser.words)
    return content


def _edited(content: bytes, draw: Random, words: Sequence[bytes]) -> bytes:
    kind = draw.choice(("cut", "drop", "put", "flip", "repeat"))
    at, length = draw.randint(0, len(content)), draw.randint(1, 40)
    if kind == "cut":
        return content[:at]
    if kind == "drop":
        return content[:at] + content[at + length :]
    if kind == "put":
        put = draw.choice(words) if draw.random() < 0.5 else draw.randbytes(draw.randint(1, 12))
        return content[:at] + put + content[at:]
    if kind == "flip":
        return content[:at] + bytes(byte ^ length for byte in content[at : at + 1]) + content[at + 1 :]
    return content[: at + length] * 2 + content[at + length :]


def part(parser: Parser, inputs: int) -> Callable[[np.random.Generator], Any]:
    """For tests/proof: one parser, all its inputs; raises where one was not answered as it must."""

    def prove(draw: np.random.Generator) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            outcome = fuzz(parser, inputs, Path(folder), int(draw.integers(2**31)))
        if outcome.problem is not None:
            raise AssertionError(outcome.problem)
        return {"inputs": outcome.inputs}

    return prove
