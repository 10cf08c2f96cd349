"""Horovod's timeline as Horovod 0.28.1 wrote it for two fused all-reduces of two tensors each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backends._horovod_timeline import spans
from bench.protocols import Span

RECORDED = json.loads(Path(__file__).with_name("horovod_timeline.json").read_text())
STARTED_NS = 1_795_380_844_360_149_000
AHEAD_NS = 1_795_380_000_000_000_000
SHIFT_NS = STARTED_NS - AHEAD_NS


def test_a_fused_operation_is_one_span_and_only_what_carries_it_is_communication():
    found = [span for span in spans(RECORDED, AHEAD_NS) if span.kind == "communication"]
    name = "GLOO_ALLREDUCE, 2 tensors"
    assert found == [
        Span("communication", name, "Horovod GLOO_ALLREDUCE", SHIFT_NS + 15_711_696_000, 5_813_000),
        Span("communication", name, "Horovod GLOO_ALLREDUCE", SHIFT_NS + 15_750_863_000, 22_409_000),
    ]


def test_tensor_by_tensor_the_same_time_would_count_twice():
    """What a reader of the file adds up who does not know that it holds a fused operation once per tensor."""
    opened, per_tensor = {}, 0
    for event in RECORDED:
        if event["ph"] == "B":
            opened.setdefault(event["pid"], []).append(event)
        elif event["ph"] == "E":
            began = opened[event["pid"]].pop()
            per_tensor += (event["ts"] - began["ts"]) * (began["name"] == "GLOO_ALLREDUCE")
    found = sum(span.duration_ns for span in spans(RECORDED, AHEAD_NS) if span.kind == "communication")
    assert per_tensor * 1_000 / found == pytest.approx(2, abs=1e-3)


def test_what_had_not_ended_or_not_begun_in_the_timeline_is_left_out():
    """Tensors 5 and 6 are still being negotiated; an operation's end alone says nothing of its length."""
    negotiated = [span for span in spans(RECORDED, AHEAD_NS) if span.name.startswith("NEGOTIATE")]
    assert sum(int(span.name.split()[1]) for span in negotiated if "tensors" in span.name) == 4
    early = [RECORDED[0], {"ph": "E", "ts": 5, "pid": 9}]
    assert spans(early, AHEAD_NS) == []


def test_where_the_profiler_sees_the_exchange_the_timeline_is_shown_and_not_counted():
    assert {span.kind for span in spans(RECORDED, AHEAD_NS, communication="other")} == {"other"}
