"""The JSON export as types: what `reports.export.document` holds, and the JSON Schemas that are published of it.

`python -m reports.schema docs/schema` writes them anew; a test says when that is due. Unknown is null, never 0; a name
ends in its unit; `_low` and `_high` are the ends of a 95 % interval over launches, null where there is none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from bench.records import SCHEMA as RESULT_SCHEMA
from bench.records import Record, Result
from reports.schema.rows import Row, Verdict
from reports.schema.sections import (
    Climb,
    Contrast,
    Drift,
    Evaluation,
    Launch,
    Ratio,
    ScalingCurve,
    ScalingPoint,
    TracedRank,
)
from reports.schema.watched import Devices, Distribution, Ranks, Resources

SCHEMA = 4
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "of all before it, with the closing brace"}


class Document(Record, frozen=True, kw_only=True):
    """The report of one run. Lists are in the order of the study. `traces` is there if the run was traced."""

    schema: Literal[4]
    study: str
    created_utc: str
    quick: bool
    equal_work: str
    verdicts: list[Verdict]
    not_compared: list[str]
    cautions: list[str]
    rows: list[Row]
    relative: list[Ratio]
    panels: list[Contrast]
    ladder: list[Climb]
    traces: list[TracedRank] | msgspec.UnsetType = msgspec.UNSET
    distributions: list[Distribution]
    ranks: list[Ranks]
    resources: list[Resources]
    devices: list[Devices]
    evaluations: list[Evaluation]
    scaling: list[ScalingPoint]
    scaling_curves: list[ScalingCurve]
    drift: Drift
    launches: list[Launch]


def published() -> dict[str, dict[str, Any]]:
    """File name to JSON Schema: of the JSON export, and of a run folder's result.json."""
    result = _schema(Result, "result.json of a paceline run folder")
    own = result["$defs"]["Result"]
    own["properties"]["schema"] = {"const": RESULT_SCHEMA}
    own["properties"]["sha256"] = _SHA256
    own["required"].append("sha256")
    return {
        f"report-{SCHEMA}.json": _schema(Document, "paceline export RUN --to json"),
        f"result-{RESULT_SCHEMA}.json": result,
    }


def text(schema: dict[str, Any]) -> str:
    """As it is published."""
    return msgspec.json.format(msgspec.json.encode(schema), indent=1).decode() + "\n"


def _schema(kind: type[Record], title: str) -> dict[str, Any]:
    return {"$schema": _DIALECT, "title": title, **msgspec.json.schema(kind)}


def write(folder: Path) -> None:
    """All of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in published().items():
        (folder / name).write_text(text(schema))
