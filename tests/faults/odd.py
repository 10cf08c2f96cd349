"""Well-formed files with a content that nobody meant: they reach what lies behind the decoding.

A tree is what a JSON text holds. Of a good one some values become others, go, come twice or change places.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import pyarrow as pa
from msgspec import inspect
from pyarrow import parquet

from bench.records import SCHEMA

Encode = Callable[[Any], bytes]
Make = Callable[[Random], bytes]

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 7, 2**31, 2**53, 2**63, 2**64, 10**30, -(10**30), int("9" * 400), 0.5, -0.5, -0.0,
    1e-320, 1e-9, 1e15, 1e308, -1e308, float("nan"), float("inf"), "", " ", "0", "a\nb", "\x1b[31m", "\u202e", "\ud800",
    "x" * 300, "y " * 1_000, "../../etc/passwd", "/dev/null", "~", "~nobody/x", "**", "null", "NaN", "1e999",
    [], {}, [[]], [None], [{}], {"": None}, {"x" * 200: 1}, [0] * 200, json.loads("[" * 60 + "]" * 60),
)  # fmt: skip


def trees(samples: Sequence[Any], encode: Encode) -> Make:
    """One of the good ones with 1 to 3 changes."""

    def make(draw: Random) -> bytes:
        tree = copy.deepcopy(draw.choice(samples))
        for _ in range(draw.randint(1, 3)):
            places = list(_places(tree))
            if not places:
                break
            _change(draw, places)
        return encode(tree)

    return make


def _change(draw: Random, places: Sequence[tuple[Any, Any]]) -> None:
    holder, key = draw.choice(places)
    kind = draw.choice(("alike", "alike", "replace", "remove", "repeat", "move", "add"))
    found = copy.deepcopy(draw.choice(ODD))
    if kind == "alike":
        holder[key] = copy.deepcopy(draw.choice([value for value in ODD if _sort(value) == _sort(holder[key])]))
    elif kind == "replace":
        holder[key] = found
    elif kind == "remove":
        del holder[key]
    elif kind == "move":
        from_holder, from_key = draw.choice(places)
        holder[key] = copy.deepcopy(from_holder[from_key])
    elif isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]) if kind == "repeat" else found)
    else:
        holder[f"{key}2" if kind == "repeat" else "added"] = found


def _sort(value: Any) -> type:
    return float if type(value) is int else type(value)


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every value below, as the list or mapping that holds it and its place there."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from _places(tree[key])


def as_json(tree: Any) -> bytes:
    """With Python's NaN and Infinity, which other programs write too."""
    return json.dumps(tree).encode()


def as_lines(tree: Any) -> bytes:
    """Of a list: JSON lines."""
    return b"".join(as_json(line) + b"\n" for line in tree) if isinstance(tree, list) else as_json(tree)


def filled(kind: Any) -> Any:
    """A tree that decodes as `kind`, a type of bench.records: nothing in it is empty or left out."""
    return _filled(inspect.type_info(kind))


def _filled(kind: inspect.Type) -> Any:
    if isinstance(kind, inspect.StructType):
        tag = {kind.tag_field: kind.tag} if kind.tag_field else {}
        of_schema = {"schema": SCHEMA} if any(field.name == "schema" for field in kind.fields) else {}
        return tag | {field.encode_name: _filled(field.type) for field in kind.fields} | of_schema
    if isinstance(kind, inspect.UnionType):
        return _filled(next(part for part in kind.types if not isinstance(part, inspect.NoneType)))
    if isinstance(kind, inspect.ListType | inspect.VarTupleType):
        return [_filled(kind.item_type)]
    if isinstance(kind, inspect.TupleType):
        return [_filled(part) for part in kind.item_types]
    if isinstance(kind, inspect.DictType):
        return {_filled(kind.key_type): _filled(kind.value_type)}
    if isinstance(kind, inspect.LiteralType):
        return kind.values[0]
    if isinstance(kind, inspect.IntType):
        return max(kind.ge or 1, 1)
    return {inspect.FloatType: 0.5, inspect.BoolType: True, inspect.StrType: "a"}.get(type(kind))


# ---- tables ---------------------------------------------------------------------------------------------------------

_BROKEN_TEXT = pa.Array.from_buffers(
    pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"\xff\xfeab")]
)
COLUMNS: tuple[pa.Array, ...] = (
    pa.array(["a", "b"]), pa.array(["one two", "three"]), pa.array(["", None]), pa.array([" ", "\t\n"]),
    pa.array(["a", "b"], pa.large_string()), pa.array(["a", "b"]).dictionary_encode(), pa.array([b"a", b"\xff"]),
    pa.array([1, 2]), pa.array([-1, None]), pa.array([2**63, 2**64 - 1], pa.uint64()), pa.array([0.5, float("nan")]),
    pa.array([True, None]), pa.array([None, None]), pa.array([["a"], None]), pa.array([{"a": 1}, None]),
    pa.array([{"text": "a"}, {"text": "b"}]), pa.array([1, 2], pa.timestamp("ns")), pa.array(["x" * 70_000, "\0"]),
    _BROKEN_TEXT,
)  # fmt: skip


def tables(names: Sequence[str]) -> Make:
    """Parquet with columns of these names, and of others, in any type."""
    names = [*names, *names, *names, "other", "", "a\nb", "x" * 300]

    def make(draw: Random) -> bytes:
        columns = draw.choices(COLUMNS, k=draw.randint(0, 5))
        table = pa.Table.from_arrays(columns, names=draw.choices(names, k=len(columns)))
        sink = io.BytesIO()
        parquet.write_table(table.slice(0, draw.randint(0, 2)), sink)
        return sink.getvalue()

    return make


# ---- text of lines ------------------------------------------------------------------------------------------------


def lines(samples: Sequence[bytes], words: Sequence[bytes]) -> Make:
    """Lines of the good ones in any number and order, half of them with a word of the grammar in place of one of their
    own."""
    pool = [*(line for sample in samples for line in sample.splitlines()), b""]

    def make(draw: Random) -> bytes:
        chosen = draw.choices(pool, k=draw.randint(0, 12))
        return b"\n".join(line if draw.random() < 0.5 else _with_word(draw, line, words) for line in chosen)

    return make


def _with_word(draw: Random, line: bytes, words: Sequence[bytes]) -> bytes:
    parts = line.split()
    return line.replace(draw.choice(parts), draw.choice(words), 1) if parts else line
