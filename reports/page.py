"""What every page is made with: templates beside this module, escaped, under a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup

from reports.text import DASH, clean

WIDE_INCHES, NARROW_INCHES = 10.0, 4.6


def environment() -> Environment:
    """Of all templates: unknown is a dash, text is only text, a name that is not given is an error."""
    made = Environment(loader=_Own(), autoescape=True, undefined=StrictUndefined, finalize=_readable)
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "sort_keys": False}
    return made


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
