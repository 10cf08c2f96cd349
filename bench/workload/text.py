"""Pre-training text: which files, and where a document ends."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.quoting import clipped, quoted

# A title of WikiText: one equals sign on each side; the sections below it have more.
TITLE = re.compile(r"^[ \t]*=[ \t](?!=)[^\n]*[^=\n][ \t]=[ \t]*$", re.MULTILINE)
BLANK_LINES = re.compile(r"\n(?:[ \t]*\n)+")


@dataclass(frozen=True, slots=True)
class Source:
    """One input and its documents, in order."""

    name: str
    documents: tuple[str, ...]


def builtin_sources() -> list[Source]:
    """The English text that every CPython carries: the help topics of its language reference, by name."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise UserError("workload.data is 'builtin', but this Python lacks pydoc_data: give a .txt file") from None
    return [Source("builtin", tuple(topics[name] for name in sorted(topics)))]


def input_files(data: str, suffixes: Sequence[str], key: str = "workload.data") -> list[Path]:
    """The files that `data` names, sorted: a file, a glob, or a folder of files with one of `suffixes`.

    Raises UserError when there is none, naming the study's `key`.
    """
    path = Path(data).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in suffixes and file.is_file())
        if not files:
            raise UserError(f"{key} is {data!r}: the folder has no {' or '.join(suffixes)} file")
        return files
    if not any(sign in data for sign in "*?["):
        word = "builtin" if key == "workload.data" else "held_out"
        raise UserError(f"{key} is {data!r}: there is no such file; allowed are {word!r}, a path or a glob")
    root = Path(path.anchor)
    files = sorted(file for file in root.glob(str(path.relative_to(root))) if file.is_file())
    if not files:
        raise UserError(f"{key} is {data!r}: the glob matches no file")
    return files


def read_text(path: Path) -> str:
    """The content with `\\n` line ends and without a byte-order mark. Raises UserError unless it is UTF-8 text."""
    content = read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: byte 0x{content[error.start]:02x} is no UTF-8; save it as UTF-8") from None
    if not text.strip():
        raise UserError(f"{path} is empty")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(path: Path) -> bytes:
    """The content. Raises UserError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def split_documents(text: str) -> tuple[str, ...]:
    """Documents of a text with `\\n` line ends.

    A text with WikiText titles (`= Title =`) is split at these; any other at blank lines, as the original BERT's
    input is.
    """
    starts = [match.start() for match in TITLE.finditer(text)]
    if starts:
        ends = [*starts[1:], len(text)]
        parts = [text[: starts[0]], *(text[start:end] for start, end in zip(starts, ends, strict=True))]
    else:
        parts = BLANK_LINES.split(text)
    return tuple(part for part in parts if part.strip())


def read_source(path: Path) -> Source:
    """A .parquet file, or a text file of any other name. Raises UserError."""
    documents = read_parquet(path) if path.suffix == ".parquet" else split_documents(read_text(path))
    return Source(str(path), documents)


def read_parquet(path: Path) -> tuple[str, ...]:
    """The rows of column `text`, each a document, or, when rows are lines of WikiText, its articles."""
    rows = [row for row in read_columns(path, {"text": ("string",)})["text"] if row and row.strip()]
    if not rows:
        raise UserError(f"{path} is empty: column 'text' has no text")
    return split_documents("\n".join(rows)) if any(TITLE.match(row) for row in rows) else tuple(rows)


def read_columns(path: Path, kinds: Mapping[str, Sequence[str]]) -> dict[str, list[Any]]:
    """Columns of a Parquet file whose types are among `kinds` ("string", "integer"). Raises UserError."""
    from pyarrow import ArrowException, parquet

    try:
        file = parquet.ParquetFile(path)
        for name, allowed in kinds.items():
            _check_column(path, file.schema_arrow, name, allowed)
        table = file.read(columns=list(kinds))
        return {name: table[name].to_pylist() for name in kinds}
    except (ArrowException, OSError, ValueError) as error:  # ValueError: text that is no UTF-8
        # Arrow's own words have line breaks in them.
        raise UserError(f"{path} cannot be read as Parquet: {clipped(' '.join(str(error).split()))}") from None


def _check_column(path: Path, schema: Any, name: str, allowed: Sequence[str]) -> None:
    from pyarrow import types

    if schema.names.count(name) != 1:
        has = "has no column" if name not in schema.names else "has more than one column"
        raise UserError(f"{path} {has} {name!r}; its columns are {quoted(schema.names)}")
    kind = schema.field(name).type
    kind = kind.value_type if types.is_dictionary(kind) else kind
    is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    is_kind = {"string": is_text, "integer": types.is_integer(kind)}
    if not any(is_kind[word] for word in allowed):
        said = " ".join(str(kind).split())[:100]
        raise UserError(f"{path}: column {name!r} has type {said}, allowed is {' or '.join(allowed)}")
