"""What a person gave, as an error's sentence shows it."""

from __future__ import annotations

import reprlib

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 160
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 10
_SHORT.maxlevel = 3


def printable(text: str) -> str:
    """The same on one line, for a terminal: a name or a damaged file may hold line breaks, escape codes, and bytes that
    are no text.

    >>> printable("a\\n\\x1b[31m\\udcff")
    'a\\\\n\\\\x1b[31m\\\\udcff'
    """
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def clipped(sentence: str, longest: int = 300) -> str:
    """What a library says, which may repeat all that it was given."""
    return sentence if len(sentence) <= longest else f"{sentence[:longest]}..."


def quoted(value: object) -> str:
    """As Python writes it, on one line, and with "..." in place of its middle where it is long.

    >>> quoted("a\\nb"), quoted([1, "x"]), len(quoted("x" * 10_000))
    ("'a\\\\nb'", "[1, 'x']", 160)
    """
    return _SHORT.repr(value)
