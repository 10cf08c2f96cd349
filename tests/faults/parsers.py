"""Every parser of a user's files: what it is given to start from, and what its grammar knows."""

from __future__ import annotations

import atexit
import functools
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import odd
import pyarrow as pa
from pyarrow import parquet

from bench import collect, importers, journal, selfcheck, storage, study
from bench.baselines import History
from bench.errors import UserError
from bench.hosts import spec
from bench.launch.commands import Cluster, parse_hostfile, parse_hosts
from bench.launch.execute import Ended
from bench.launching import assign
from bench.points import Header
from bench.records import (
    Assignment,
    Line,
    Plan,
    Record,
    Repeat,
    Result,
    Sweep,
    Timing,
    Traced,
    Trial,
    Verification,
    Workload,
)
from bench.storage import Damaged
from bench.trial_checks import check_trial
from bench.workload import conll, examples, models, pretrained, text, vocabulary
from bench.yaml_source import Source

ROOT = Path(__file__).resolve().parents[2]
Read = Callable[[Path], object]


@dataclass(frozen=True)
class Parser:
    """`read` is given a file of this name. `samples` are good files to start from, `words` what its grammar knows,
    `deep` makes files that are well-formed and hold something odd (odd.py)."""

    name: str
    file: str
    read: Read
    samples: Sequence[bytes]
    words: Sequence[bytes]
    deep: odd.Make | None = None


# ---- what is read -----------------------------------------------------------------------------------------------

SEALED: tuple[type[Record], ...] = (Result, Plan, Repeat, Verification, Sweep, Traced, History)


def _sealed(path: Path) -> object:
    """What lies under the checksum too: a file that says of itself that it is whole."""
    content = path.read_bytes()
    said = ""
    for candidate in (content, storage.with_checksum(content)):
        for kind in SEALED:
            try:
                return storage.unseal(candidate, kind)
            except Damaged as damage:
                said = str(damage)
    raise UserError(said)


def _imported(path: Path) -> None:
    found = importers.read([path])
    for kind in ("text", "csv", "json"):
        assert importers.render(found, kind)


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="surrogateescape")


@functools.cache
def _launch() -> tuple[Path, Assignment, bytes]:
    """A launch of two ranks as they left it, in a folder of its own, and what the second one wrote."""
    folder = Path(tempfile.mkdtemp(prefix="paceline-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    trial = Trial(
        backend="null", launcher="local", workload=Workload(sequence_length=16, batch_per_replica=2),
        timing=Timing(warmup_windows=1, windows=2, steps_per_window=2, local_windows=True),
        options={"step_ms": 1.0, "exchange_ms": 1.0},
    )  # fmt: skip
    prepared = selfcheck.run.prepare(trial, folder, selfcheck.run.Observer())
    assignment = assign(trial, prepared, Cluster(), selfcheck.HERE)
    selfcheck.run_assignment(assignment, folder / "launch")
    return folder / "launch", assignment, (folder / "launch" / "rank-1.jsonl").read_bytes()


def _collected(path: Path) -> None:
    """The other rank's file is a good one. Whatever a rank wrote, it must cost its own launch only."""
    folder, assignment, _ = _launch()
    (folder / path.name).write_bytes(path.read_bytes())
    collect.collect(folder, assignment, [], "", Ended(0, None, 1))


@functools.cache
def _lines() -> odd.Make:
    return odd.trees([[json.loads(line) for line in _launch()[2].splitlines()]], odd.as_lines)


def _model(path: Path) -> None:
    asked = Trial(backend="null", workload=Workload(model=str(path.parent), task="ner", sequence_length=16))
    check_trial(Source("s.yaml", "", {}), asked)
    models.model_labels(asked.workload)


# ---- good files -------------------------------------------------------------------------------------------------


def _parquet() -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.table({"label": ["a", "b"], "text": ["one two", "three"]}), sink)
    return sink.getvalue()


def _weights() -> bytes:
    from safetensors.numpy import save

    return save({name: np.ones(shape, np.float32) for name, shape in SHAPES.items()})


def _tokenizer() -> bytes:
    learnt = vocabulary.train_vocabulary(["one two three", "Four five"], 200)
    return str(learnt.tokenizer.to_str()).encode()


