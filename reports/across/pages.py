"""What the pages beside a run's report have in common: comparison, history, the index of a site, collectives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

import bench
from reports import page
from reports.svg import PALETTE


def render(template: str, title: str, document: Mapping[str, Any], **context: Any) -> str:
    """The whole page. `document`: the numbers behind it, which it carries."""
    style = page.asset("report.css") + page.asset("several.css")
    script = page.asset("report.js")
    made = page.environment().get_template(template)
    return made.render(
        style=Markup(style),
        script=Markup(script),
        policy=page.policy(style, script),
        title=title,
        document={"study": title, **document},  # both for the script that the report has as well
        paceline=bench.__version__,
        **context,
    )


def colors(backends: list[str]) -> dict[str, int]:
    """Backend to place in PALETTE, in order of appearance."""
    return {backend: place % len(PALETTE) for place, backend in enumerate(dict.fromkeys(backends))}
