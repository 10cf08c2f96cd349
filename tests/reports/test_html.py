from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import msgspec
import pytest

from bench.records import GateOutcome
from reports import FORMATS, chart, render
from reports.load import load
from reports.table import rows
from tests.reports.build import (
    ENVIRONMENT,
    by_hand,
    facts,
    launch_at,
    learning,
    precisions,
    trial_result,
    verified,
    write_run,
)

HOSTILE = [
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }} {% raw %}",
    "javascript:alert(1)",
    "$\\frac{1}{0}$ &amp; ]]> <!--",
    "\u202eright to left\u202c \x00\x1b[31m\ufffe",
    "🚀👩‍🚀 שלום 日本語",
    "x" * 10_000,
    "nan",
    "",
]


class Page(HTMLParser):
    """Elements, attributes and texts; the numbers of the summary by trial and column."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.numbers: dict[str, dict[str, str]] = {}
        self.script = ""
        self._trial = ""
        self._open = ""
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.elements.append((tag, found))
        self._trial = found.get("data-trial", self._trial)
        self._open = found.get("id") or tag
        if tag == "data":
            self.numbers.setdefault(self._trial, {})[found["data-column"]] = found["value"]

    def handle_data(self, data):
        self.texts.append(data)
        if self._open == "numbers":
            self.script += data

    def handle_endtag(self, tag):
        self._open = ""


def hostile(folder, text: str):
    """`text` in every place of a result that holds text."""
    gate = GateOutcome(gate=text, holds=True, sentence=text)
    said = facts(
        algorithm=text, algorithm_evidence=text, compute_dtype=text, devices=[text], versions={text: text},
        settings={text: text, "nothing": None}, wire_dtype=None, exchange_elements=None, exchange_bytes=None,
        buckets=None, threads=None,
    )  # fmt: skip
    learned = [msgspec.structs.replace(one, metric=text) for one in learning(0.1, 0.2)]
    launches = [launch_at(100, gates=[gate], facts=[said], command=[text, text], evaluations=learned) for _ in range(3)]
    unknown = {"cpu": None, "memory_bytes": None, "load_average": None, "governor": None, "revision": None}
    environment = msgspec.structs.replace(
        ENVIRONMENT, hostname=text, platform=text, packages={text: text}, variables={text: text}, **unknown
    )
    trials = [
        trial_result(text, 2, launches, trial={"options": {text: text}}),
        trial_result(text, 2, launches),
        trial_result(text, 4, status="failed", reason=text),
        trial_result("torch_ddp", 2, status="not_selectable", reason=None),
    ]
    failed = GateOutcome(gate=text, holds=False, sentence=text)
    known = verified(trials[0][0].trial_id, text, created_utc=text)
    known = msgspec.structs.replace(known, losses=msgspec.structs.replace(known.losses, where=text))
    refuted = verified(trials[2][0].trial_id, None, gates=[failed, GateOutcome(gate=text, holds=None, sentence=text)])
    verification = [known, verified(trials[1][0].trial_id, None, error=text), refuted]
    changed = {"study": text, "study_yaml": text, "created_utc": text, "gates": [gate], "environment": environment}
    changed["verification"] = verification
    return write_run(folder, trials, **changed)


def shape(text: str) -> list[str]:
    return [tag for tag, _ in Page(text).elements]


@pytest.fixture(scope="module")
def plain_shape(tmp_path_factory) -> list[str]:
    return shape(render(hostile(tmp_path_factory.mktemp("plain"), "plain"), "html"))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_shown_as_text_and_adds_no_element(tmp_path, text, plain_shape):
    page = render(hostile(tmp_path, text), "html")
    assert shape(page) == plain_shape
    assert not any(name.startswith("on") or name == "style" for _, found in Page(page).elements for name in found)
    assert "\x00" not in page and "\u202e" not in page and "\x1b" not in page
    json.loads(Page(page).script)


def test_hostile_text_can_be_read(tmp_path):
    page = Page(render(hostile(tmp_path, HOSTILE[0]), "html"))
    assert HOSTILE[0] in page.texts


@pytest.mark.parametrize("make", [by_hand, precisions])
def test_the_numbers_on_the_page_are_those_of_the_export(tmp_path, make):
    make(tmp_path)
    page = Page(render(tmp_path, "html"))
    exported = json.loads(render(tmp_path, "json"))
    assert json.loads(page.script) == exported
    for row in exported["rows"]:
        shown = page.numbers[row["trial_id"]]
        assert shown == {name: "" if row[name] is None else str(row[name]) for name in shown}
        assert {"compute_effective", "wire_effective"} <= set(shown)
        speed = {"samples_per_second", "launches", "step_ms_median", "cpu_cores"}
        assert ("metric_value" in shown) == (row["metric_value"] is not None)
        assert speed & set(shown) == (speed if row["status"] == "ok" else set())


def test_the_page_says_why_there_is_no_interval(tmp_path):
    write_run(tmp_path, [trial_result("torch_ddp", 2, [launch_at(100)])])
    assert "no interval: 1 launch; at least 3 are needed" in Page(render(tmp_path, "html")).texts


def test_a_run_without_any_speed_still_makes_a_page(tmp_path):
    write_run(tmp_path, [trial_result("tf_mirrored", 2, status="not_selectable", reason="no tensorflow")], gates=[])
    texts = "".join(Page(render(tmp_path, "html")).texts)
    assert "Nothing to compare: no trial has a speed." in texts
    assert "There is no speed to draw." in texts


def test_a_run_without_trials_still_makes_every_document(tmp_path):
    write_run(tmp_path, [], gates=[])
    for format in FORMATS:
        assert isinstance(render(tmp_path, format), str)


def test_the_page_asks_nothing_of_the_network_and_allows_no_inline_style(tmp_path):
    page = render(by_hand(tmp_path), "html")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert policy.startswith("default-src &#39;none&#39;; style-src &#39;sha256-")
    assert "unsafe" not in policy
    for tag, found in Page(page).elements:
        assert not {"src", "style", "onclick"} & set(found)
        assert found.get("href", "#").startswith("#"), (tag, found)


def test_the_same_run_gives_the_same_bytes(tmp_path):
    by_hand(tmp_path)
    assert render(tmp_path, "html") == render(tmp_path, "html")


def test_one_backend_has_one_colour_and_is_drawn_fastest_first(tmp_path):
    found = rows(load(by_hand(tmp_path)))
    assert chart.colors(found)["torch_ddp"] == 1
    assert [row.label for row in chart.ordered(found)[:3]] == ["torch_ddp", "torch_horovod", "torch_bare"]
    drawn = chart.draw(found, 10.0)
    assert "torch_horovod \u00d72: 80.00</text>" in drawn
    assert "tf_mirrored \u00d72: not selectable</text>" in drawn
    assert 'aria-label="Samples per second of each trial' in drawn


def test_a_setting_that_was_asked_for_and_did_not_run_is_shown(tmp_path):
    launch = launch_at(100, facts=[facts(algorithm="recursive doubling"), facts(threads=2)])
    write_run(tmp_path, [trial_result("torch_ddp", 2, [launch], trial={"allreduce": "tree", "compute": "bfloat16"})])
    texts = Page(render(tmp_path, "html")).texts
    assert "float32 (asked for: bfloat16)" in texts
    assert "recursive doubling (asked for: tree) | ring (asked for: tree)" in texts
    assert "1 | 2" in texts
