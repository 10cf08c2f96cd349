"""Inputs that nobody meant to write, for every parser of a user's files: a sentence is the only allowed answer.

`make test` makes 500 inputs a parser, `make proof ARGS=fuzz` 10,000. What was once found is kept in `found/PARSER/`
and tried again by every run.
"""

from __future__ import annotations

import hashlib
import io
import json
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from bench import importers, journal, storage, study
from bench.errors import TrialError, UserError
from bench.hosts import spec
from bench.launch.commands import parse_hostfile, parse_hosts
from bench.records import RankInfo, SetupTimes, Verification
from bench.storage import Damaged
from bench.workload import conll, examples, text

ROOT = Path(__file__).resolve().parents[2]
FOUND = Path(__file__).with_name("found")
SLOW_S = 5.0
MEMORY_BYTES = 300_000_000
Read = Callable[[Path], object]


@dataclass(frozen=True)
class Parser:
    """`read` is given a file of this name. `samples` are good files to start from, `words` what its grammar knows."""

    name: str
    file: str
    read: Read
    samples: Sequence[bytes]
    words: Sequence[bytes]


def _parquet() -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.table({"label": ["a", "b"], "text": ["one two", "three"]}), sink)
    return sink.getvalue()


def _sealed(path: Path) -> object:
    """What lies under the checksum too: a file that says of itself that it is whole."""
    content = path.read_bytes()
    for candidate in (content, storage.with_checksum(content) if content[-1:] == b"}" else content):
        try:
            return storage.unseal(candidate, Verification)
        except Damaged:
            continue
    raise UserError("damaged")


RANK_FILE = b"".join(
    msgspec.json.encode(line) + b"\n"
    for line in (
        RankInfo(rank=0, host="h", pid=1, launcher="local"),
        SetupTimes(start_ns=1, build_ns=2, first_step_ns=3),
    )
)
NCCL = {
    "version": 2, "args": ["all_reduce_perf"], "config": {"ngpus": 2, "devices": [{"rank": 0, "hostname": "a"}]},
    "results": [{"size": 16, "count": 4, "type": "float", "redop": "sum", "out_of_place": {"time": 1.5}}],
}  # fmt: skip
PYTEST = {
    "benchmarks": [{"name": "test_a", "fullname": "a::test_a", "stats": {"median": 0.2, "data": [0.1, 0.2]}}],
    "machine_info": {}, "version": "5",
}  # fmt: skip
HOROVOD = b"Model: resnet50\nBatch size: 32\nNumber of GPUs: 4\nIter #0: 100.0 img/sec per GPU\n"

PARSERS = [
    Parser(
        "study", "s.yaml", study.load,
        [path.read_bytes() for path in sorted((ROOT / "studies").glob("*.yaml"))],
        [b"matrix:\n", b"backend: ", b"[1, 2]", b"&a ", b"*a", b"<<: *a", b"!!python/object:os.system ", b"---\n",
         b"replicas: -1\n", b"9" * 400, b".inf", b".nan", b"? ", b"{", b"}", b"|\n", b"%YAML 1.1\n", b"\t", b"null"],
    ),
    Parser(
        "host file", "hosts", parse_hostfile, [b"h1 slots=2\nh2 slots=4 # comment\n", b"localhost\n"],
        [b"slots=", b"slots=-1", b"slots=99999999999999999999", b"$(id)", b";", b"-oProxyCommand=", b"\0", b"#"],
    ),
    Parser("hosts", "h", lambda path: parse_hosts(_text(path)), [b"h1:2,h2:4", b"h1"], [b",", b":", b":-1", b"`id`"]),
    Parser(
        "emulated hosts", "h", lambda path: spec.parse(_text(path)), [b"4@1gbit", b"2x2@200mbit+2ms"],
        [b"@", b"x", b"+", b"e9", b"gbit", b"99999999999", b"-", b"0", b"."],
    ),
    Parser(
        "CoNLL", "n.conll", conll.read_conll, [b"-DOCSTART- O\n\nEU B-ORG\nrejects O\n\nPeter\tB-PER\n"],
        [b"\tB-", b" I-X", b"\n\n", b"# ", b"\r", b"O", b" \xc2\xa0", b"\xe2\x80\xa8"],
    ),
    Parser("text", "t.txt", text.read_source, [b"One. Two.\n\nThree four five.\n"], [b"\n\n", b"\r\n", b"\f", b"\0"]),
    Parser("examples", "e.tsv", examples.read_examples, [b"label\ttext\na\tone two\nb\tthree\n"], [b"\t", b"\n", b'"']),
    Parser("Parquet", "e.parquet", examples.read_examples, [_parquet()], [b"PAR1", b"\0" * 8, b"\xff" * 8]),
    Parser(
        "imported", "i", lambda path: importers.read([path]),
        [HOROVOD, json.dumps(NCCL).encode(), json.dumps(PYTEST).encode()],
        [b"img/sec per GPU", b"Iter #1: nan", b"1e999", b"-1", b"null", b"[]", b"{}", b'"', b"[" * 200, b"9" * 400],
    ),
    Parser("rank file", "rank-0.jsonl", lambda path: journal.read(path.parent, 0), [RANK_FILE], [b"\n", b'{"type":']),
    Parser(
        "sealed record", "v.json", _sealed, [b'{"study":"s","environment":null,"trials":[],"rejected":[],"schema":3}'],
        [b'"schema":', b"1e400", b"null", b"[[[[", b'","checksum":"'],
    ),
]  # fmt: skip


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="surrogateescape")


