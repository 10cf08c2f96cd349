"""What every page is made with: templates beside this module, escaped, under a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup, escape

from reports.caveats import unsettled
from reports.text import DASH, clean, counted, difference, interval, number, one_line, percent, size, when

_CODE = re.compile(r"`([^`]*)`")
WIDE_INCHES, NARROW_INCHES = 10.0, 4.6


def environment() -> Environment:
    """Of all templates: unknown is a dash, text is only text, a name that is not given is an error."""
    made = Environment(loader=_Own(), autoescape=True, undefined=StrictUndefined, finalize=_readable)
    made.globals |= {
        "number": number, "percent": percent, "interval": interval, "one_line": one_line, "size": size,
        "counted": counted, "difference": difference, "unsettled": unsettled, "shown": shown, "when": when,
        "coded": coded,
        "dash": DASH,  # a constant none would be escaped before it could become one
    }  # fmt: skip
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "sort_keys": False, "separators": (",", ":")}
    return made


def shown(value: str | int | float | None) -> str:
    """A cell of the JSON export as text; the page keeps the value itself beside it.

    >>> shown(0.123456), shown(1234), shown(True), shown(None)
    ('0.1235', '1,234', 'yes', '\u2013')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return number(value) if isinstance(value, float) else DASH if value is None else one_line(value, 120)


def coded(text: str) -> Markup:
    """Escaped; what stands between backticks in our own sentences as code.

    >>> coded("`a` < `b`")
    Markup('<code>a</code> &lt; <code>b</code>')
    """
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(clean(text)))))


def policy(style: str, script: str | None = None) -> str:
    """The content policy: this style and this script, no network, no form."""
    scripts = f"'{_digest(script)}'" if script is not None else "'none'"
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src {scripts}; base-uri 'none'; form-action 'none'"
    )


def asset(name: str) -> str:
    """A template, style or script of this package, as text."""
    return (files("reports") / "templates" / name).read_text(encoding="utf-8")


def _digest(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _readable(value: Any) -> Any:
    """Applied to every expression of a template before it is escaped."""
    if value is None:
        return DASH
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


class _Own(BaseLoader):
    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, None]:
        return asset(template), None, None
