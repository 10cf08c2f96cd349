"""A folder of runs as a small static site: an index, every run's report, and the history of every study.

Only what has changed is made again: `site.json` remembers of which result each page was made.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

import bench
import reports
from bench.errors import UserError
from bench.records import Record
from bench.storage import write_atomically
from reports import SWEEP
from reports.across import shelf
from reports.across.reading import RunReading
from reports.across.shelf import MARKS, Shelved
from reports.text import one_line

MEMORY = "site.json"
RUNS, HISTORY = "runs", "history"
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_RUNS_FOR_HISTORY = 2


class Entry(Record, frozen=True, kw_only=True):
    """One run. `stamp`: of the files it was read from. `sweep`: of collectives, which has no reading.

    `reason`: why there is no page, or no reading.
    """

    stamp: str
    reading: RunReading | None = None
    sweep: bool = False
    study: str | None = None
    created_utc: str | None = None
    reason: str | None = None


class Memory(Record, frozen=True, kw_only=True):
    """`site.json`: runs by name, and the stamp of each study's history."""

    runs: dict[str, Entry] = msgspec.field(default_factory=dict)
    histories: dict[str, str] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Built:
    """What was done. `damaged`: runs without a page, and why."""

    index: Path
    runs: int
    rendered: int
    damaged: tuple[tuple[str, str], ...]


def build(folder: Path, into: Path, tell: Callable[[str], None]) -> Built:
    """Makes or renews the site. Raises UserError: no runs, or `into` holds something else."""
    found = {shelf.name_of(path, folder): path for path in shelf.find(folder, [into])}
    if not found:
        raise UserError(f"below {folder} there is no run")
    before = _remembered(into)
    into.mkdir(parents=True, exist_ok=True, mode=0o700)
    into.chmod(0o700)
    write_atomically(into / MEMORY, msgspec.json.encode(before))  # a site from here on, also where this is cut off
    for part in (RUNS, HISTORY):
        (into / part).mkdir(exist_ok=True, mode=0o700)
    runs = {name: _renewed(path, name, into, before.runs.get(name), tell) for name, path in found.items()}
    rendered = sum(runs[name] is not before.runs.get(name) for name in runs)
    histories = _histories(runs, into, before.histories)
    for gone in before.runs.keys() - runs.keys():
        page_of(into, RUNS, gone).unlink(missing_ok=True)
    for gone in before.histories.keys() - histories.keys():
        page_of(into, HISTORY, gone).unlink(missing_ok=True)
    from reports.across.site_page import render_index

    index = into / "index.html"
    write_atomically(index, render_index(folder.resolve().name, runs, sorted(histories)).encode())
    write_atomically(into / MEMORY, msgspec.json.encode(Memory(runs=runs, histories=histories)))
    damaged = tuple((name, entry.reason) for name, entry in runs.items() if entry.reason is not None)
    return Built(index, len(runs), rendered, damaged)


def slug(name: str) -> str:
    """A file name without its ending: the name itself where every system takes it, else some of it and a digest."""
    if _SAFE.fullmatch(name):
        return name
    kept = re.sub(r"[^A-Za-z0-9]+", "-", name)[:40].strip("-")
    return f"{kept or 'run'}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def page_of(into: Path, part: str, name: str) -> Path:
    """Where the page of a run or of a study's history is."""
    return into / part / f"{slug(name)}.html"


def _remembered(into: Path) -> Memory:
    """Empty for a new site, and where its memory cannot be read. Raises UserError for a folder of something else."""
    try:
        content = (into / MEMORY).read_bytes()
    except FileNotFoundError:
        if into.exists() and (not into.is_dir() or any(into.iterdir())):
            raise UserError(f"{into} is not empty and no site of paceline; give another folder with --into") from None
        return Memory()
    try:
        return msgspec.json.decode(content, type=Memory)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Memory()


def _renewed(path: Path, name: str, into: Path, before: Entry | None, tell: Callable[[str], None]) -> Entry:
    """`before` itself where its page is as new as its files."""
    stamp, page = _stamp(path), page_of(into, RUNS, name)
    if before is not None and before.stamp == stamp and before.reason is None and page.exists():
        return before
    try:
        entry, content = _read(path, name, stamp)
        write_atomically(page, content.encode() if isinstance(content, str) else content)
        tell(f"made the page of {name}")
        return entry
    except Exception as error:  # one run must not cost the others their pages; it is listed with what happened
        page.unlink(missing_ok=True)
        known = isinstance(error, UserError | OSError)
        reason = str(error) if known else f"its page cannot be made: {type(error).__name__}: {error}"
        tell(f"no page of {name}: {one_line(reason, 300)}")
        return Entry(stamp=stamp, reason=one_line(reason, 600))


def _read(path: Path, name: str, stamp: str) -> tuple[Entry, str | bytes]:
    if (path / SWEEP).is_file():
        from reports import collectives

        sweep = collectives.load(path)
        entry = Entry(stamp=stamp, sweep=True, study=sweep.study, created_utc=sweep.created_utc)
        return entry, reports.render(path, "html")
    found = shelf.read_one(path, name)
    if found.reading is None:
        raise UserError(found.reason or "it cannot be read")
    entry = Entry(stamp=stamp, reading=found.reading, study=found.reading.study, created_utc=found.reading.created_utc)
    return entry, reports.render(path, "html")


def _stamp(path: Path) -> str:
    """Of the files that pages are made of, and of what makes them."""
    files = [(mark, path / mark) for mark in (*MARKS, "windows.parquet")]
    files += [(file.relative_to(path).as_posix(), file) for file in sorted(path.glob("traces/*/traces.json"))]
    known = [(mark, file.stat()) for mark, file in files if file.is_file()]
    parts = [f"{mark} {status.st_size} {status.st_mtime_ns}" for mark, status in known]
    return hashlib.sha256("\n".join([bench.__version__, *parts]).encode()).hexdigest()


def _histories(runs: Mapping[str, Entry], into: Path, before: Mapping[str, str]) -> dict[str, str]:
    """Stamp of each study with two runs or more; a page is made where that is another than before."""
    stamps: dict[str, str] = {}
    for study, own in _by_study(runs).items():
        joined = "\n".join(f"{one.name} {runs[one.name].stamp}" for one in own)
        stamps[study] = hashlib.sha256(joined.encode()).hexdigest()
        page = page_of(into, HISTORY, study)
        if before.get(study) != stamps[study] or not page.exists():
            from reports.across import history
            from reports.across.history_page import render_page

            content = render_page(history.histories(own), [], f"History of {one_line(study, 80)}")
            write_atomically(page, content.encode())
    return stamps


def _by_study(runs: Mapping[str, Entry]) -> dict[str, Sequence[Shelved]]:
    found: dict[str, list[Shelved]] = {}
    for name, entry in runs.items():
        if entry.reading is not None:
            found.setdefault(entry.reading.study, []).append(Shelved(Path(name), name, entry.reading))
    return {study: shelf.in_order(own) for study, own in found.items() if len(own) >= _RUNS_FOR_HISTORY}
