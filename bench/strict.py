"""Checks keys and values of a study against the records, so that the error names the line, the value and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from bench.quoting import quoted
from bench.records import Record
from bench.yaml_source import Source, suggestion

KeyPath = tuple[str, ...]

# msgspec's words, and those of somebody who writes a study.
_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "array": "a list",
          "object": "`key: value` lines", "null": "nothing"}  # fmt: skip


def check_tree(source: Source, tree: Mapping[str, Any], record: type[Record], also: Iterable[str]) -> None:
    """Every key and value below the top level of `tree`. `also` are further keys that a typo may have meant.

    Raises UserError with file and line.
    """
    for key, value in _leaves(tree, (), record):
        check_value(source, key, value, record, key, also)


def check_value(
    source: Source, path: KeyPath, value: Any, record: type[Record], at: KeyPath, also: Iterable[str] = ()
) -> None:
    """One value for the key `path` of `record`, written at `at` in the file. Raises UserError with file and line."""
    kind = _field_type(source, path, record, at, also)
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        name = ".".join(path)
        given = 'empty (YAML\'s null; quote a word that is meant: "null")' if value is None else quoted(value)
        raise source.error(at, f"{name} is {given}; {_expected(kind, value, error)}") from None


def _leaves(tree: Mapping[str, Any], above: KeyPath, kind: Any) -> Iterable[tuple[KeyPath, Any]]:
    """Paths and values, descending wherever the record has a section, or a mapping with free keys, of that name."""
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)} if _is_record(kind) else {}
    for key, value in tree.items():
        if isinstance(value, dict) and (_is_record(fields.get(key)) or get_origin(fields.get(key)) is dict):
            yield from _leaves(value, (*above, key), fields[key])
        else:
            yield (*above, key), value


def _field_type(source: Source, path: KeyPath, record: Any, at: KeyPath, also: Iterable[str]) -> Any:
    """Type of the field at `path`; a mapping's keys are free, so below one the mapping's value type answers."""
    kind = record
    for depth, key in enumerate(path):
        above = ".".join(path[:depth])
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
            continue
        if not _is_record(kind):
            raise source.error(at, f"{above} holds one value, it has no key {key!r}")
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
        if key not in fields:
            known = [*fields, *(() if above else also)]
            raise source.error(at, f"{above or 'a study'} has no key {key!r}{suggestion(key, known)}")
        kind = fields[key]
    return kind


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _expected(kind: Any, value: Any, error: msgspec.ValidationError) -> str:
    """The allowed words of a choice, else msgspec's own sentence about type and range."""
    choices = [choice for part in (kind, *get_args(kind)) if get_origin(part) is Literal for choice in get_args(part)]
    if not choices:
        return in_words(error)
    meant = suggestion(str(value), choices)
    allowed = f"allowed are {', '.join(choices)}" + (meant if "did you mean" in meant else "")
    others = [part for part in get_args(kind) if get_origin(part) is not Literal and not isinstance(part, str)]
    if not others or meant.startswith("; did"):
        return allowed
    try:
        msgspec.convert(value, Union[tuple(others)])  # noqa: UP007 - of a list that is made here
    except msgspec.ValidationError as error_of_others:
        return in_words(error_of_others).replace("expected", f"expected {', '.join(choices)} or", 1)
    return allowed


def in_words(error: msgspec.ValidationError) -> str:
    """msgspec's sentence for people.

    >>> in_words(msgspec.ValidationError("Expected `int | null`, got `str`"))
    'expected a whole number or nothing, got text'
    """
    said = str(error).replace("Expected", "expected").replace(" regex", "")
    return re.sub(r"`([a-z| ]+)`", lambda found: _listed(found[1].split(" | ")), said).replace(" - at `$[0]`", "")


def _listed(kinds: list[str]) -> str:
    words = [_WORDS.get(kind, kind) for kind in kinds if kind != "int" or "float" not in kinds]
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
