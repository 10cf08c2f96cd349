"""What `paceline collectives` found: its file, checked and read, and its numbers as text and CSV."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.errors import UserError
from bench.records import CollectiveLine, CollectiveRow, Crossover, Sweep, Trial
from bench.stats import Estimate, differs
from bench.storage import Damaged, unseal
from reports import SWEEP
from reports.columns import Cell, plain
from reports.text import counted, csv_table, interval, number, one_line, size

WIDTH = 80
_HEADINGS = ("operation", "size", "time ms (95 %)", "p95 ms", "algbw", "busbw")
_WIDTHS = (15, 8, 27, 9, 8, 8)  # with 1 blank between: 80
_BOLD, _RED, _DIM, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[2m", "\x1b[0m"
MS = 1e-6  # of a nanosecond
MOST_SIZES = 4  # that are named one by one


def load(folder: Path) -> Sweep:
    """Reads and verifies. Raises UserError: no such file, or a damaged or foreign one."""
    path = folder / SWEEP
    try:
        return unseal(path.read_bytes(), Sweep)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except Damaged as damage:
        raise UserError(f"{path}: {damage}") from None


def labels(trials: Sequence[Trial]) -> dict[str, str]:
    """Trial id to "torch_ddp x2, ring"; with the launcher where a backend has several, and with the id where that would
    stand for two."""
    several = {one.backend for one in trials for other in trials if _launchers_differ(one, other)}
    by = {trial.id: f" by {trial.launcher}" if trial.backend in several else "" for trial in trials}
    short = {trial.id: f"{trial.backend} \u00d7{trial.replicas}{by[trial.id]}, {trial.allreduce}" for trial in trials}
    uses = Counter(short.values())
    return {trial_id: label if uses[label] == 1 else f"{label} ({trial_id})" for trial_id, label in short.items()}


def _launchers_differ(one: Trial, other: Trial) -> bool:
    return one.backend == other.backend and one.launcher != other.launcher


def operation(row: CollectiveRow) -> str:
    """ "all-reduce", or how many tensors the model's step exchanges: DDP's buckets, one by one what others fuse."""
    if len(row.request.elements) == 1:
        return row.request.collective.replace("_", "-")
    return f"own {counted(len(row.elements), 'tensor')}" if row.elements else "own tensors"


def estimate(row: CollectiveRow) -> Estimate | None:
    """The time of one operation in ns, None where there is none."""
    return None if row.time_ns is None else Estimate(row.time_ns, row.low_ns, row.high_ns, row.launches)


def bandwidth(gb_per_s: float | None) -> str:
    """GB/s with three digits, however few they are."""
    return f"{gb_per_s:.1e}" if gb_per_s and gb_per_s < 1e-3 else number(gb_per_s, 3)


def sizes(each_bytes: Sequence[int]) -> str:
    """All of a few, of many the range."""
    few = [size(each) for each in each_bytes]
    return ", ".join(few) if len(few) <= MOST_SIZES else f"{size(min(each_bytes))} to {size(max(each_bytes))}"


def failures(sweep: Sweep) -> list[str]:
    """Launches that failed, and rows that are withheld because a result was wrong: what makes a sweep fail."""
    names = labels(sweep.trials)
    failed = [f"{names[one.trial_id]}: launch {one.repeat}: {one.error}" for one in sweep.launches if one.error]
    wrong = [row for row in sweep.rows if row.exact is False]
    return failed + [
        f"{names[row.trial_id]}, {operation(row)} of {size(row.size_bytes)}: {row.reason}" for row in wrong
    ]


def not_selectable(sweep: Sweep) -> list[str]:
    """One sentence for each reason: of a whole stack and algorithm, and of single operations."""
    found: dict[str, list[str]] = {}
    for trial, reason in sweep.rejected:
        # one sentence for all algorithms that a stack lacks
        sentence = reason.replace(f"all-reduce {trial.allreduce};", "them;")
        found.setdefault(f"{trial.backend} \u00d7{trial.replicas}: {{}}: {sentence}", []).append(trial.allreduce)
    names = labels(sweep.trials)
    for row in sweep.rows:
        if row.reason is not None and row.exact is not False and row.launches:
            key = f"{names[row.trial_id].replace('{', '(')}: {{}}: {row.reason}"
            found.setdefault(key, []).append(operation(row))
    return [
        f"{before}{', '.join(dict.fromkeys(what))}{after}"
        for key, what in found.items()
        for before, _, after in [key.partition("{}")]
    ]


def line_sentence(line: CollectiveLine) -> str:
    """A fitted line in words."""
    bandwidth = f"size / {number(1 / line.ns_per_byte, 3)} GB/s" if line.ns_per_byte else "nothing for the size"
    return (
        f"{line.collective.replace('_', '-')}: {number(line.latency_ns / 1e3, 3)} \u00b5s + {bandwidth}; "
        f"of {line.sizes} sizes the worst is {number(line.worst_ratio, 3)} times off this line"
    )


def crossover_sentences(sweep: Sweep) -> list[str]:
    """Tree against ring, and what that means for this model's buckets."""
    names = labels(sweep.trials)
    return [f"{names[one.tree_id]} against ring: {_crossover(one)}" for one in sweep.crossovers]


