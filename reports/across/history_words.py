"""What the history of a study says in words, and as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench import stats
from bench.stats import RUNS_FOR_CHANGE, Estimate
from reports.across.history import History, Point, Series, Step
from reports.across.matching import listed
from reports.columns import Cell, plain, spread
from reports.text import DASH, counted, interval, number, one_line

SCHEMA = 1
RULE = (
    "A change of level is a stretch of at least three runs that differs from the runs around it by 2 % or more, and by "
    "more than the runs' own spread explains (circular binary segmentation, Student's t, Bonferroni over all stretches "
    "of all trials of a study): where nothing changes and runs are independent, no more than about 5 % of studies show "
    "one, so that a page of several studies shows one more often. "
    "Where the change is, is chosen by the data, so its interval looks a little surer than it is. A machine with moods "
    "that last for several runs shows changes that nobody made."
)
_SPANS = ((86_400, "days"), (3_600, "hours"), (60, "minutes"))


def name(series: Series) -> str:
    """The label, and what tells it from other series of that trial."""
    return f"{series.label}, {'; '.join(series.apart)}" if series.apart else series.label


def summary(found: History) -> str:
    """Runs, and how many trials changed."""
    changed = sum(bool(series.steps) for series in found.series)
    runs = counted(len(found.runs), "run")
    if not found.looked_at:
        few = f"a change of level is told from {RUNS_FOR_CHANGE} runs of a trial on"
        return f"{runs} of {counted(len(found.series), 'trial')}; {few}."
    looked = f"{counted(found.looked_at, 'trial')} with runs enough"
    return (
        f"{runs}; the level changed in {changed} of {looked}."
        if changed
        else f"{runs}; no change of level in {looked}."
    )


def level(series: Series, place: int) -> Estimate | None:
    """Speed of one level: the geometric mean of its runs, with an interval over runs."""
    return stats.over_launches([point.speed.point for point in series.at_level(place) if point.speed])


def sentences(series: Series) -> list[str]:
    """Each change of level with what else changed there, then the trend since."""
    told = [step_sentence(step) for step in series.steps]
    runs = len(series.measured)
    if not told:
        few = f"; at least {RUNS_FOR_CHANGE} are needed" if runs < RUNS_FOR_CHANGE else ""
        told = [f"No change of level shown over {counted(runs, 'run')}{few}."] if runs else [_never(series)]
    return [*told, *([_trend(series)] if series.trend else [])]


def step_sentence(step: Step) -> str:
    """By how much, and what else changed between the two runs."""
    around = interval(step.ratio, digits=3)
    bounds = f"95 % interval {around}" if around else "no interval"
    what = f"Changed with it: {listed(step.changed)}" if step.changed else "Nothing else that is recorded changed there"
    return f"From {one_line(step.run, 80)} on: {number(step.ratio.point, 3)} times ({bounds}) the speed before. {what}."


def _never(series: Series) -> str:
    last = series.points[-1].reason if series.points else None
    return f"No run has a speed; the latest {one_line(last, 300)}." if last else "No run has a speed."


def _trend(series: Series) -> str:
    found, level = series.trend, series.at_level(len(series.steps))
    if found is None:
        return ""
    span = _span(level[-1].at_s - level[0].at_s)
    over = f"over {counted(len(level), 'run')} in {span}" + (" since" if series.steps else "")
    around = interval(found, digits=3)
    if around is None:
        return f"Trend unknown {over}."
    shown = ("Rising" if found.point > 1 else "Falling") if stats.differs(found) else "No trend shown"
    return f"{shown} {over}: {number(found.point, 3)} times (95 % interval {around}) the first speed at the last run."


def _span(span_s: float) -> str:
    """
    >>> _span(345_600.0), _span(90.0)
    ('4.0 days', '1.5 minutes')
    """
    length, unit = next((one for one in _SPANS if span_s >= one[0]), _SPANS[-1])
    return f"{number(span_s / length, 2)} {unit}"


def document(found: Sequence[History], unread: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """All studies; `points` and `steps` are flat, one line each."""
    return {
        "schema": SCHEMA,
        "rule": RULE,
        "unread": [{"run": run, "reason": reason} for run, reason in unread],
        "studies": [
            {
                "study": one.study,
                "summary": summary(one),
                "runs": list(one.runs),
                "left_out": [{"run": run, "reason": reason} for run, reason in one.left_out],
                "series": [
                    {
                        "name": name(series),
                        "sentences": sentences(series),
                        "changes": len(series.steps),
                        **_spread("trend", series.trend),
                    }
                    for series in one.series
                ],
                "points": [line for series in one.series for line in points(series)],
                "steps": [line for series in one.series for line in steps(series)],
            }
            for one in found
        ],
    }


def points(series: Series) -> list[dict[str, Cell]]:
    """Every run of one trial."""
    return [
        {
            "trial": name(series),
            "run": point.run,
            "created_utc": point.created_utc,
            **_spread("samples_per_second", point.speed),
            "launches": len(point.launch_rates),
            "level": point.level,
            "changed": "; ".join(point.changed) or None,
            "reason": point.reason,
        }
        for point in series.points
    ]


def steps(series: Series) -> list[dict[str, Cell]]:
    """Every change of level of one trial."""
    return [
        {
            "trial": name(series),
            "run": step.run,
            "created_utc": step.created_utc,
            **_spread("ratio", step.ratio),
            "changed": "; ".join(step.changed) or None,
        }
        for step in series.steps
    ]


def speed(point: Point) -> str:
    """With its interval, or why there is none."""
    if point.speed is None:
        return one_line(point.reason or DASH, 400)
    around = interval(point.speed)
    return f"{number(point.speed.point)} ({around})" if around else number(point.speed.point)


def _spread(column: str, found: Estimate | None) -> dict[str, Cell]:
    return {key: plain(value) for key, value in spread(column, found).items()}
