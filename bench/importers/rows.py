"""What an importer yields, and the columns that it fills, named as in `paceline report --format csv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from bench import stats
from bench.records import Record

Cell = str | int | float | None

# Wide enough for whatever was measured, and narrow enough that no sum, ratio or interval of them is infinite.
Amount = Annotated[float, Meta(ge=1e-15, le=1e15)]
Duration = Annotated[float, Meta(ge=0, le=1e15)]
Count = Annotated[int, Meta(ge=0, lt=2**53)]
Some = Annotated[int, Meta(ge=1, lt=2**53)]


class Training(Record, frozen=True, kw_only=True, tag="training"):
    """A training step, or whatever else was called over and over.

    launch_rates  samples per second of the whole job, one per launch; None where the samples are not known
    step_ms       durations that were given one by one, of all launches; may be empty
    median_ms     as the file gives it, where single durations are not in it
    note          what these numbers mean otherwise than this project's own
    """

    source: str
    label: str
    framework: str | None
    replicas: Some | None
    model: str | None
    batch_per_replica: Some | None
    launch_rates: list[Amount] | None
    step_ms: list[Duration]
    median_ms: Duration | None = None
    note: str | None = None


class Collective(Record, frozen=True, kw_only=True, tag="collective"):
    """One collective at one size, as nccl-tests defines them: algbw = bytes / time, busbw = algbw x factor.

    seconds         one per launch, of one call; None where only CPU time was recorded
    bus_factor      busbw / algbw: 2 (n - 1) / n for an all-reduce over n ranks
    wrong_elements  of the result; None: not verified
    """

    source: str
    label: str
    message_bytes: Some
    elements: Count
    dtype: str
    operation: str | None
    ranks: Some | None
    in_place: bool
    seconds: list[Amount] | None
    bus_factor: Duration | None
    wrong_elements: Count | None
    note: str | None = None


Imported = Training | Collective
Kind = TypeVar("Kind", bound=Training | Collective)


def checked(one: Kind) -> Kind:
    """The same. Raises ValidationError for a value that no benchmark can have measured."""
    return msgspec.convert(msgspec.to_builtins(one), type(one))


def merged(found: Sequence[Imported]) -> list[Imported]:
    """The same thing measured again becomes one more launch of it, in the order of the files."""
    kept: dict[bytes, Imported] = {}
    for one in found:
        identity = msgspec.json.encode(_identity(one), order="sorted")
        kept[identity] = _together(kept[identity], one) if identity in kept else one
    return list(kept.values())


def columns(one: Imported) -> dict[str, Cell]:
    """Flat, base units in the names, None is unknown."""
    return _training(one) if isinstance(one, Training) else _collective(one)


def _identity(one: Imported) -> Imported:
    if isinstance(one, Training):
        return msgspec.structs.replace(one, launch_rates=None, step_ms=[], median_ms=None)
    return msgspec.structs.replace(one, seconds=None, wrong_elements=None)


def _together(one: Imported, other: Imported) -> Imported:
    """Of one identity."""
    if isinstance(one, Training) and isinstance(other, Training):
        return msgspec.structs.replace(
            one,
            launch_rates=_both(one.launch_rates, other.launch_rates),
            step_ms=one.step_ms + other.step_ms,
            median_ms=None,
        )
    assert isinstance(one, Collective) and isinstance(other, Collective)
    counts = (one.wrong_elements, other.wrong_elements)
    wrong = None if counts[0] is None or counts[1] is None else counts[0] + counts[1]
    return msgspec.structs.replace(one, seconds=_both(one.seconds, other.seconds), wrong_elements=wrong)


def _both(one: list[float] | None, other: list[float] | None) -> list[float] | None:
    return None if one is None or other is None else one + other


def _training(one: Training) -> dict[str, Cell]:
    rate = stats.over_launches(one.launch_rates) if one.launch_rates else None
    median = one.median_ms if one.median_ms is not None else stats.quantile(one.step_ms, 0.5)
    return {
        "label": one.label,
        "source": one.source,
        "framework": one.framework,
        "replicas": one.replicas,
        "model": one.model,
        "batch_per_replica": one.batch_per_replica,
        "launches": len(one.launch_rates) if one.launch_rates else None,
        "samples_per_second": rate.point if rate else None,
        "samples_per_second_low": rate.low if rate else None,
        "samples_per_second_high": rate.high if rate else None,
        "step_ms_median": median,
        "step_ms_p95": stats.quantile(one.step_ms, 0.95),
        "note": one.note,
    }


def _collective(one: Collective) -> dict[str, Cell]:
    time = stats.over_launches(one.seconds) if one.seconds else None
    bandwidth = one.message_bytes / time.point if time else None
    return {
        "label": one.label,
        "source": one.source,
        "message_bytes": one.message_bytes,
        "elements": one.elements,
        "dtype": one.dtype,
        "operation": one.operation,
        "ranks": one.ranks,
        "in_place": "yes" if one.in_place else "no",
        "launches": len(one.seconds) if one.seconds else None,
        "seconds": time.point if time else None,
        "seconds_low": time.low if time else None,
        "seconds_high": time.high if time else None,
        "algbw_bytes_per_second": bandwidth,
        "busbw_bytes_per_second": None if bandwidth is None or one.bus_factor is None else bandwidth * one.bus_factor,
        "wrong_elements": one.wrong_elements,
        "note": one.note,
    }
