from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from bench import study
from bench.points import Header, StudyWorkload
from bench.records import LossScale, Optimizer, Quality, Timing, Trial

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "bench" / "templates" / "study.yaml"


@pytest.mark.parametrize(
    "path", [TEMPLATE, *sorted((ROOT / "studies").glob("*.yaml"))], ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_a_study_that_is_shipped_can_be_read(path: Path) -> None:
    found = study.load(path)
    assert found.trials or found.rejected


@pytest.mark.parametrize("record", [Header, Trial, StudyWorkload, Optimizer, LossScale, Timing, Quality])
def test_the_template_shows_every_key(record: type[msgspec.Struct]) -> None:
    text = TEMPLATE.read_text()
    missing = [name for name in record.__struct_fields__ if not re.search(rf"^[ #]*{name}:", text, re.MULTILINE)]
    assert missing == []


def test_what_the_template_states_is_the_default() -> None:
    """So that a key taken out of it changes nothing."""
    found = study.load(TEMPLATE)
    trials = [trial for trial in (*found.trials, *(row.trial for row in found.rejected)) if trial.replicas == 2]
    assert len(trials) == 4
    for trial in trials:
        plain = msgspec.structs.replace(trial, backend="null", launcher="local", threads_per_replica=1)
        assert plain == Trial(backend="null", launcher="local")