SHAPES = {"bert.embeddings.word_embeddings.weight": (3, 2), "bert.pooler.dense.bias": (2,)}
TRIAL: dict[str, Any] = msgspec.to_builtins(Trial(backend="null", launcher="local", replicas=1))
STUDIES: list[dict[str, Any]] = [
    {"name": "s", "backend": "null", "launcher": "local", **section}
    for section in (
        *({name: value} for name, value in TRIAL.items() if isinstance(value, dict)),
        {name: value for name, value in TRIAL.items() if not isinstance(value, dict)},
        msgspec.to_builtins(Header(name="s")),
        {"options": {"step_ms": [1, 2.5], "fault": "raise"}, "replicas": 2},
        {"matrix": {"replicas": [1, 2], "workload.seed": [1, 2], "options.step_ms": [1, [2, 3]]}, "ladder": True},
    )
]
LINES = [odd.filled(kind) for kind in get_args(Line)]
NCCL = {
    "version": 2, "nccl_version": 22905, "args": ["./all_reduce_perf", "-a", "3"],
    "config": {"nthreads": 1, "ngpus": 2, "devices": [{"rank": 0, "hostname": "a"}]},
    "results": [{"size": 16, "count": 4, "type": "float", "redop": "sum",
                 "out_of_place": {"alg_bw": 1.5, "bus_bw": 1.5, "time": 1.5, "nwrong": 0},
                 "in_place": {"alg_bw": 1.5, "bus_bw": 1.5, "cpu_time": 1.5, "nwrong": "N/A"}}],
}  # fmt: skip
PYTEST = {
    "benchmarks": [
        {"fullname": "a::b", "stats": {"median": 0.2, "total": 0.5, "rounds": 2, "data": [0.1, 0.2]}, "extra_info": {}},
        {"fullname": "a::c", "stats": {"median": 0.2, "total": 0.5, "rounds": 2},
         "extra_info": {"paceline": {"replicas": 2, "model": "tiny", "batch_per_replica": 8,
                                     "launch_rates": [99.0, 100.0, 101.0]}}},
    ],
    "machine_info": {}, "version": "5",
}  # fmt: skip
HOROVOD = (
    b"Model: resnet50\nBatch size: 32\nNumber of GPUs: 4\nIter #0: 100.0 img/sec per GPU\n"
    b"Iter #1: 99.0 img/sec per GPU\nTotal img/sec on 4 GPU(s): 398.0 +-1.2\n"
)
HOROVOD_WORDS = [b"img/sec per GPU", b"Iter #1:", b"nan", b"0", b"0.0", b"-1", b"1e999", b"9" * 400, b"1.2.3",
                 b"0." + b"0" * 320 + b"1", b"Model:"]  # fmt: skip
CONFIG = {
    "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 100,
    "intermediate_size": 64, "max_position_embeddings": 512, "type_vocab_size": 2, "hidden_act": "gelu",
    "layer_norm_eps": 1e-12, "initializer_range": 0.02, "position_embedding_type": "absolute",
    "id2label": {"0": "O", "1": "B-X", "2": "I-X"},
}  # fmt: skip
HOSTS = [b"h1 slots=2\nh2 slots=4 # comment\n", b"localhost\n"]
HOST_WORDS = [b"slots=", b"slots=-1", b"slots=99999999999999999999", b"$(id)", b";", b"-oProxyCommand=", b"\0", b"#"]
CONLL = b"-DOCSTART- O\n\nEU B-ORG\nrejects O\n\nPeter\tB-PER\n"
CONLL_WORDS = [b"\tB-", b" I-X", b"\n\n", b"# ", b"\r", b"O", b" \xc2\xa0", b"\xe2\x80\xa8", b"x" * 3_000]
TEXT = b" = One = \n\nOne. Two.\n\n = = Part = = \n\nThree four five.\n"
TEXT_WORDS = [b"\n\n", b"\r\n", b"\f", b"\0", b"=", b" = ", b"= " * 3_000, b" " * 3_000]
EXAMPLES = b"label\ttext\na\tone two\nb\tthree\n"
EXAMPLE_WORDS = [b"\t", b"\n", b'"', b"label\ttext", b"x" * 3_000, b" "]
TOKENIZER = _tokenizer()
VOCABULARY = b"\n".join([*(name.encode() for name in vocabulary.SPECIAL), b"one", b"##s", b"Two"])

_JSON, _PRINTED = odd.trees([NCCL, PYTEST], odd.as_json), odd.lines([HOROVOD], HOROVOD_WORDS)

