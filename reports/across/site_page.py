"""The index of a site of runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from reports.across import pages
from reports.across.reading import RunReading
from reports.across.site import HISTORY, RUNS, Entry, slug
from reports.text import counted, seconds

Status = Literal["whole", "quick look", "partly", "no speed", "collectives", "not read"]


@dataclass(frozen=True, slots=True)
class _Run:
    """One run as the index lists it, and as the page's JSON has it. `link` None: it has no page, `verdict` says why."""

    run: str
    study: str | None
    created_utc: str | None
    machine: str | None
    verdict: str
    trials: str | None
    status: Status
    link: str | None


def render_index(title: str, runs: Mapping[str, Entry], histories: Sequence[str]) -> str:
    """The latest run first, those that cannot be read last."""
    ordered = sorted(runs.items(), key=lambda one: (-(seconds(one[1].created_utc or "") or 0.0), one[0]))
    lines = [_run(name, entry) for name, entry in ordered]
    return pages.render(
        "site.html.jinja",
        f"Runs: {title}",
        {"runs": [{field.name: getattr(line, field.name) for field in fields(line)} for line in lines]},
        contents=[("runs", "Runs"), *([("histories", "Histories")] if histories else [])],
        lines=lines,
        studies=sorted({line.study for line in lines if line.study is not None}),
        statuses=sorted({line.status for line in lines}),
        histories=[(study, f"{HISTORY}/{slug(study)}.html", _count(study, runs)) for study in histories],
    )


def _count(study: str, runs: Mapping[str, Entry]) -> str:
    return counted(sum(entry.study == study and entry.reading is not None for entry in runs.values()), "run")


def _run(name: str, entry: Entry) -> _Run:
    link = f"{RUNS}/{slug(name)}.html"
    if entry.reason is not None:
        return _Run(name, None, None, None, entry.reason, None, "not read", None)
    if entry.reading is None:
        told = "The exchange alone, timed over sizes."
        return _Run(name, entry.study, entry.created_utc, None, told, None, "collectives", link)
    read = entry.reading
    verdict = " ".join(read.sentences) or "Nothing was compared."
    return _Run(name, read.study, read.created_utc, _machine(read), verdict, _trials(read), _status(read), link)


def _machine(read: RunReading) -> str:
    known = read.surroundings
    parts = [known.get("hostname"), known.get("cpu"), counted(int(known.get("cores") or 0), "core")]
    return ", ".join(str(part) for part in parts if part)


def _trials(read: RunReading) -> str:
    counts = Counter(trial.status for trial in read.trials)
    rest = [f"{counts[status]} {status.replace('_', ' ')}" for status in sorted(counts) if status != "ok"]
    return ", ".join([f"{counts['ok']} of {counted(len(read.trials), 'trial')} with a speed", *rest])


def _status(read: RunReading) -> Status:
    if read.quick:
        return "quick look"
    with_speed = sum(bool(trial.launch_rates) for trial in read.trials)
    selectable = sum(trial.status != "not_selectable" for trial in read.trials)
    return "no speed" if not with_speed else "whole" if with_speed == selectable else "partly"
