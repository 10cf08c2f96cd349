from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import backends

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for part in ("bench", "backends", "reports") for path in (ROOT / part).rglob("*.py"))
MODULE_LINES = 300
# The file format is one list of records: splitting it would hide what a file holds.
LONGER = {"bench/records.py": 400}
FUNCTION_LINES = 40


def test_each_public_file_in_backends_is_one_row_of_the_table() -> None:
    files = {path.stem for path in (ROOT / "backends").glob("[!_]*.py")}
    assert files == set(backends.BACKENDS)


@pytest.mark.parametrize("name", backends.BACKENDS)
def test_a_row_names_its_own_module_and_a_bare_backend_of_its_framework(name: str) -> None:
    row = backends.BACKENDS[name]
    assert row.module == f"backends.{name}"
    if row.bare is not None:
        assert backends.BACKENDS[row.bare].framework == row.framework
        assert backends.BACKENDS[row.bare].max_replicas == 1


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGER.get(str(path.relative_to(ROOT)), MODULE_LINES)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_function_fits_on_a_screen(path: Path) -> None:
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in functions(ast.parse(path.read_text()))
        if node.end_lineno and node.end_lineno - node.lineno + 1 > FUNCTION_LINES
    }
    assert long == {}