def _crossover(one: Crossover) -> str:
    said = [
        "their fitted lines do not cross so that the tree is the faster one for small sizes"
        if one.size_bytes is None
        else f"by the fitted lines the tree is faster below {size(one.size_bytes)}"
    ]
    if one.bucket_bytes and one.size_bytes is not None:
        below = sum(each < one.size_bytes for each in one.bucket_bytes)
        tensors = counted(len(one.bucket_bytes), "tensor")
        said.append(f"{below} of the {tensors} of this model's step ({sizes(one.bucket_bytes)}) lie below that")
    if one.own_ratio is not None:
        ratio = Estimate(one.own_ratio, one.own_low, one.own_high, 0)
        bounds = interval(ratio, digits=3)
        around = f" (95 % interval {bounds})" if bounds else ""
        times = f"{number(one.own_ratio, 3)} times the ring's time{around}"
        unshown = ", no difference shown" if differs(ratio) is False else ""
        said.append(f"on all of the model's own tensors it was measured to take {times}{unshown}")
    return "; ".join(said)


def wire_sentences(sweep: Sweep) -> list[str]:
    """Where the links' rate is known: what the model's own exchange takes of what its bytes must take at least."""
    names, hosts = labels(sweep.trials), sweep.environment.emulated_hosts
    return [
        f"{names[row.trial_id]} over emulated hosts ({hosts}): the model's own tensors take "
        f"{number(row.time_ns / row.wire_ns, 3)} times the wire time of their bytes, {number(row.wire_ns * MS, 3)} ms"
        for row in sweep.rows
        if row.time_ns and row.wire_ns and not row.request.elements
    ]


# ---- as text -----------------------------------------------------------------------------------------------------


def render_text(sweep: Sweep, color: bool) -> str:
    """Blocks of one stack and algorithm each, for 80 columns, then what crosses, and what has no number and why."""
    out: list[str] = []
    for trial in sweep.trials:
        if any(row.trial_id == trial.id and row.launches for row in sweep.rows):
            out += [*_block(sweep, trial, color), ""]
    for paint, sentences in (
        ("", crossover_sentences(sweep)),
        ("", wire_sentences(sweep)),
        (_RED, failures(sweep)),
        (_DIM, not_selectable(sweep)),
        (_DIM, _notes(sweep)),
    ):
        wrapped = [line for sentence in sentences for line in _wrap(sentence)]
        out += [*(_paint(line, paint, color) for line in wrapped), ""] if wrapped else []
    return "\n".join(out[:-1]) + "\n"


def _block(sweep: Sweep, trial: Trial, color: bool) -> Iterator[str]:
    rows = [row for row in sweep.rows if row.trial_id == trial.id]
    ran = ", ".join(dict.fromkeys(row.algorithm for row in rows if row.algorithm and _is_all_reduce(row)))
    title = f"{labels(sweep.trials)[trial.id]}{f': ran {ran}' if ran else ''}"
    yield _paint(one_line(title, WIDTH), _BOLD, color)
    yield _paint(_cells(_HEADINGS), _DIM, color)
    for row in rows:
        if row.time_ns is not None:
            yield _cells(_numbers(row))
    for line in sweep.lines:
        if line.trial_id == trial.id:
            yield from (_paint(part, _DIM, color) for part in _wrap(line_sentence(line)))


