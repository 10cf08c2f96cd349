"""Files that are whole or not there, and records with a checksum in the file: whoever reads a damaged or edited one is
told, and gets nothing of it.

A sealed file is one JSON object whose last member is "sha256", of all bytes before it with the closing brace.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TypeVar

import msgspec

from bench.records import SCHEMA, Record

Some = TypeVar("Some", bound=Record)

_MEMBER = b',"sha256":"'
_TAIL = len(_MEMBER) + 64 + len(b'"}')


def write_atomically(path: Path, content: bytes) -> None:
    """A reader sees the old file or the new one, never half; survives a crash of the machine right after. Where that
    fails nothing is left of the new one."""
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with staged.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


class Damaged(Exception):
    """The content is not what was written; the message is a clause that says how."""


def seal(record: Record) -> bytes:
    """The file's content."""
    return with_checksum(msgspec.json.encode(record))


def with_checksum(body: bytes) -> bytes:
    """The same JSON object with the checksum as its last member."""
    return body[:-1] + _MEMBER + hashlib.sha256(body).hexdigest().encode() + b'"}'


def unseal(content: bytes, kind: type[Some]) -> Some:
    """The record that was sealed. Raises Damaged for anything that is not bit for bit what `seal` returned."""
    schema = _schema(content)
    if not isinstance(schema, int):
        raise Damaged("it is no record of paceline: its schema is no number")
    if schema != SCHEMA:
        raise Damaged(f"it has schema {schema}, this paceline reads {SCHEMA}; use the paceline that wrote it")
    body, tail = content[:-_TAIL] + b"}", content[-_TAIL:]
    if not tail.startswith(_MEMBER) or not tail.endswith(b'"}'):
        raise Damaged("it is cut off: its checksum is missing")
    if hashlib.sha256(body).hexdigest().encode() != tail[len(_MEMBER) : -2]:
        raise Damaged("it was damaged or edited: its checksum is another")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(f"it is no {kind.__name__}: {error}") from None


def _schema(content: bytes) -> object:
    try:
        found = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Damaged(f"it is cut off or damaged: {error}") from None
    if not isinstance(found, dict) or "schema" not in found:
        raise Damaged("it is no record of paceline")
    return found["schema"]
