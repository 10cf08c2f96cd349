"""`paceline collectives`."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import bench
from bench.cli.shared import (
    RUNS,
    UserInterrupt,
    cluster_options,
    in_color,
    load_study,
    observe,
    on_termination,
    refuse_changes,
    write,
)
from bench.errors import UserError
from bench.quoting import quoted

if TYPE_CHECKING:
    from bench.sweep_plan import Wanted

DEFAULT_STUDY = Path(bench.__file__).parent / "templates" / "collectives.yaml"
MOST_SIZES = 1_000
UNITS = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


@click.command(short_help="Time the collective operations alone, over sizes.")
@click.argument("study", type=Path, required=False)
@click.option("--from", "least", default="4KiB", show_default=True, help="Smallest size of an operation.")
@click.option("--to", "most", default="64MiB", show_default=True, help="Largest size.")
@click.option("--factor", type=float, default=4.0, show_default=True, help="From one size to the next.")
@click.option("--backend", "backends", multiple=True, help="Only this one of the study; may be repeated.")
@click.option("--algorithm", "algorithms", multiple=True, help="Only this all-reduce; may be repeated.")
@click.option("--operation", "operations", multiple=True, help="all_reduce, all_gather, ...; may be repeated.")
@click.option("--launches", type=click.IntRange(1, 1000), help="In place of the study's repeats.")
@click.option("--runs", type=Path, default=RUNS, help="Folder for run folders.  [default: ./runs]")
@click.option("--resume", type=Path, metavar="FOLDER", help="Continue that sweep: time only what it lacks.")
@click.option("--verbose", is_flag=True, help="One line a launch where there is no terminal.")
@cluster_options
def collectives(study: Path | None, runs: Path, resume: Path | None, verbose: bool, **flags: Any) -> int:
    """Time all-reduce, all-gather, reduce-scatter and broadcast alone, over sizes and at the model's own buckets.

    Of every stack of STUDY with every algorithm that it has; without STUDY, of the stacks that are installed.
    """
    from bench import sweep

    if resume is not None:
        refuse_changes(besides=("resume", "verbose"))
    wanted, cluster = _wanted(flags), None
    with on_termination(), observe(verbose) as observer:
        if resume is not None:
            folder = resume
        else:
            loaded, cluster = load_study(study or DEFAULT_STUDY, flags)
            folder = sweep.begin(loaded, wanted, runs, cluster, observer)
        try:
            sweep.proceed(folder.resolve(), observer, cluster)
        except KeyboardInterrupt as cause:
            raise UserInterrupt(folder, cause, "collectives") from None
    with on_termination():
        return _finish(folder)


def _wanted(flags: dict[str, Any]) -> Wanted:
    """What the flags ask for; takes its own out of them. Raises UserError."""
    from bench import catalog
    from bench.sweep_plan import ALGORITHMS, COLLECTIVES, Wanted

    least, most, factor = (flags.pop(name) for name in ("least", "most", "factor"))
    backends, algorithms, operations = (flags.pop(name) for name in ("backends", "algorithms", "operations"))
    _check_words("--backend", backends, catalog.entries())
    _check_words("--algorithm", algorithms, ALGORITHMS)
    _check_words("--operation", operations, COLLECTIVES)
    return Wanted(
        sizes_bytes=_sizes(least, most, factor),
        collectives=[kind for kind in COLLECTIVES if kind in (operations or COLLECTIVES)],
        backends=backends,
        algorithms=[name for name in ALGORITHMS if name in algorithms],
        launches=flags.pop("launches"),
        as_launched=flags["launcher"] is not None,
    )


def _check_words(flag: str, given: Iterable[str], allowed: Iterable[str]) -> None:
    from bench.yaml_source import suggestion

    known = list(allowed)
    for word in given:
        if word not in known:
            raise UserError(f"{flag}: {word!r} is not known{suggestion(word, known)}")


def _sizes(least: str, most: str, factor: float) -> list[int]:
    """The sizes of the sweep in bytes. Raises UserError that names the flag."""
    from bench.collectives import GRAIN_BYTES, sweep_sizes

    first, last = _bytes("--from", least), _bytes("--to", most)
    if first < GRAIN_BYTES:
        raise UserError(f"--from {least}: the smallest size is {GRAIN_BYTES} bytes")
    if first > last:
        raise UserError(f"--from {least} is more than --to {most}")
    if not 1.0 < factor < float("inf"):
        raise UserError(f"--factor {factor:g}: expected a number above 1")
    if math.log(last / first) / math.log(factor) > MOST_SIZES:
        raise UserError(f"--factor {factor}: from {least} to {most} these are more than {MOST_SIZES} sizes")
    return sweep_sizes(first, last, factor)


def _bytes(flag: str, text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?([A-Za-z]*)", text)
    if match is None or match[2] not in UNITS:
        raise UserError(f"{flag} {quoted(text)} is no size; expected as in 4096, 4KiB, 64MiB or 1.5GB")
    return int(float(match[1]) * UNITS[match[2]])


def _finish(folder: Path) -> int:
    """Table on standard output, page and CSV beside the file; 1 when a launch failed or a result was wrong."""
    import reports
    from reports import collectives as found

    color = in_color(sys.stdout)
    click.echo(reports.render(folder, "terminal" if color else "text"), nl=False)
    write(folder / "collectives.csv", reports.render(folder, "csv"))
    write(folder / "report.html", reports.render(folder, "html"))
    click.echo(f"\n{folder / 'report.html'}")
    return 1 if found.failures(found.load(folder)) else 0