PARSERS = [
    Parser(
        "study", "s.yaml", study.load,
        [path.read_bytes() for path in sorted((ROOT / "studies").glob("*.yaml"))],
        [b"matrix:\n", b"backend: ", b"[1, 2]", b"&a ", b"*a", b"<<: *a", b"!!python/object:os.system ", b"---\n",
         b"replicas: -1\n", b"9" * 400, b".inf", b".nan", b"? ", b"{", b"}", b"|\n", b"%YAML 1.1\n", b"\t", b"null",
         b"!!bool x", b"!!omap", b"0x" + b"f" * 5_000, b'"\\Uffffffff"', b"2001-13-45", b"x: &a [*a]\n"],
        odd.trees(STUDIES, odd.as_json),
    ),
    Parser("host file", "hosts", parse_hostfile, HOSTS, HOST_WORDS, odd.lines(HOSTS, HOST_WORDS)),
    Parser("hosts", "h", lambda path: parse_hosts(_text(path)), [b"h1:2,h2:4", b"h1"], [b",", b":", b":-1", b"`id`"]),
    Parser(
        "emulated hosts", "h", lambda path: spec.parse(_text(path)), [b"4@1gbit", b"2x2@200mbit+2ms"],
        [b"@", b"x", b"+", b"e9", b"gbit", b"99999999999", b"9" * 400, b"9" * 5_000, b"-", b"0", b"."],
    ),
    Parser("CoNLL", "n.conll", conll.read_conll, [CONLL], CONLL_WORDS, odd.lines([CONLL], CONLL_WORDS)),
    Parser("text", "t.txt", text.read_source, [TEXT], TEXT_WORDS, odd.lines([TEXT], TEXT_WORDS)),
    Parser("examples", "e.tsv", examples.read_examples, [EXAMPLES], EXAMPLE_WORDS, odd.lines([EXAMPLES], EXAMPLE_WORDS)),
    Parser("Parquet", "e.parquet", examples.read_examples, [_parquet()], [b"PAR1", b"\0" * 8, b"\xff" * 8],
           odd.tables(["label", "text"])),
    Parser("Parquet text", "t.parquet", text.read_source, [_parquet()], [b"PAR1", b"\0" * 8], odd.tables(["text"])),
    Parser(
        "imported", "i", _imported, [HOROVOD, json.dumps(NCCL).encode(), json.dumps(PYTEST).encode()],
        [*HOROVOD_WORDS, b"null", b"[]", b"{}", b'"', b"[" * 5_000],
        lambda draw: draw.choice((_JSON, _PRINTED))(draw),
    ),
    Parser("rank file", "rank-0.jsonl", lambda path: journal.read(path.parent, 0), [odd.as_lines(LINES)],
           [b"\n", b'{"type":'], odd.trees([LINES], odd.as_lines)),
    Parser("launch", "rank-1.jsonl", _collected, [odd.as_lines(LINES)], [b"\n"], lambda draw: _lines()(draw)),
    Parser(
        "sealed record", "v.json", _sealed, [odd.as_json(odd.filled(kind)) for kind in SEALED],
        [b'"schema":', b"1e400", b"null", b"[[[[", b'","checksum":"'],
        odd.trees([odd.filled(kind) for kind in SEALED], odd.as_json),
    ),
    Parser("model", "config.json", _model, [odd.as_json(CONFIG)], [b"null", b"NaN", b"1e400", b"[" * 5_000],
           odd.trees([CONFIG], odd.as_json)),
    Parser("weights", "model.safetensors", lambda path: pretrained.read_pretrained(path, SHAPES), [_weights()],
           [b"\0" * 8, b"\xff" * 8, b'"F32"', b'"BF16"', b"-1", b"9" * 30]),
    Parser("tokenizer", "tokenizer.json", lambda path: vocabulary.read_vocabulary(path, 30_522), [TOKENIZER],
           [b"null", b"-1", b"[MASK]"], odd.trees([json.loads(TOKENIZER)], odd.as_json)),
    Parser("vocabulary", "vocab.txt", lambda path: vocabulary.read_vocabulary(path, 30_522), [VOCABULARY],
           [b"\n", b"[PAD]", b"\0"], odd.lines([VOCABULARY], [b"[PAD]", b"##", b" "])),
]  # fmt: skip