def _is_all_reduce(row: CollectiveRow) -> bool:
    return row.request.collective == "all_reduce"


def _numbers(row: CollectiveRow) -> tuple[str, ...]:
    around = interval(estimate(row), MS, 3)
    point = number(row.time_ns * MS if row.time_ns else None, 3)
    return (
        operation(row),
        size(row.size_bytes),
        f"{point} ({around})" if around else point,
        number(row.p95_ns * MS if row.p95_ns else None, 3),
        bandwidth(row.algorithm_gb_per_s),
        bandwidth(row.bus_gb_per_s),
    )


def _notes(sweep: Sweep) -> list[str]:
    """How to read the numbers."""
    notes = [
        "A time is of one operation on its slowest rank: the geometric mean over launches of each launch's median. "
        "algbw and busbw in GB/s (1e9 bytes), as nccl-tests defines them; busbw is normalised by the ring's traffic, "
        "whatever ran: compare algorithms by time."
    ]
    if len(sweep.launches) < len(sweep.order):
        notes.append(f"{len(sweep.launches)} of {counted(len(sweep.order), 'launch', 'launches')} were made.")
    if any(row.time_ns is not None and row.low_ns is None for row in sweep.rows):
        notes.append("No interval below three launches.")
    if any(row.time_ns is not None and row.exact is None for row in sweep.rows):
        notes.append("Some results were not checked.")
    return notes


def _cells(cells: Sequence[str]) -> str:
    first, *rest = (one_line(cell, width) for cell, width in zip(cells, _WIDTHS, strict=True))
    return " ".join(
        [first.ljust(_WIDTHS[0]), *(cell.rjust(width) for cell, width in zip(rest, _WIDTHS[1:], strict=True))]
    )


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(one_line(text), WIDTH, subsequent_indent="  ", break_long_words=True)


def _paint(line: str, code: str, color: bool) -> str:
    return f"{code}{line}{_PLAIN}" if color and code else line


# ---- as lines ----------------------------------------------------------------------------------------------------


def as_csv(sweep: Sweep) -> str:
    """RFC 4180."""
    return csv_table(lines(sweep))


def lines(sweep: Sweep) -> list[dict[str, Cell]]:
    """One per request, base units in the names; after them the stacks and algorithms that cannot be selected."""
    trials = {trial.id: trial for trial in sweep.trials}
    return [_columns(trials[row.trial_id], row) for row in sweep.rows] + [
        {**_columns(trial, None), "reason": reason} for trial, reason in sweep.rejected
    ]


def _columns(trial: Trial, row: CollectiveRow | None) -> dict[str, Cell]:
    seconds = {
        f"seconds{suffix}": None if row is None or (value := getattr(row, f"{name}_ns")) is None else value / 1e9
        for suffix, name in (
            ("", "time"), ("_low", "low"), ("_high", "high"), ("_min", "min"), ("_median", "median"), ("_p95", "p95"),
            ("_max", "max"),
        )
    }  # fmt: skip
    bandwidths = (row.algorithm_gb_per_s, row.bus_gb_per_s) if row else (None, None)
    algbw, busbw = (None if value is None else value * 1e9 for value in bandwidths)
    cells: dict[str, Cell] = {
        "trial_id": trial.id,
        "backend": trial.backend,
        "algorithm_asked": trial.allreduce,
        "algorithm_ran": row.algorithm if row else None,
        "evidence": row.evidence if row else None,
        "operation": row.request.collective if row else None,
        "own_buckets": None if row is None else not row.request.elements,
        "dtype": trial.wire,
        "ranks": trial.replicas,
        "tensors": len(row.elements) if row else None,
        "elements": sum(row.elements) if row else None,
        "size_bytes": row.size_bytes if row else None,
        "launches": row.launches if row else None,
        **seconds,
        "seconds_of_each_rank": "; ".join(f"{value / 1e9:.9f}" for value in row.rank_median_ns) if row else None,
        "seconds_least_on_wire": None if row is None or row.wire_ns is None else row.wire_ns / 1e9,
        "algbw_bytes_per_second": algbw,
        "busbw_bytes_per_second": busbw,
        "exact": row.exact if row else None,
        "reason": row.reason if row else None,
    }
    return {name: plain(cell) for name, cell in cells.items()}
