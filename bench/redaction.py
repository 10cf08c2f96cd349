"""What looks like a secret, by its name or by its form, and text without it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

HIDDEN = "***"
ERROR = ".error"
NAME = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PASSCODE|CREDENTIAL|COOKIE|BEARER|API_?KEY|(^|_)(KEYS?|PASS|AUTH)($|_)|_PWD$",
    re.IGNORECASE,
)
LEAST = 8  # characters of a variable's value that is looked for in texts: a shorter one is found in any of them
# What is in group 1 stays, as a reader must see what it was.
FORMS = tuple(
    re.compile(form)
    for form in (
        r"(?i)(://[^/\s:@'\"]*:)[^/\s'\"]+(?=@)",  # scheme://user:password@host; a password may hold an @
        r"(://)[^/\s:@'\"]{16,}(?=@)",  # scheme://token@host
        r"(?i)(authorization['\"]?\s*[:=]\s*['\"]?(?:(?:bearer|basic|token|negotiate|digest)\s+)?)[^\s'\",]{4,}",
        r"(?i)(\bbearer\s+)[\w.~+/=-]{16,}",
        r"(?i)((?:^|[\s?&{(\[;,'\"])(?:[\w-]{0,40}[_-])?(?:access_token|auth_token|api[_-]?key|secret|password|passwd|signature|secret_access_key"
        r"|x-amz-(?:signature|credential|security-token))['\"]?\s*[=:]\s*['\"]?)[^\s'\"&,}]{4,}",
        r"\b([A-Z0-9_]*(?:TOKEN|SECRET|PASSWORD|PASSWD|API_KEY|ACCESS_KEY)[A-Z0-9_]*=['\"]?)[^\s'\"&,}]{4,}",
        r"(?i)([?&][\w-]*(?:token|sig|key)=)[^\s'\"&]{4,}",  # a part of an address
        r"(?i)((?:^|\n|\s)machine\s+\S+\s+login\s+\S+\s+password\s+)\S+",  # a line of ~/.netrc
        r"\b(hf_|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-|AKIA|ASIA|pypi-)[\w-]{16,}",
        r"\b(eyJ)[\w-]{8,}\.[\w-]{8,}\.[\w-]+",  # a JSON web token
    )
)


def is_secret(name: str, value: str) -> bool:
    """Whether a variable is one that nobody else may see: by its name, or by what is in it."""
    return NAME.search(name) is not None or redacted(value) != value


def redacted(text: str) -> str:
    """The same without what has the form of a password or a token.

    >>> redacted("https://me:secret@host/path")
    'https://me:***@host/path'
    """
    for form in FORMS:
        text = form.sub(rf"\g<1>{HIDDEN}", text)
    return text


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """The values of variables whose names are a secret's, the longest first."""
    found = {value for name, value in environment.items() if NAME.search(name) and len(value) >= LEAST}
    return sorted((value for value in found if not _is_path(value)), key=len, reverse=True)


def _is_path(value: str) -> bool:
    """As that of an agent's socket: a way to a secret, and none itself."""
    try:
        return Path(value).exists()
    except OSError:  # too long for one
        return False


def redact_files(paths: Iterable[Path], environment: Mapping[str, str]) -> None:
    """Rewrites those in which something has the form of a secret, or is one of `environment`; their times stay."""
    values = [line for value in secrets_of(environment) for line in value.splitlines() if len(line) >= LEAST]
    for path in paths:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
            found = path.suffix == ERROR or any(_clean(line, values) != line for line in lines)
        if found:
            content = path.read_bytes().decode("utf-8", "surrogateescape")
            cleaned = _clean_error(content, values) if path.suffix == ERROR else _clean(content, values)
            if cleaned != content:
                times = path.stat()
                path.write_bytes(cleaned.encode("utf-8", "surrogateescape"))
                os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _clean_error(content: str, values: Sequence[str]) -> str:
    """A rank's error is JSON: what is in its strings is cleaned, so that it stays JSON."""
    try:
        found = json.loads(content)
    except ValueError:
        return _clean(content, values)
    cleaned = {key: _clean(value, values) if isinstance(value, str) else value for key, value in found.items()}
    return content if cleaned == found else json.dumps(cleaned, ensure_ascii=False)


def _clean(text: str, values: Iterable[str]) -> str:
    text = redacted(text)
    for value in values:
        text = text.replace(value, HIDDEN)
    return text
