"""What a person reads of a sweep."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from bench.errors import UserError
from bench.records import CollectiveLaunch, CollectiveRequest, CollectiveTimes, Sweep
from bench.storage import seal
from reports import collectives, collectives_chart, exports
from reports.collectives_page import render_page
from tests.collectives.virtual import swept, trial
from tests.reports.test_html import Page

HOSTILE = "<script>alert(1)</script> {{ 7 * 7 }} \x1b[31m\u202e"
SIZES = (4096, 65536, 1048576)
LATENCY_NS = {"ring": 300_000, "tree": 100_000}
PER_BYTE_NS = {"ring": 1, "tree": 2}


def launch(algorithm: str, repeat: int, **changes: object) -> CollectiveLaunch:
    """Of two ranks, the first always 10 us faster."""
    asked = trial(backend="torch_ddp", options={}, allreduce=algorithm)
    times = []
    for rank in range(2):
        of_rank = []
        for elements in ([], *([size // 4] for size in SIZES)):
            sizes = elements or [1000, 60_000]
            took = sum(LATENCY_NS[algorithm] + 4 * each * PER_BYTE_NS[algorithm] for each in sizes) - 10_000 * (
                not rank
            )
            request = CollectiveRequest(elements=elements, algorithm=algorithm)
            given = CollectiveTimes(
                request=request, elements=sizes, algorithm=algorithm, evidence=HOSTILE, operations=1,
                duration_ns=[took] * 20, exact=True,
            )  # fmt: skip
            of_rank.append(msgspec.structs.replace(given, **changes) if rank and elements == [1024] else given)
        times.append(of_rank)
    return CollectiveLaunch(
        trial_id=asked.id, repeat=repeat, started_utc="", wall_ns=1, command=["run", HOSTILE], error=None, times=times
    )


def two_algorithms(**changes: object) -> Sweep:
    launches = [launch(name, repeat, **changes) for name in ("ring", "tree") for repeat in range(3)]
    trials = [trial(backend="torch_ddp", options={}, allreduce=name) for name in ("ring", "tree")]
    requests = {name: [each.request for each in launch(name, 0).times[0]] for name in ("ring", "tree")}
    made = swept(trials, launches, [])
    from bench.sweep import derived

    made = derived(made, {each.id: requests[each.allreduce] for each in trials})
    refused = trial(backend="torch_ddp", options={}, allreduce="star")
    reason = "torch_ddp cannot select all-reduce star; it has auto, ring, tree"
    also = msgspec.structs.replace(refused, allreduce="hierarchical")
    return msgspec.structs.replace(made, rejected=[(refused, reason), (also, reason.replace("star", "hierarchical"))])


def test_the_table_in_a_terminal() -> None:
    assert collectives.render_text(two_algorithms(), color=False) == (Path(__file__).parent / "golden.txt").read_text()


def test_the_table_fits_eighty_columns_and_colour_changes_no_letter() -> None:
    sweep = two_algorithms(exact=False)
    plain = collectives.render_text(sweep, color=False)
    assert max(map(len, plain.splitlines())) <= 80
    assert re.sub(r"\x1b\[\d*m", "", collectives.render_text(sweep, color=True)) == plain


def test_a_wrong_result_has_its_sentence_and_no_number_anywhere() -> None:
    sweep = two_algorithms(exact=False)
    said = "torch_ddp \u00d72, ring, all-reduce of 4.10 kB: withheld: torch_ddp: the result on rank 1 is wrong (launch 0, ring"
    assert collectives.failures(sweep)[0].startswith(said)
    assert len(collectives.failures(sweep)) == 2
    rows = list(csv.DictReader(io.StringIO(collectives.as_csv(sweep), newline="")))
    assert [row["seconds"] == "" for row in rows] == [False, True, False, False] * 2 + [True] * 2
    assert rows[1]["reason"].startswith("withheld: torch_ddp: the result on rank 1 is wrong")


def test_a_ratio_that_does_not_clear_one_is_said_to_show_no_difference() -> None:
    sweep = two_algorithms()
    (found,) = sweep.crossovers
    (shown,) = collectives.crossover_sentences(sweep)
    assert shown.endswith("0.815 times the ring's time (95 % interval 0.815 to 0.815)")
    open_ = msgspec.structs.replace(found, own_ratio=0.95, own_low=0.85, own_high=1.06)
    (sentence,) = collectives.crossover_sentences(msgspec.structs.replace(sweep, crossovers=[open_]))
    assert sentence.endswith("0.950 times the ring's time (95 % interval 0.850 to 1.060), no difference shown")


def test_the_csv_has_base_units_and_every_rank() -> None:
    """64 KiB by the ring: 300 us + 65.536 us; the faster rank 10 us less. 65536 B / 365.536 us = 179.3 MB/s."""
    rows = list(csv.DictReader(io.StringIO(collectives.as_csv(two_algorithms()), newline="")))
    row = rows[2]
    assert float(row["seconds"]) == pytest.approx(365_536e-9)
    assert row["seconds_of_each_rank"] == "0.000355536; 0.000365536"
    assert float(row["algbw_bytes_per_second"]) == pytest.approx(65_536 / 365_536e-9)
    assert (row["size_bytes"], row["exact"], row["algorithm_ran"], row["tensors"]) == ("65536", "True", "ring", "1")
    assert rows[-1]["reason"] == "torch_ddp cannot select all-reduce hierarchical; it has auto, ring, tree"


def test_the_page_asks_nothing_and_shows_text_as_text() -> None:
    page = render_page(two_algorithms(exact=False))
    assert page.count("<script") == 2 and "javascript:" not in page and " style=" not in page
    assert "script-src &#39;sha256-" in page and "unsafe" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; {{ 7 * 7 }} \\u001b[31m\\u202e" in page
    shown = page.partition('<script type="application/json"')[0]
    assert shown.count("the result on rank 1 is wrong") == 4  # a caution and the row, of ring and of tree


def test_every_number_on_the_page_is_that_of_the_csv() -> None:
    sweep = two_algorithms()
    page = Page(render_page(sweep))
    exported = json.loads(page.script)
    rows = list(csv.DictReader(io.StringIO(collectives.as_csv(sweep), newline="")))
    assert [{name: _text(cell) for name, cell in row.items()} for row in exported["rows"]] == rows
    assert page.numbers == {key: _text(exported[key[0]][key[1]][key[2]]) for key in page.numbers}
    assert {column for path, _, column in page.numbers if path == "rows"} >= {"seconds", "seconds_p95", "launches"}
    drawn = [row for row in sweep.rows if len(row.request.elements) == 1]
    assert len(exported["points"]) == len(drawn) == 6
    ring = exported["points"][0]
    assert (ring["size_bytes"], ring["time_ms"], ring["launches"]) == (4096, pytest.approx(0.304096), 3)


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def test_the_chart_marks_the_models_buckets_reads_out_its_marks_and_is_the_same_every_time() -> None:
    sweep = two_algorithms()
    (figure,) = collectives_chart.figures(sweep, collectives_chart.points(sweep))
    drawn = figure.chart.inline(10.0)
    assert drawn == figure.chart.inline(10.0)
    assert "tensors of this model's exchange: 4.00 kB, 240 kB" in drawn
    root = ElementTree.fromstring(drawn)
    assert "torch_ddp \u00d72, ring: 0.304 ms at 4.10 kB, 1.35 ms at 1.05 MB" in root.attrib["aria-label"]
    told = [element.attrib["data-tell"] for element in root.iter() if "data-tell" in element.attrib]
    assert len(told) == 6 + 2  # three sizes of two algorithms, two sizes of tensors
    assert "torch_ddp \u00d72, ring, 4.10 kB: 0.304 ms, 95 % interval 0.304 to 0.304, n = 3; algbw 0.0135 GB/s" in told


def test_its_charts_are_exported_and_what_it_has_not_is_refused(tmp_path: Path) -> None:
    (tmp_path / "collectives.json").write_bytes(seal(two_algorithms()))
    exports.write(tmp_path, "charts", tmp_path / "charts")
    assert sorted(path.name for path in (tmp_path / "charts").iterdir()) == ["all-reduce.png", "all-reduce.svg"]
    with pytest.raises(UserError, match="--to parquet takes a run of `paceline run`"):
        exports.write(tmp_path, "parquet", tmp_path / "tables")


def test_a_damaged_file_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "collectives.json"
    path.write_bytes(seal(two_algorithms()).replace(b'"repeat":0', b'"repeat":9', 1))
    with pytest.raises(UserError, match=f"^{path}: it was damaged or edited: its checksum is another$"):
        collectives.load(tmp_path)
    with pytest.raises(UserError, match="cannot be read: No such file or directory$"):
        collectives.load(tmp_path / "nowhere")
