"""Strict YAML 1.2 with line numbers: duplicate keys refused, size and node count capped, plain types only."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError

LARGEST_BYTES = 1_000_000
MOST_NODES = 10_000


@dataclass(slots=True)
class Source:
    """A decoded document and the line of every key path in it, as `("workload", "model") -> 7`."""

    name: str
    text: str
    tree: dict[str, Any]
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)

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
        if path.stat().st_size > LARGEST_BYTES:
            raise UserError(f"{path}: larger than {LARGEST_BYTES} bytes; this is not a study")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `paceline init` writes a study to start from") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    return decode(text, str(path))


def decode(text: str, name: str) -> Source:
    """Decodes `text`; `name` stands in error sentences. The top level must be a mapping."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    reader = YAML(typ="rt", pure=True)
    try:
        loaded = reader.load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = str(error.problem or error.context or "not valid YAML").split("\n")[0]
        raise UserError(f"{name}:{line}: {problem}") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{name}: not valid YAML: {str(error).splitlines()[0]}") from None
    if loaded is None:
        raise UserError(f"{name}: empty; `paceline init` writes a study to start from")
    if not isinstance(loaded, dict):
        raise UserError(f"{name}:1: the top level must be `key: value` lines, got a {type(loaded).__name__}")
    source = Source(name, text, {})
    source.tree = _plain(loaded, (), source, [0])
    return source


def _plain(node: Any, path: tuple[str, ...], source: Source, seen: list[int]) -> Any:
    """ruamel's commented nodes to dict, list and scalars; notes the line of each key on the way."""
    seen[0] += 1
    if seen[0] > MOST_NODES or len(path) > 20:
        raise source.error(path, f"more than {MOST_NODES} values or 20 levels, aliases expanded; this is not a study")
    if isinstance(node, dict):
        return _mapping(node, path, source, seen)
    if isinstance(node, list):
        return [_plain(item, path, source, seen) for item in node]
    return _scalar(node, path, source)


def _scalar(node: Any, path: tuple[str, ...], source: Source) -> Any:
    name = ".".join(path)
    if isinstance(node, float) and not math.isfinite(node):
        raise source.error(path, f"{name} is {float(node)}; expected a finite number")
    if isinstance(node, str) and not node.isprintable():
        raise source.error(path, f"{name} holds characters that cannot be printed")
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    if node is None:
        return None
    raise source.error(path, f"{name} is a {type(node).__name__}; expected text, a number, true or false")


def _mapping(node: Any, path: tuple[str, ...], source: Source, seen: list[int]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in node.items():
        if not isinstance(key, str):
            raise source.error(path, f"the key {key!r} must be text")
        if key not in node.lc.data:
            raise source.error(path, "merged keys (<<) are not supported; write the keys out")
        source.lines.setdefault((*path, key), node.lc.key(key)[0] + 1)
        tree[key] = _plain(value, (*path, key), source, seen)
    return tree