@dataclass
class Outcome:
    """Of one parser: how many inputs it was given, and the sentence of the first that was not answered as it must."""

    inputs: int = 0
    problem: str | None = None
    slowest_s: float = 0.0


def fuzz(parser: Parser, inputs: int, folder: Path) -> Outcome:
    """Gives `parser` the kept files, then so many new ones. Deterministic. What it finds is written to `found`."""
    outcome = Outcome()
    path = folder / parser.file
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for kept in [*parser.samples, *_kept(parser)]:
        _try(parser, kept, path, outcome)

    @settings(
        max_examples=inputs, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(_mutations(parser))
    def each(content: bytes) -> None:
        if outcome.problem is None:
            _try(parser, content, path, outcome)

    each()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    if outcome.problem is None and grown > MEMORY_BYTES:
        outcome.problem = f"{parser.name}: memory grew by {grown / 1e6:.0f} MB"
    return outcome


def _try(parser: Parser, content: bytes, path: Path, outcome: Outcome) -> None:
    path.write_bytes(content)
    begun = time.monotonic()
    problem = None
    try:
        parser.read(path)
    except (UserError, TrialError) as error:
        if not str(error).strip() or len(str(error)) > 5_000 or "\n" in str(error).strip():
            problem = f"the answer is no sentence: {str(error)[:200]!r}"
    except BaseException as error:
        problem = f"{type(error).__name__}: {error}"
    took_s = time.monotonic() - begun
    outcome.inputs += 1
    outcome.slowest_s = max(outcome.slowest_s, took_s)
    if problem is None and took_s > SLOW_S:
        problem = f"it took {took_s:.1f} s"
    if problem is not None and outcome.problem is None:
        outcome.problem = f"{parser.name}: {problem}; the input is {content[:200]!r}"
        (FOUND / parser.name).mkdir(exist_ok=True, parents=True)
        (FOUND / parser.name / hashlib.sha256(content).hexdigest()[:12]).write_bytes(content)


def _kept(parser: Parser) -> Iterator[bytes]:
    for path in sorted((FOUND / parser.name).glob("*")):
        yield path.read_bytes()


def _mutations(parser: Parser) -> st.SearchStrategy[bytes]:
    """A good file with up to 8 edits: cut, overwritten, repeated, or with a word of the grammar put in; or noise."""
    edit = st.tuples(
        st.sampled_from(("cut", "drop", "put", "flip", "repeat")),
        st.floats(0, 1),
        st.integers(1, 40),
        st.one_of(st.sampled_from(list(parser.words)), st.binary(min_size=1, max_size=12)),
    )
    edited = st.builds(_edited, st.sampled_from(list(parser.samples)), st.lists(edit, min_size=1, max_size=8))
    return st.one_of(edited, edited, edited, st.binary(max_size=400))


def _edited(content: bytes, edits: Sequence[tuple[str, float, int, bytes]]) -> bytes:
    for kind, where, length, put in edits:
        at = int(where * len(content))
        if kind == "cut":
            content = content[:at]
        elif kind == "drop":
            content = content[:at] + content[at + length :]
        elif kind == "put":
            content = content[:at] + put + content[at:]
        elif kind == "flip":
            content = content[:at] + bytes(byte ^ (length & 0xFF) for byte in content[at : at + 1]) + content[at + 1 :]
        else:
            content = content[: at + length] * 2 + content[at + length :]
    return content


def part(parser: Parser, inputs: int) -> Callable[[np.random.Generator], Any]:
    """For tests/proof: one parser, all its inputs; raises where one was not answered as it must."""

    def prove(_: np.random.Generator) -> dict[str, Any]:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            outcome = fuzz(parser, inputs, Path(folder))
        if outcome.problem is not None:
            raise AssertionError(outcome.problem)
        return {"inputs": outcome.inputs}

    return prove
