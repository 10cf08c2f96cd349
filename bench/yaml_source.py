"""Strict YAML 1.2 with line numbers: duplicate keys refused, size and node count capped, plain types only."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.quoting import clipped, quoted

LARGEST_BYTES = 100_000  # ruamel.yaml reads 40 kB a second
MOST_NODES = 10_000
MOST_LEVELS = 20
LONGEST_KEY = 100
LONGEST_TEXT = 4_096  # of a path on Linux
TAG = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Source:
    """A decoded document and the line of every key path in it, as `("workload", "model") -> 7`."""

    name: str
    text: str
    tree: dict[str, Any]
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)
    num_nodes: int = 0

    def error(self, path: tuple[str, ...], sentence: str) -> UserError:
        """A UserError that begins with file and line of `path` (of its nearest parent that has a line)."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return UserError(f"{self.name}:{self.lines[path[:length]]}: {sentence}")
        return UserError(f"{self.name}: {sentence}")


def suggestion(given: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?` for a near miss, else the list of what is allowed."""
    names = list(allowed)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; allowed are {', '.join(sorted(names))}"


def load(path: Path) -> Source:
    """Reads and decodes `path`. Raises UserError with file and line for anything that is not plain, unique YAML."""
    try:
        with path.open("rb") as file:  # no further than that: a device has no end
            content = file.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `paceline init` writes a study to start from") from None
    except IsADirectoryError:
        raise UserError(f"{path}: a folder; expected a study, which is a YAML file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > LARGEST_BYTES:
        raise UserError(f"{path}: larger than {LARGEST_BYTES} bytes; this is not a study")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from None
    return decode(text, str(path))


def decode(text: str, name: str) -> Source:
    """Decodes `text`; `name` stands in error sentences. The top level must be a mapping."""
    document = _compose(text, name)
    if document is None or document.tag == f"{TAG}null":
        raise UserError(f"{name}: empty; `paceline init` writes a study to start from")
    source = Source(name, text, {})
    tree = _plain(document, (), source, 0)
    if not isinstance(tree, dict):
        raise UserError(f"{name}:{_line(document)}: the top level must be `key: value` lines, got {quoted(tree)}")
    source.tree = tree
    return source


def _compose(text: str, name: str) -> Any:
    """The root node, None for an empty document. ruamel.yaml's scanner and parser alone: what it would make of the
    nodes (dates, sets, other people's types) is not wanted, and fails in many ways where they are not well written."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    directive = re.search(r"^%.*", text, re.MULTILINE)
    if directive is not None:
        line = text.count("\n", 0, directive.start()) + 1
        raise UserError(f"{name}:{line}: {quoted(directive[0])} is a directive; expected YAML 1.2 without any")
    reader = YAML(typ="safe", pure=True)
    reader.max_depth = MOST_LEVELS
    reader.composer.warn_double_anchors = False  # YAML allows that, and the warning goes to the terminal
    try:
        return reader.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = str(error.problem or "not valid YAML").split("\n")[0]
        said = f"{error.context}, {said}" if said.startswith("but ") else said.partition(", if necessary")[0]
        raise UserError(f"{name}:{mark.line + 1 if mark else 1}: {clipped(said)}") from None
    except YAMLError as error:
        raise UserError(f"{name}: not valid YAML: {clipped(str(error).splitlines()[0])}") from None
    except (ValueError, OverflowError):
        raise UserError(f"{name}: not valid YAML: an escape in it, as \\U0010ffff is one, names no character") from None


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _plain(node: Any, path: tuple[str, ...], source: Source, level: int) -> Any:
    """A node as dict, list or scalar; notes the line of each key on the way."""
    source.num_nodes += 1
    if source.num_nodes > MOST_NODES or level > MOST_LEVELS:
        limits = f"{MOST_NODES} values or {MOST_LEVELS} levels"
        raise source.error(path, f"more than {limits}, aliases expanded; this is not a study")
    kind = str(node.tag).removeprefix(TAG)
    if kind == "map" and node.id == "mapping":
        return _mapping(node, path, source, level)
    if kind == "seq" and node.id == "sequence":
        return [_plain(item, path, source, level + 1) for item in node.value]
    if kind in _SCALARS and node.id == "scalar":
        return _scalar(kind, node.value, path, source)
    name = ".".join(path) or "the study"
    allowed = (
        "text (in quotes where it looks like something else), numbers, true and false, lists and `key: value` lines"
    )
    raise source.error(path, f"{name} has the YAML type {quoted(kind)}; allowed are {allowed}")


def _mapping(node: Any, path: tuple[str, ...], source: Source, level: int) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key_node, value in node.value:
        key = _key(key_node, source)
        here = (*path, key)
        if key in tree:
            first = source.lines[here]
            raise UserError(f"{source.name}:{_line(key_node)}: the key {key!r} stands in line {first} already")
        source.lines.setdefault(here, _line(key_node))
        tree[key] = _plain(value, here, source, level + 1)
    return tree


def _key(node: Any, source: Source) -> str:
    where = f"{source.name}:{_line(node)}"
    kind = str(node.tag).removeprefix(TAG)
    if kind == "merge":
        raise UserError(f"{where}: merged keys (<<) are not supported; write the keys out")
    if kind != "str" or node.id != "scalar":
        given = quoted(node.value) if node.id == "scalar" else f"a {node.id}"
        raise UserError(f"{where}: a key is {given}; expected text, in quotes where it looks like something else")
    if not node.value.isprintable() or len(node.value) > LONGEST_KEY:
        raise UserError(
            f"{where}: the key {quoted(node.value)} is too long or not printable; "
            f"expected at most {LONGEST_KEY} characters"
        )
    return str(node.value)


def _scalar(kind: str, text: str, path: tuple[str, ...], source: Source) -> Any:
    name = ".".join(path)
    if not text.isprintable():
        raise source.error(path, f"{name} holds characters that cannot be printed")
    if len(text) > LONGEST_TEXT:
        raise source.error(path, f"{name} has {len(text)} characters; expected at most {LONGEST_TEXT}")
    try:
        value = _SCALARS[kind](text)
    except ValueError:
        raise source.error(path, f"{name} is {quoted(text)}; expected {_EXPECTED[kind]}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise source.error(path, f"{name} is {value}; expected a finite number")
    return value


def _integer(text: str) -> int:
    """Raises ValueError; also for one that no file of results could hold."""
    digits = text.replace("_", "").lower()
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits.lstrip("+-")[:2], 10)
    value = int(digits, base)
    if not -(2**63) <= value < 2**63:
        raise ValueError
    return value


def _float(text: str) -> float:
    """Raises ValueError."""
    return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))


def _boolean(text: str) -> bool:
    """Raises ValueError."""
    return bool(("false", "true").index(text.lower()))


def _null(text: str) -> None:
    return None


_SCALARS: dict[str, Callable[[str], Any]] = {
    "str": str, "int": _integer, "float": _float, "bool": _boolean, "null": _null
}  # fmt: skip
_EXPECTED = {"int": "a whole number of at most 64 bits", "float": "a number", "bool": "true or false"}
