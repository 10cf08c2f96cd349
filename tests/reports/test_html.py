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
from reports.text import DASH
from tests.reports.build import (
    ENVIRONMENT,
    by_hand,
    equal,
    everything,
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
    """Elements, attributes and texts; `numbers`: (list of the export, place in it, column) to what the page has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.numbers: dict[tuple[str, int, str], str] = {}
        self.script = ""
        self._open = ""
        self._path, self._columns, self._at, self._cell = "", [], -1, -1
        self._plain = False
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.elements.append((tag, found))
        self._open = found.get("id") or tag
        if tag == "table":
            self._path, self._columns = found.get("data-path"), []
        elif tag == "tr":
            self._at, self._cell = int(found.get("data-at", -1)), -1
        elif tag in ("td", "th"):
            self._cell += 1
            self._plain = False
            if self._at < 0:
                self._columns.append(found.get("data-column"))
            elif found.get("class") is None and self._columns[self._cell]:
                self._plain = True  # a number that is its own text has no <data>
        elif tag == "data":
            self._plain = False
            column = found.get("data-column") or self._columns[self._cell]
            self.numbers[self._path, self._at, column] = found["value"]

    def handle_data(self, data):
        self.texts.append(data)
        if self._plain:
            self.numbers[self._path, self._at, self._columns[self._cell]] = "" if data == DASH else data
            self._plain = False
        if self._open == "numbers":
            self.script += data

    def handle_endtag(self, tag):
        self._open, self._plain = "", False


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
        trial_result("torch_ddp", 4, [launch_at(1, error=text, hosts=[text, text])], status="failed", reason=text),
    ]
    logged = folder / trials[4][0].trial_id / "0" / "launcher.txt"
    logged.parent.mkdir(parents=True, exist_ok=True)
    logged.write_text(f"the launcher said: {text}", encoding="utf-8")
    failed = GateOutcome(gate=text, holds=False, sentence=text)
    known = verified(trials[0][0].trial_id, text, created_utc=text)
    known = msgspec.structs.replace(known, losses=msgspec.structs.replace(known.losses, where=text))
    refuted = verified(trials[2][0].trial_id, None, gates=[failed, GateOutcome(gate=text, holds=None, sentence=text)])
    verification = [known, verified(trials[1][0].trial_id, None, error=text), refuted]
    changed = {"study": text, "study_yaml": text, "created_utc": text, "gates": [gate], "environment": environment}
    changed["verification"] = verification
    return write_run(folder, trials, **changed)


def chosen(folder, gates: bool = True):
    """Ring and tree of one backend, the tree at 0.8 of the ring's speed, and a third stack."""
    trials = [
        trial_result(name, 2, [launch_at(rate * part) for part in (0.99, 1.0, 1.01)], trial={"allreduce": algorithm})
        for name, algorithm, rate in (
            ("torch_horovod", "tree", 80),
            ("torch_horovod", "ring", 100),
            ("torch_ddp", "auto", 90),
        )
    ]
    known = [equal(result.trial_id) for result, _ in trials[1:]] if gates else []
    return write_run(folder, trials, gates=known)


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


LISTS = {"ladder", "traces", "evaluations", "scaling", "launches", "panels", "distributions", "ranks", "resources"}


def of(document, path: str):
    """The list of the export that a table's data-path names."""
    for key in path.split("."):
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document


@pytest.mark.parametrize("make", [by_hand, precisions, everything])
def test_every_number_on_the_page_is_that_of_the_export(tmp_path, make):
    make(tmp_path)
    page = Page(render(tmp_path, "html"))
    exported = json.loads(render(tmp_path, "json"))
    assert json.loads(page.script) == exported
    wanted = {key: of(exported, key[0])[key[1]][key[2]] for key in page.numbers}
    assert page.numbers == {key: "" if value is None else str(value) for key, value in wanted.items()}
    for at, row in enumerate(exported["rows"]):
        shown = {column for path, place, column in page.numbers if (path, place) == ("rows", at)}
        assert {"compute_effective", "wire_effective"} <= shown
        speed = {"samples_per_second", "samples_per_second_low", "launches", "step_ms_median", "cpu_cores"}
        assert speed & shown == (speed if row["status"] == "ok" else set())
        assert ("metric_value" in shown) == (row["metric_value"] is not None)
    assert not {"None", "nan", "inf", "True", "False"} & {text.strip() for text in page.texts}
    shown = {path for path, _, _ in page.numbers}
    lists = {name for name in LISTS if exported.get(name)}
    assert {"rows"} | lists <= shown
    assert make is not everything or lists == LISTS


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
    drawn = chart.figure(found, [{}] * len(found)).chart.inline(10.0)
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


def test_ring_and_tree_are_set_against_each_other_once_their_losses_are_the_same(tmp_path):
    chosen(tmp_path / "proven")
    (line,) = json.loads(render(tmp_path / "proven", "json"))["panels"]
    assert (line["value"], line["against"], line["launches"], line["reason"]) == ("tree (ran ring)", "ring", 3, None)
    assert line["ratio"] == pytest.approx(0.8, 1e-3)
    assert 0.75 < line["ratio_low"] < 0.8 < line["ratio_high"] < 0.85
    chosen(tmp_path / "unproven", gates=False)
    (line,) = json.loads(render(tmp_path / "unproven", "json"))["panels"]
    assert (line["ratio"], line["reason"][:18]) == (None, "equality not shown")


def test_precisions_are_set_against_each_other_within_one_backend(tmp_path):
    (line,) = json.loads(render(precisions(tmp_path), "json"))["panels"]
    assert (line["axis"], line["value"], line["against"]) == (
        "precision",
        "computed and exchanged in float16",
        "computed and exchanged in float32",
    )
    assert line["ratio"] == pytest.approx(1.5, 1e-3)


def test_every_speed_is_known_relative_to_every_other_of_its_kind_of_sample(tmp_path):
    trials = [
        trial_result(name, 2, [launch_at(rate)] * 3, trial={"workload": {"model": model}})
        for name, rate, model in (("torch_ddp", 100, "tiny"), ("torch_horovod", 80, "tiny"), ("tf_horovod", 10, "base"))
    ]
    write_run(tmp_path, trials)
    names = {result.trial_id: result.trial.backend for result, _ in trials}
    lines = json.loads(render(tmp_path, "json"))["relative"]
    found = {(names[line["trial_id"]], names[line["against"]]): line["ratio"] for line in lines}
    assert found == {
        ("torch_ddp", "torch_ddp"): 1.0,
        ("torch_horovod", "torch_ddp"): 0.8,
        ("torch_ddp", "torch_horovod"): 1.25,
        ("torch_horovod", "torch_horovod"): 1.0,
        ("tf_horovod", "tf_horovod"): 1.0,
    }


def test_the_verdict_says_how_equal_the_work_was_and_what_speaks_against_trust(tmp_path):
    losses = [[10.0, 9.0], [10.0, 9.0009]]
    trials = [
        trial_result(name, 2, [launch_at(rate, losses=lost) for _ in range(3)])
        for name, rate, lost in (
            ("torch_ddp", 100, losses[0]),
            ("torch_horovod", 80, losses[1]),
            ("tf_horovod", 60, losses[0]),
        )
    ]
    write_run(tmp_path, trials)
    text = " ".join("".join(Page(render(tmp_path, "html")).texts).split())
    assert (
        "Work equal to 1.0e-04: the largest relative difference of any step's loss from the first trial's over 2 steps."
        in text
    )
    assert "Can these numbers be trusted? Mostly: nothing speaks against it, 1 answer is open." in text
    trials[1][0].repeats[0].gates.append(GateOutcome(gate="weights", holds=False, sentence="they differ"))
    write_run(tmp_path, trials)
    text = " ".join("".join(Page(render(tmp_path, "html")).texts).split())
    assert "Can these numbers be trusted? With care: 2 answers speak against it." in text


def test_the_end_of_a_failed_launchs_log_stands_beside_its_reason(tmp_path):
    reason = "rank 1 failed in windows: out of memory (log: /elsewhere/log-1.txt)"
    failed = trial_result("tf_horovod", 2, [launch_at(1, error=reason)], status="failed", reason=reason)
    place = write_run(tmp_path, [failed], gates=[]) / failed[0].trial_id / "0"
    place.mkdir(parents=True)
    lines = [f"line {number}" for number in range(100)]
    (place / "log-1.txt").write_text(
        "\n".join([*lines, "\x1b[31mGET https://me:hunter2@host/ HF_TOKEN=hf_0123456789abcdef01"])
    )
    (place / "log-0.txt").write_text("of another rank")
    (place / "launcher.txt").write_text("10 %\r100 %\nmpirun ended")
    page = Page(render(tmp_path, "html"))
    text = "".join(page.texts)
    assert "line 71\nline 72" in text and "line 70" not in text
    assert "GET https://me:***@host/ HF_TOKEN=***" in text and "hunter2" not in text and "0123456789abcdef" not in text
    assert "100 %\nmpirun ended" in text
    assert "10 %\r" not in text and "of another rank" not in text
    assert "the last 30 lines of" in text


def test_a_log_outside_the_run_folder_is_not_shown(tmp_path):
    (tmp_path / "secret" / "0").mkdir(parents=True)
    (tmp_path / "secret" / "0" / "launcher.txt").write_text("not for you")
    for trial_id in ("../secret", str(tmp_path / "secret")):
        failed = trial_result(
            "tf_horovod", 2, [launch_at(1, error="it died")], trial_id=trial_id, status="failed", reason="x"
        )
        assert "not for you" not in render(write_run(tmp_path / "run", [failed], gates=[]), "html")
    inside = tmp_path / "run" / "plain" / "0"
    inside.mkdir(parents=True)
    (inside / "launcher.txt").symlink_to(tmp_path / "secret" / "0" / "launcher.txt")
    failed = trial_result(
        "tf_horovod", 2, [launch_at(1, error="it died")], trial_id="plain", status="failed", reason="x"
    )
    assert "not for you" not in render(write_run(tmp_path / "run", [failed], gates=[]), "html")
