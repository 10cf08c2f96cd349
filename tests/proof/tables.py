"""The tables of docs/statistics.md and docs/faults.md, written from the records between the marks that name them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.regression import Verdict
from tests.proof import coverage, faults, gate, real, record
from tests.proof.simulate import CASES

DOCUMENTS = tuple(record.ROOT / "docs" / name for name in ("statistics.md", "faults.md"))
Parts = Mapping[str, Any]


def of_coverage(parts: Parts) -> str:
    """Chosen method: coverage in percent, those outside 93 to 97 in bold; half-width below."""
    lines = [
        [name, *(_cell(parts[f"interval, {name}"][coverage.CHOSEN][str(count)]) for count in coverage.LAUNCHES)]
        for name in CASES
    ]
    return _table(["launches", *map(str, coverage.LAUNCHES)], lines)


def of_methods(parts: Parts) -> str:
    """Every method in two cases, at some launch counts: coverage, and the median half-width of the interval."""
    counts = ("3", "4", "5", "7", "10")
    lines = []
    for name in ("normal, 1.5 %", "10 % disturbed, 10 % slower"):
        for method, found in parts[f"interval, {name}"].items():
            cells = [f"{_cell(found[count])} (\u00b1{found[count]['half_width'] * 100:.1f} %)" for count in counts]
            lines.append([name, method, *cells])
    return _table(["launches", "method", *counts], lines)


def of_ratio(parts: Parts) -> str:
    lines = [[name, *(_cell(parts[f"ratio, {name}"][str(count)]) for count in coverage.LAUNCHES)] for name in CASES]
    return _table(["launches of each", *map(str, coverage.LAUNCHES)], lines)


def of_stopping(parts: Parts) -> str:
    found = parts["stopping, normal, 1.5 %"]
    lines = [[rule, _cell(one), f"{one['launches']:.1f}"] for rule, one in found.items()]
    return _table(["rule", "coverage", "launches, mean"], lines)


def of_gate(parts: Parts) -> str:
    """Regress / pass / open, in percent."""
    lines = []
    for setting in gate.SETTINGS:
        names = [f"{setting.case}; baseline of {setting.baseline}; {setting.windows} windows; {slower:.0%} slower"
                 for slower in gate.SLOWDOWNS]  # fmt: skip
        cells = [
            " / ".join(_percent(parts[name][key]) for key in ("regress", "pass", "inconclusive")) for name in names
        ]
        mean = f"{parts[names[0]]['launches']:.1f}"
        lines.append([setting.case, str(setting.baseline), str(setting.windows), *cells, mean])
    heads = [f"{slower:.0%} slower" if slower else "the same" for slower in gate.SLOWDOWNS]
    return _table(["launches", "baseline", "windows", *heads, "launches if the same"], lines)


def of_real(parts: Parts) -> str:
    """Of each trial, and of all checks of the same work together: the rate of false alarms."""
    by_name = {name: real.verdicts(parts, name) for name in real.STUDIES}
    together = [verdict for found in by_name.values() for verdict in found["the same"]]
    lines = [_real(name, kind, verdicts) for name, found in by_name.items() for kind, verdicts in found.items()]
    heads = ["trial", "work", "checks", "regress", "pass", "inconclusive"]
    return _table(heads, [*lines, _real("both", "the same", together)])


def _real(name: str, kind: str, found: Sequence[Verdict]) -> list[str]:
    share, low, high = real.share(found, "regress")
    others = [f"{real.share(found, other)[0]:.1%}" for other in ("pass", "inconclusive")]
    return [name, kind, str(len(found)), f"{share:.1%} ({low:z.1%} to {high:.1%})", *others]


def of_faults(parts: Parts) -> str:
    """Seconds until each fault was noticed, over its repetitions."""
    lines = []
    for row in faults.rows():
        seconds = [float(found) for name, found in parts.items() if name.startswith(f"{row.name}, ")]
        times = (
            [f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}", _passed(row.name, len(seconds))]
            if seconds
            else ["\u2013"] * 3
        )
        lines.append([row.name, row.promise, *times])
    return _table(["fault", "promise", "noticed after, s (median)", "s (longest)", "held"], lines)


def _passed(row: str, count: int) -> str:
    found = record.broken(faults.matrix())
    failed = sum(len(said) for name, said in found.items() if name.startswith(f"{row}, "))
    return f"{count} of {count + failed}"


def of_kills(parts: Parts) -> str:
    parents, ranks, finished = (
        str(sum(found[name] for found in parts.values())) for name in ("parents", "ranks", "finished launches")
    )
    return _table(
        ["kills of the parent", "kills of a rank", "finished launches, all whole"], [[parents, ranks, finished]]
    )


def of_fuzz(parts: Parts) -> str:
    return _table(["parser", "broken files"], [[name, f"{found['inputs']:,}"] for name, found in parts.items()])


def of_soak(parts: Parts) -> str:
    found = parts["soak"]
    memory = [f"{found[name] / 1e6:.1f}" for name in ("early_bytes", "most_bytes")]
    files = [str(found[name]) for name in ("early_files", "most_files")]
    heads = ["trials", "MB after ten", "MB at most later", "files after ten", "files at most later"]
    return _table(heads, [[str(found["trials"]), *memory, *files]])


TABLES: Mapping[str, tuple[str, Callable[[Parts], str]]] = {
    "coverage": ("coverage", of_coverage),
    "methods": ("coverage", of_methods),
    "ratio": ("coverage", of_ratio),
    "stopping": ("coverage", of_stopping),
    "gate": ("gate", of_gate),
    "real": ("real", of_real),
    "faults": ("faults", of_faults),
    "kills": ("kills", of_kills),
    "fuzz": ("fuzz", of_fuzz),
    "soak": ("soak", of_soak),
}


def written(document: str, parts_of: Callable[[str], Parts | None]) -> str:
    """The document with every table whose record is there."""
    for mark, (name, table) in TABLES.items():
        parts = parts_of(name)
        before, opening, rest = document.partition(f"<!-- {mark} -->\n")
        _, closing, after = rest.partition(f"<!-- /{mark} -->")
        if parts is not None and closing:
            document = f"{before}{opening}{table(parts)}{closing}{after}"
    return document


def _cell(found: Mapping[str, float]) -> str:
    text = f"{found['coverage'] * 100:.1f}"
    return text if 0.93 <= found["coverage"] <= 0.97 else f"**{text}**"


def _percent(share: float) -> str:
    return f"{share * 100:.1f}"


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
