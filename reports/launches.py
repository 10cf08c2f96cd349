"""The launches of a run in the order in which they were made, why no more were, and whether the machine drifted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import stats
from bench.records import Repeat, Result
from bench.stats import LAUNCHES_FOR_INTERVAL, Estimate
from reports.schema.sections import Launch
from reports.table import Row, bounded
from reports.text import DASH, counted, interval, number, seconds

NO_SENTINEL = "Drift of the machine was not watched: the study has no `sentinel: true`."


@dataclass(frozen=True, slots=True)
class Drift:
    """What the sentinel showed. `found`: its speed at the end over that at the beginning; None: nothing."""

    sentence: str
    found: Estimate | None
    shown: bool | None
    span_s: float | None


def launches(result: Result, rows: Sequence[Row]) -> list[Launch]:
    """Those that were made."""
    by_id = {row.trial_id: row for row in rows}
    made = {(repeat.trial_id, repeat.repeat): repeat for trial in result.trials for repeat in trial.repeats}
    ordered = [made[one] for one in dict.fromkeys([*result.order, *made]) if one in made]
    began = [at for repeat in ordered if (at := seconds(repeat.started_utc)) is not None]
    first = min(began, default=None)
    return [_launch(place, repeat, by_id[repeat.trial_id], first) for place, repeat in enumerate(ordered, 1)]


def _launch(place: int, repeat: Repeat, row: Row, first: float | None) -> Launch:
    at = seconds(repeat.started_utc)
    return Launch(
        place=place,
        trial_id=row.trial_id,
        label=row.label,
        replicas=row.trial.replicas,
        repeat=repeat.repeat,
        started_utc=repeat.started_utc,
        after_s=None if at is None or first is None else at - first,
        wall_s=repeat.wall_ns / 1e9,
        samples_per_second=_rate(row, repeat.repeat),
        warmup_windows=repeat.warmup_windows,
        settled=repeat.settled,
        error=repeat.error,
    )


def _rate(row: Row, repeat: int) -> float | None:
    """`launch_rates` are in order of repeat, one of each, where a row has a speed."""
    rates = row.measured.launch_rates if row.measured else ()
    return rates[repeat] if repeat < len(rates) else None


def drift(result: Result, made: Sequence[Launch]) -> Drift:
    """Of the sentinel's speed over the run."""
    if result.sentinel is None:
        return Drift(NO_SENTINEL, None, None, None)
    seen = [
        (launch.after_s, launch.samples_per_second)
        for launch in made
        if launch.trial_id == result.sentinel and launch.after_s is not None and launch.samples_per_second is not None
    ]
    at_s, rates = [at for at, _ in seen], [rate for _, rate in seen]
    found = bounded(stats.drift(at_s, rates), result.quick)
    if found is None:
        return Drift("Drift of the machine is unknown: the sentinel has no speed.", None, None, None)
    span_s = max(at_s) - min(at_s)
    name = next(launch.label for launch in made if launch.trial_id == result.sentinel)
    return Drift(_said(found, name, span_s), found, stats.differs(found), span_s)


def _said(found: Estimate, name: str, span_s: float) -> str:
    shown = stats.differs(found)
    over = f"over {counted(found.launches, 'launch', 'launches')} in {number(span_s, 3)} s"
    if shown is None:
        few = f"; at least {LAUNCHES_FOR_INTERVAL} are needed" if found.launches < LAUNCHES_FOR_INTERVAL else ""
        return f"Drift of the machine is unknown: the sentinel {name} has no interval, {over}{few}."
    measured = (
        f"{name} had {number(found.point, 3)} times (95 % interval {interval(found, digits=3) or DASH}) "
        f"the speed of the beginning at the end, {over}"
    )
    return f"The machine drifted: {measured}." if shown else f"No drift shown: {measured}."
