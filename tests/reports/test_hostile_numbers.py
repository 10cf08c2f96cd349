"""Numbers that no machine should give: infinite, not a number, unknown, as large and as small as a double can be."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path

import msgspec
import pytest
from pyarrow import parquet

from bench.devices import Probe
from bench.errors import UserError
from bench.records import Evaluation, Worst
from bench.storage import with_checksum
from reports import exports, render
from reports.load import load
from reports.table import rows
from tests.reports.build import (
    ENVIRONMENT,
    Launch,
    alone,
    by_hand,
    equal,
    facts,
    launch_at,
    learning,
    trial_result,
    verified,
    window,
    write_run,
)
from tests.reports.test_html import Page, of

HUGE, TINY = 1e308, 1e-308
WORD = re.compile(r"\b(?:nan|NaN|inf|Infinity|None)\b")


def _learned(*values: float) -> list[Evaluation]:
    """The first loss is unknown, the second enormous."""
    losses = (None, HUGE, None)
    return [msgspec.structs.replace(one, loss=loss) for one, loss in zip(learning(*values), losses, strict=True)]


def _silent(rate: float, **changed) -> Launch:
    """A launch whose ranks know neither memory nor network."""
    made = launch_at(rate, **changed)
    unknown = {"rss_bytes": None, "received_bytes": None, "sent_bytes": None}
    made.ranks = [[msgspec.structs.replace(one, **unknown) for one in rank] for rank in made.ranks]
    return made


def _windows(duration_ms: float, samples: int) -> list[list]:
    """Two ranks that neither used a CPU nor waited."""
    idle = {"cpu_ns": 0, "input_wait_ns": 0, "tokens_real": 0}
    own = [window(index, duration_ms, samples, **idle) for index in (1, 2)]
    return [[window(0, 1, 1, warmup=True), *own]] * 2


def strange(folder: Path) -> Path:
    """Five trials with a speed each, of all ends of what a number can be."""
    said = facts(settings={"a": math.nan, "b": math.inf, "c": HUGE}, exchange_bytes=None, buckets=None, threads=None)
    rates = (99, 100, 101)
    bare = [_silent(50, ranks=1, facts=[alone()], setup=[], settled=None, warmup_windows=None) for _ in rates]
    small = [_silent(rate, facts=[said], losses=[TINY, 1.0], evaluations=_learned(0.1, 0.2, 0.3), started_utc="never")
             for rate in rates]  # fmt: skip
    large = [_silent(rate, losses=[HUGE, 1.0], evaluations=_learned(-1.0, 7.5, 0.0)) for rate in rates]
    trials = [
        trial_result("torch_bare", 1, bare),
        trial_result("torch_ddp", 2, small),
        trial_result("torch_horovod", 2, large),
        trial_result("tf_horovod", 2, [Launch(_windows(1e-6, 1), losses=[math.nan, math.inf])] * 3),
        trial_result("tf_mirrored", 2, [Launch(_windows(1e12, 2**50), facts=[], hosts=["h", "h"])] * 3),
    ]
    for result, _ in trials:
        for repeat in result.repeats:
            repeat.probes.append(Probe(rank=0, compute="float32", size=1, flop_per_s=HUGE, bytes_per_s=HUGE))
    nothing = Worst(where="x", given=None, expected=None, difference=None, allowed=0.0)
    most = Worst(where="x", given=HUGE, expected=-HUGE, difference=HUGE, allowed=HUGE)
    ids = [result.trial_id for result, _ in trials]
    known = [
        verified(ids[1], ids[0], losses=nothing, gradients=most, updates=None, steps=0),
        verified(ids[2], None, losses=most, gradients=nothing, updates=nothing),
    ]
    unknown = msgspec.structs.replace(ENVIRONMENT, load_average=math.nan, memory_bytes=None, cpu=None)
    changed = {"verification": known, "environment": unknown, "sentinel": ids[1]}
    return write_run(folder, trials, gates=[equal(name) for name in ids[1:]], **changed)


def _strictly(text: str):
    def refuse(name: str):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_what_is_not_finite_is_said_or_left_out_and_breaks_no_document(tmp_path):
    folder = strange(tmp_path / "run")
    document = _strictly(render(folder, "json"))
    assert [row["status"] for row in document["rows"]] == ["ok"] * 5
    assert {row["label"]: row["loss_difference"] for row in document["rows"]} == {
        "torch_bare": 0.0, "torch_ddp": 0.0, "torch_horovod": None, "tf_horovod": None, "tf_mirrored": None,
    }  # fmt: skip
    for format in ("csv", "md", "text"):
        assert WORD.findall(render(folder, format)) == []
        assert max(map(len, re.findall(r"\d+", render(folder, format)))) < 30  # no row of three hundred digits
    cells = [cell for line in csv.reader(io.StringIO(render(folder, "csv"), newline="")) for cell in line]
    assert all(math.isfinite(float(cell)) for cell in cells if re.fullmatch(r"[-+.\de]+", cell) and cell[-1].isdigit())
    page = Page(render(folder, "html"))
    assert _strictly(page.script) == document
    wanted = {key: of(document, key[0])[key[1]][key[2]] for key in page.numbers}
    assert page.numbers == {key: "" if value is None else str(value) for key, value in wanted.items()}
    assert [text for text in page.texts if WORD.search(text) and "const " not in text] == []  # but for the script
    assert page.texts.count("not finite") == 3  # set against the tiny loss two are enormous, and one is not a number
    assert "Largest relative difference of any step's loss: not finite." in "".join(page.texts)


def test_what_is_not_finite_is_null_in_parquet_and_every_chart_is_drawn(tmp_path):
    folder = strange(tmp_path / "run")
    exports.write(folder, "parquet", tmp_path / "tables")
    table = parquet.read_table(tmp_path / "tables" / "rows.parquet")
    assert table["loss_difference"].null_count == 3
    exports.write(folder, "charts", tmp_path / "charts")
    for path in (tmp_path / "charts").glob("*.svg"):
        assert not re.search(r"\b(?:nan|inf)\b", path.read_text(encoding="utf-8"))
    assert len(list((tmp_path / "charts").glob("*.png"))) > 8


def test_a_loss_that_is_not_finite_is_an_infinite_difference(tmp_path):
    found = {row.label: row.loss_difference for row in rows(load(strange(tmp_path)))}
    assert found == {
        "torch_bare": 0.0, "torch_ddp": 0.0, "torch_horovod": math.inf, "tf_horovod": math.inf, "tf_mirrored": math.inf,
    }  # fmt: skip


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "1e999", "null"])
def test_a_result_with_a_number_that_is_none_is_refused_in_one_sentence(tmp_path, literal):
    path = by_hand(tmp_path, environment=msgspec.structs.replace(ENVIRONMENT, cores=77)) / "result.json"
    body = path.read_bytes().rpartition(b',"sha256"')[0] + b"}"
    path.write_bytes(with_checksum(body.replace(b'"cores":77', f'"cores":{literal}'.encode())))
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}: it is (?:no Result|cut off or damaged): ") as caught:
        render(tmp_path, "html")
    assert "\n" not in str(caught.value)
