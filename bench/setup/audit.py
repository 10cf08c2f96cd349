"""Looks up every locked package in PyPI's list of advisories: `python -P bench/setup/audit.py`, by `make check`.

Exit status 1 where one has an advisory that advisories.toml does not accept. Where the list cannot be had, or does not
know the packages (a mirror may answer for it), it says so and lets pass: nothing was proven. A clean answer counts for
a day, that there was none for an hour.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ACCEPTED = Path(__file__).with_name("advisories.toml")
KEPT = ROOT / ".venv" / ".paceline-audit.json"
LONGEST_S = 20.0
CLEAN_S, SKIPPED_S = 86_400.0, 3_600.0


@dataclass(frozen=True)
class Outcome:
    """`findings`: one sentence for each advisory. `skipped`: why nothing was found out, else None."""

    findings: list[str]
    skipped: str | None
    said: str


def pins(locks: Sequence[Path]) -> list[str]:
    """`name==version` of all locks, without the part of a version that only a local build has, for which there are no
    advisories of its own."""
    lines = [line for lock in locks for line in lock.read_text().splitlines() if line[:1].isalnum()]
    return sorted({line.split()[0].split(";")[0].split("+")[0] for line in lines})


def judge(report: Mapping[str, Any], accepted: Sequence[Mapping[str, Any]], today: date) -> Outcome:
    """What pip-audit's JSON means. An acceptance that has run out counts no longer."""
    standing = {(each["package"], name) for each in accepted if each["again"] >= today for name in each["ids"]}
    known = [each for each in report["dependencies"] if "vulns" in each]
    unknown = sorted(each["name"] for each in report["dependencies"] if "vulns" not in each)
    if not known:
        return Outcome([], "the package index here knows no advisories", "")
    findings = list(_findings(known, standing))
    missing = f"; the index does not know {', '.join(unknown)}" if unknown else ""
    return Outcome(findings, None, f"{len(known)} locked packages, {len(findings)} with an open advisory{missing}")


def _findings(known: Sequence[Mapping[str, Any]], standing: set[tuple[str, str]]) -> Iterator[str]:
    for package in known:
        for found in package["vulns"]:
            names = [found["id"], *found.get("aliases", [])]
            if not any((package["name"], name) in standing for name in names):
                fixed = ", ".join(found.get("fix_versions", [])) or "no release yet"
                yield f"{package['name']} {package['version']}: {', '.join(names)}; fixed in {fixed}"


def ask(wanted: Sequence[str], accepted: Sequence[Mapping[str, Any]], today: date) -> Outcome:
    """Runs pip-audit, which resolves and installs nothing here."""
    with tempfile.TemporaryDirectory(prefix="paceline-audit-") as folder:
        file = Path(folder) / "pins.txt"
        file.write_text("".join(f"{pin}\n" for pin in wanted))
        argv = [sys.executable, "-m", "pip_audit", "-r", str(file), "--no-deps", "--disable-pip", "-f", "json"]
        argv += ["--progress-spinner", "off", "--timeout", "5"]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=LONGEST_S, check=False)
        except subprocess.TimeoutExpired:
            return Outcome([], f"the list of advisories did not answer within {LONGEST_S:.0f} s", "")
    try:
        return judge(json.loads(done.stdout), accepted, today)
    except json.JSONDecodeError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return Outcome([], _why_not(last), "")


def _why_not(last: str) -> str:
    if "No module named pip_audit" in last:
        return "pip-audit is not installed"
    return f"the list of advisories cannot be reached ({last[:200]})"


def kept(key: str, now_s: float) -> Outcome | None:
    """The last answer about the same pins and acceptances, where it is young enough."""
    try:
        found = json.loads(KEPT.read_text())
        fresh = now_s - found["at_s"] < (SKIPPED_S if found["skipped"] else CLEAN_S)
        return Outcome([], found["skipped"], found["said"]) if fresh and found["key"] == key else None
    except (OSError, ValueError, KeyError):
        return None


def main() -> int:
    """0, or 1 with one line for each advisory."""
    accepted = tomllib.loads(ACCEPTED.read_text())["accepted"]
    wanted = pins(sorted((ROOT / "locks").glob("*.txt")))
    key = hashlib.sha256("\n".join([*wanted, ACCEPTED.read_text(), sys.version]).encode()).hexdigest()
    outcome = kept(key, time.time())
    if outcome is None:
        outcome = ask(wanted, accepted, datetime.now(UTC).date())
        if not outcome.findings:
            record = {"key": key, "at_s": time.time(), "skipped": outcome.skipped, "said": outcome.said}
            KEPT.write_text(json.dumps(record))
    for finding in outcome.findings:
        print(f"paceline audit: {finding}", file=sys.stderr)
    if outcome.findings:
        print(f"raise the range and `make locks --upgrade`, or accept it in {ACCEPTED.name}", file=sys.stderr)
    print(f"audit skipped, because {outcome.skipped}" if outcome.skipped else f"audit: {outcome.said}")
    return 1 if outcome.findings else 0


if __name__ == "__main__":
    sys.exit(main())
