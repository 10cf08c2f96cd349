from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

import backends

ROOT = Path(__file__).resolve().parents[1]
FRAMEWORKS = {"torch", "tensorflow", "keras", "keras_hub", "horovod", "transformers", "jax"}
OF_FRAMEWORK = {
    "torch": {"torch", "transformers", "horovod"},
    "tensorflow": {"tensorflow", "keras", "keras_hub", "horovod"},
    "none": set[str](),
}
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for part in ("bench", "reports")
    for path in (ROOT / part).rglob("*.py")
    if path.name != "__main__.py"
)
PATHS = os.environ | {"PYTHONPATH": str(ROOT)}
# What `paceline --help` may not wait for.
SLOW = ["numpy", "pandas", "pyarrow", "scipy", "matplotlib", "rich", "jinja2", "tokenizers", "safetensors"]


def loaded_by(module: str) -> set[str]:
    """Top-level modules in a fresh interpreter that has imported `module` only."""
    code = f"import {module}, sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-P", "-c", code], env=PATHS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_no_module_of_bench_or_reports_loads_a_framework() -> None:
    code = f"""
import importlib, sys
for module in {MODULES!r}:
    importlib.import_module(module)
    found = sorted({FRAMEWORKS!r} & set(sys.modules))
    if found:
        sys.exit(f"{{module}} loads {{found}}")
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], env=PATHS, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_table_of_backends_loads_no_framework() -> None:
    assert not loaded_by("backends") & FRAMEWORKS


@pytest.mark.skipif(not (ROOT / "bench/cli").exists(), reason="there is no command yet")
def test_the_command_starts_without_the_slow_libraries() -> None:
    assert sorted(loaded_by("bench.cli") & set(SLOW)) == []


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("bench", "backends", "reports", include_external_packages=True, cache_dir=None)


@pytest.mark.parametrize("name", backends.BACKENDS)
def test_a_backend_reaches_its_own_framework_only(graph: grimp.ImportGraph, name: str) -> None:
    reached = graph.find_upstream_modules(f"backends.{name}") & FRAMEWORKS
    assert reached <= OF_FRAMEWORK[backends.BACKENDS[name].framework]


@pytest.mark.parametrize("name", backends.BACKENDS)
def test_a_backend_shares_code_with_others_through_underscored_modules_only(
    graph: grimp.ImportGraph, name: str
) -> None:
    imported = graph.find_modules_directly_imported_by(f"backends.{name}")
    shared = {module for module in imported if module.startswith("backends.")}
    assert {module for module in shared if not module.startswith("backends._")} == set()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for part in ("bench", "backends", "reports"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def broken_contracts(root: Path) -> str:
    """What lint-imports says of the tree in `root`; empty when every contract is kept."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache', '--no-logo'])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return done.stdout if done.returncode else ""


def test_the_import_contracts_are_kept(copy: Path) -> None:
    assert broken_contracts(copy) == ""


@pytest.mark.parametrize(
    ("path", "line", "contract"),
    [
        ("bench/records.py", "import torch", "bench and reports never import a framework"),
        ("reports/__init__.py", "import keras_hub", "bench and reports never import a framework"),
        ("bench/stats.py", "def f():\n    import backends.null", "bench loads a backend by name only, in the worker"),
        (
            "reports/text.py",
            "from bench import study",
            "reports import of bench only records, stats, storage, redaction and errors",
        ),
        (
            "backends/null.py",
            "import bench.catalog",
            "backends import of bench only protocols, records, errors and the clock",
        ),
        ("bench/study.py", "import bench.cli", "bench.cli is imported by bench.__main__ only"),
    ],
)
def test_a_planted_import_breaks_its_contract(copy: Path, path: str, line: str, contract: str) -> None:
    with (copy / path).open("a") as file:
        file.write(f"\n{line}\n")
    assert f"{contract} BROKEN" in broken_contracts(copy)
