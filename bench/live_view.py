"""The lines of the live view: numbers and words in, text for so many columns and rows out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text

from bench import stats
from bench.following import Following
from bench.records import Trial
from bench.standing import SoFar, Standing
from reports import compare
from reports.fitting import fitted, shortened
from reports.text import DASH, interval, number, one_line, percent

_PHASES = {
    None: "starting its processes", "start": "starting the framework", "build": "building the model",
    "warmup": "warming up", "windows": "measuring", "finish": "checking its work", "stop": "ending", "end": "ending",
}  # fmt: skip
_SPEED_CELLS, _POINT_CELLS, _WIDTH_CELLS, _COUNT_CELLS = 28, 10, 8, 9
_AROUND = 6  # lines that are no trial
_FOOTNOTE = "Not a result yet: the gates between trials follow at the end."


@dataclass(frozen=True, slots=True)
class Now:
    """The launch under way: its place in the plan, and when the study and it began, s of the parent's clock."""

    number: int
    total: int
    trial_id: str
    repeat: int
    following: Following
    study_began: float
    began: float


def labels(trials: Sequence[Trial]) -> dict[str, str]:
    """Trial id to the name that the report will use, with its replicas."""
    own = {trial.id: compare.settings(trial) for trial in trials}
    named = {}
    for trial in trials:
        rivals = [
            own[other.id] for other in trials if (other.backend, other.replicas) == (trial.backend, trial.replicas)
        ]
        named[trial.id] = one_line(f"{compare.called(own[trial.id], rivals)} \u00d7{trial.replicas}", 200)
    return named


def view(standing: Standing, labels: Mapping[str, str], now: Now, clock: float, size: tuple[int, int]) -> list[Text]:
    """At most `size` (columns, rows) less one row, whatever the names are."""
    width, height = size
    lines = [Text(_head(standing, now, clock), "bold"), Text(_current(labels, now, width), "cyan")]
    asked = _asked(standing)
    lines += [Text(asked, "dim")] if asked else []
    lines.append(_line(("trial", "launches", "samples/s (95 %)", "interval"), width, "dim"))
    chosen = _around(list(standing.trials.values()), now.trial_id, max(1, height - 1 - _AROUND))
    lines += [_row(one, labels[one.trial.id], now, width) for one in chosen]
    hidden = len(standing.trials) - len(chosen)
    lines += [Text(f"  and {hidden} more trials", "dim")] if hidden else []
    lines.append(Text(_FOOTNOTE, "dim"))
    for line in lines:
        line.no_wrap = True
        line.truncate(max(1, width - 1), overflow="ellipsis")
    return lines[: max(1, height - 1)]


def _head(standing: Standing, now: Now, clock: float) -> str:
    left_s, measured = standing.left_s(clock - now.began, now.following.left_s)
    left = f"about {_clock(left_s)} left" if measured else f"roughly {_clock(left_s)} left"
    more = ", or more" if standing.planned.target_half_width else ""
    study = one_line(standing.planned.study, 40)
    return f"{study}: launch {now.number} of {now.total}, {_clock(clock - now.study_began)} gone, {left}{more}"


def _current(labels: Mapping[str, str], now: Now, width: int) -> str:
    found = now.following
    said = [_PHASES.get(found.phase, str(found.phase))]
    if found.windows:
        said.append(f"window {found.windows} of {found.total}")
    if found.rate is not None:
        said.append(f"{number(found.rate)} samples/s so far")
    told = ", ".join(said)
    return f"> {shortened(labels[now.trial_id], max(8, width - 5 - len(told)))}: {told}"


def _asked(standing: Standing) -> str | None:
    planned = standing.planned
    if not planned.target_half_width:
        return None
    wanted = percent(planned.target_half_width)
    return f"each until its interval is \u00b1{wanted} or less, {planned.repeats} to {planned.most_repeats} launches"


def _around(trials: list[SoFar], current: str, room: int) -> list[SoFar]:
    """As many as there is room for, in order, the current one among them."""
    if len(trials) <= room:
        return trials
    place = next((at for at, one in enumerate(trials) if one.trial.id == current), 0)
    first = min(max(0, place - room // 2), len(trials) - room)
    return trials[first : first + room]


def _row(one: SoFar, label: str, now: Now, width: int) -> Text:
    mark = "> " if one.trial.id == now.trial_id else "  "
    count = f"{len(one.rates)} of {one.planned}"
    found = one.estimate
    if one.error is not None:
        return _line((f"{mark}{label}", count, f"failed: {one_line(one.error)}", ""), width, "red")
    if found is None:
        return _line((f"{mark}{label}", count, DASH, DASH), width, "")
    around, half = interval(found), stats.half_width(found)
    speed = f"{number(found.point)} ({around})" if around and _is_wide(width) else number(found.point)
    return _line((f"{mark}{label}", count, speed, DASH if half is None else f"\u00b1{percent(half)}"), width, "")


def _is_wide(width: int) -> bool:
    return width >= 70


def _line(cells: tuple[str, str, str, str], width: int, style: str) -> Text:
    """Name, count, speed, width of the interval; the name takes what the others leave."""
    name, count, speed, half = cells
    if not _is_wide(width):
        speed = speed.removesuffix(" (95 %)")
    speed_cells = _SPEED_CELLS if _is_wide(width) else _POINT_CELLS
    name_cells = max(8, width - 1 - speed_cells - _WIDTH_CELLS - _COUNT_CELLS - 3)
    parts = (
        (shortened(name, name_cells), name_cells),
        (count, _COUNT_CELLS),
        (speed, speed_cells),
        (half, _WIDTH_CELLS),
    )
    return Text(" ".join(fitted(part, room) for part, room in parts).rstrip(), style)


def _clock(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes with their units.

    >>> _clock(65.2), _clock(7260)
    ('1:05', '2 h 01 min')
    """
    whole = max(0, round(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 60}:{whole % 60:02}"
