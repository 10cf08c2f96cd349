"""The report: one HTML file that needs nothing else, runs nothing but its own script and asks no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from reports import compare, drawing, evidence, export, logs, page, relative, trust
from reports.launches import drift, launches
from reports.load import LoadedRun
from reports.orders import flips
from reports.quality import cautions
from reports.question import question
from reports.sections import SECTIONS, drawn, pictures
from reports.table import Row, rows
from reports.verdict import headline, learners, not_compared, verdicts
from reports.verification import proofs


def render_html(run: LoadedRun) -> str:
    """The whole document."""
    style, script = page.asset("report.css"), page.asset("report.js")
    context = _context(run)
    drawing.ahead(pictures(context))
    contents = [(name, title) for name, (key, title) in SECTIONS.items() if not key or context[key]]
    return (
        page.environment()
        .get_template("report.html.jinja")
        .render(
            style=Markup(style),
            script=Markup(script),
            policy=page.policy(style, script),
            contents=contents,
            headings={name: title for name, (_, title) in SECTIONS.items()},
            **context,
        )
    )


def _context(run: LoadedRun) -> dict[str, Any]:
    found = rows(run)
    document = export.document(run, found)
    labels = compare.labels(run.result.trials)
    return {
        "run": run,
        "result": run.result,
        "document": document,
        **_argued(run, found),
        **drawn(run, found, document),
        **_told(run, found, labels),
        "fastest": relative.fastest(found),
    }


def _argued(run: LoadedRun, found: Sequence[Row]) -> dict[str, Any]:
    """What the verdict says, and whether to believe it."""
    made = launches(run.result, found)
    drifted = drift(run.result, made)
    checks = trust.checks(run.result, found, drifted)
    return {
        "verdicts": sorted(verdicts(run.result, found), key=lambda one: not one.pairs),
        "headline": headline,
        "cautions": cautions(learners(found)),
        "not_compared": not_compared(run.result, found),
        "checks": checks,
        "trust": trust.summary(checks),
        "launches": made,
        "drift": drifted,
        "notes": [*_notes(found), *flips(run.result, found)],
        "question": question(run.result),
        "over": trust.steps(run.result),
    }


def _told(run: LoadedRun, found: Sequence[Row], labels: Mapping[str, str]) -> dict[str, Any]:
    """The sections of texts: the evidence."""
    names, settings = evidence.effective(run.result, labels)
    return {
        "without": [row for row in found if row.measured is None],
        "logs": logs.excerpts(run.result, found, run.folder),
        "proofs": proofs(run.result, found, labels),
        "gates": evidence.gate_lines(run.result, labels),
        "environment": evidence.environment(run.result.environment),
        "commands": evidence.commands(run.result, labels),
        "effective": {"names": names, "settings": settings},
    }


def _notes(found: Sequence[Row]) -> list[str]:
    """Why there is no interval: one sentence when it is the same everywhere."""
    reasons = {row.no_interval for row in found if row.measured}
    if len(reasons) == 1:
        return [reason for reason in reasons if reason]
    return [f"{row.label}: {row.no_interval}" for row in found if row.no_interval]
