"""How a value looks to a person: numbers with as many digits as they deserve, unknown as a dash, text as text."""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from bench.stats import Estimate

DASH = "\u2013"
DIGITS = 4
_SMALLEST, _LARGEST = 1e-5, 1e15  # beyond them a number has an exponent
_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def number(value: float | None, digits: int = DIGITS) -> str:
    """`digits` significant digits, thousands grouped; an exponent where that would be a row of zeros.

    >>> number(1234.56), number(0.5), number(1.5e300, 3), number(0.00000123, 2)
    ('1,235', '0.5000', '1.50e+300', '1.2e-06')
    """
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:{_form(value, digits)}}"


def _form(value: float, digits: int) -> str:
    """How `value` and its bounds are written."""
    plain = value == 0 or _SMALLEST <= abs(value) < _LARGEST
    return f",.{decimals(value, digits)}f" if plain else f".{digits - 1}e"


def decimals(value: float, digits: int = DIGITS) -> int:
    """Places after the point that give `value` its significant digits."""
    rounded = abs(float(f"{value:.{digits - 1}e}"))  # 0.9999 has the places of 1
    return 0 if rounded == 0 else max(0, digits - 1 - math.floor(math.log10(rounded)))


def interval(estimate: Estimate | None, scale: float = 1.0, digits: int = DIGITS) -> str | None:
    """ "low to high" with the decimals of the point; None where there is no interval."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return None
    form = _form(estimate.point * scale, digits)
    return f"{estimate.low * scale:{form}} to {estimate.high * scale:{form}}"


def percents(estimate: Estimate) -> str | None:
    """The interval relative to its point.

    >>> percents(Estimate(100.0, 75.0, 134.0, 3))
    '\u221225 % to +34 %'
    """
    if estimate.low is None or estimate.high is None or not estimate.point:
        return None
    low, high = (abs(end / estimate.point - 1) * 100 for end in (estimate.low, estimate.high))
    places = 0 if max(low, high) >= 0.95 else 2
    return f"\u2212{low:.{places}f} % to +{high:.{places}f} %"


def difference(value: float | None) -> str:
    """A relative difference, of which the size matters and not the digits.

    >>> difference(2.34e-7), difference(0.0), difference(math.inf)
    ('2.3e-07', '0', 'not finite')
    """
    if value is None:
        return DASH
    return "not finite" if not math.isfinite(value) else f"{value:.1e}" if value else "0"


def percent(share: float | None) -> str:
    """A share of 1 as percent with one decimal below 10, none above.

    >>> percent(0.034), percent(0.81)
    ('3.4 %', '81 %')
    """
    if share is None or not math.isfinite(share):
        return DASH
    value = share * 100
    return f"{value:.0f} %" if abs(value) >= 9.95 else f"{value:.1f} %"


def size(count: float | None) -> str:
    """Bytes in decimal units, 1 MB = 1e6 bytes.

    >>> size(17_733_872), size(512)
    ('17.7 MB', '512 B')
    """
    if count is None:
        return DASH
    for factor, unit in _UNITS:
        if count >= factor:
            return f"{number(count / factor, 3)} {unit}"
    return f"{count:.0f} B"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun.

    >>> counted(1, "launch", "launches"), counted(3, "launch", "launches")
    ('1 launch', '3 launches')
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def seconds(iso: str) -> float | None:
    """Of an ISO time, since 1970; without a zone it is UTC. None where it is none."""
    try:
        at = datetime.fromisoformat(iso)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def when(created_utc: str) -> str:
    """To the minute.

    >>> when("2026-01-02T03:04:05+00:00")
    '2026-01-02 03:04 UTC'
    """
    at_s = seconds(created_utc)
    return one_line(created_utc, 40) if at_s is None else f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M} UTC"


def clean(text: str) -> str:
    r"""Text that can only be read: control, bidirectional and private characters show as \u escapes.

    Line ends and tabs stay. A terminal escape, a NUL or a right-to-left override in a host name or in a log
    would otherwise act on the reader's screen.
    """
    if text.isascii() and text.isprintable():  # nearly all of a page
        return text
    return "".join(_visible(character) for character in text)


def one_line(text: str, limit: int = 10_000) -> str:
    """`clean`, without line breaks, cut to `limit` characters with an ellipsis."""
    flat = " ".join(clean(text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def _visible(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn"):
        return character
    if character in "\u200c\u200d":  # joiners: part of emoji and of several scripts, harmless
        return character
    return f"\\u{ord(character):04x}"


def csv_table(lines: Sequence[Mapping[str, str | int | float | bool | None]]) -> str:
    """RFC 4180, the first line's keys as the head.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(lines[0] if lines else ())
    for line in lines:
        writer.writerow(
            f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
            for cell in line.values()
        )
    return out.getvalue()
