"""Output of other benchmarks, in this project's units and definitions, so that it can stand in the same tables.

A reader is a function of one file's text that returns records; what a file does not tell stays None. Several
files (or several runs in one file) of the same thing are its launches: from three on there is an interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.errors import UserError
from bench.importers import horovod, nccl_tests, pytest_benchmark
from bench.importers.render import render as render
from bench.importers.rows import Collective as Collective
from bench.importers.rows import Imported as Imported
from bench.importers.rows import Training as Training
from bench.importers.rows import checked, merged
from bench.importers.rows import columns as columns
from bench.quoting import clipped

LARGEST_BYTES = 100_000_000
KNOWN = (
    "the text that Horovod's synthetic benchmarks print, nccl-tests' JSON (-J FILE), pytest-benchmark's JSON "
    "(--benchmark-json or --benchmark-save)"
)


def read(paths: Sequence[Path]) -> list[Imported]:
    """All that the files hold, launches of the same thing put together. Raises UserError naming file and fault."""
    return merged([one for path in paths for one in _read(path)])


def _read(path: Path) -> list[Imported]:
    text = _text(path)
    try:
        found = [checked(one) for one in _decoded(text)]
    except msgspec.ValidationError as error:
        raise UserError(f"{path} is not what its kind of file holds: {clipped(str(error))}") from None
    except msgspec.DecodeError as error:
        kind = "cut off, or no JSON" if text.lstrip()[:1] in "{[" else "of a kind that is not known"
        raise UserError(f"{path} is {kind} ({error}); known are {KNOWN}") from None
    except (ValueError, ArithmeticError) as error:
        raise UserError(f"{path}: {clipped(str(error), 600)}") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply; known are {KNOWN}") from None
    if not found:
        raise UserError(f"{path}: there is no result in it")
    return found


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:  # no further than that: a device has no end
            content = file.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise UserError(f"{path} is larger than {LARGEST_BYTES} bytes; known are {KNOWN}")
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text; known are {KNOWN}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if not text.strip():
        raise UserError(f"{path} is empty; known are {KNOWN}")
    return text


def _decoded(text: str) -> list[Imported]:
    """Raises msgspec's errors and ValueError."""
    if horovod.claims(text):
        return list(horovod.read(text))
    document = msgspec.json.decode(text)
    for reader in (nccl_tests, pytest_benchmark):
        if reader.claims(document):
            return list(reader.read(document))
    raise ValueError(f"JSON of another kind; known are {KNOWN}")
