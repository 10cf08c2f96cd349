"""A figure of the page: a chart, its numbers as a table, and what both are called when they are downloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from markupsafe import Markup

from reports.columns import Cell as Cell
from reports.page import NARROW_INCHES, WIDE_INCHES
from reports.svg import Chart

if TYPE_CHECKING:
    from reports.load import LoadedRun
    from reports.table import Row

Some = TypeVar("Some")

_MOST_SHOWN = 60  # lines of a table below a chart


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. `number`: every cell of it is one, or unknown."""

    name: str
    head: str
    number: bool


@dataclass(frozen=True, slots=True)
class Table:
    """Lines of the JSON export.

    path    the list they are in: a key of the exported document
    heads   column of a line to its heading, which says the unit; only these are shown, in this order
    lines   (place in that list, the line)
    """

    path: str
    heads: Mapping[str, str]
    lines: Sequence[tuple[int, Mapping[str, Cell]]]

    @property
    def shown(self) -> Sequence[tuple[int, Mapping[str, Cell]]]:
        """What the page shows of the lines; the download has them all."""
        return self.lines[:_MOST_SHOWN]

    @property
    def further(self) -> str:
        """The places of the other lines, as the page's script reads them: "400-512 514"."""
        spans: list[list[int]] = []
        for at, _ in self.lines[_MOST_SHOWN:]:
            if spans and spans[-1][1] == at - 1:
                spans[-1][1] = at
            else:
                spans.append([at, at])
        return " ".join(f"{first}-{last}" for first, last in spans)

    @property
    def columns(self) -> list[Column]:
        """Those that are shown. Numbers stand to the right."""
        return [
            Column(name, head, all(isinstance(line[name], int | float | None) for _, line in self.lines))
            for name, head in self.heads.items()
        ]


@dataclass(frozen=True, slots=True)
class Figure:
    """`caption` says what the marks are."""

    chart: Chart
    caption: str
    table: Table

    @property
    def wide(self) -> Markup:
        """For a desk."""
        return Markup(self.chart.inline(WIDE_INCHES))  # serialised by ElementTree, which escapes

    @property
    def narrow(self) -> Markup:
        """For a telephone."""
        return Markup(self.chart.inline(NARROW_INCHES))


@dataclass(frozen=True, slots=True)
class View:
    """One trial as a section of small charts shows it. `sentence`: what is said of it above the charts."""

    row: Row
    figure: Figure
    sentence: str | None = None


def in_parts(
    path: str, heads: Mapping[str, str], found: Iterable[Some], lines: Callable[[Some], Sequence[Mapping[str, Cell]]]
) -> Iterator[tuple[int, Some, Table]]:
    """Each of `found` with its place and its own part of the list at `path`, which has the `lines` of all in order."""
    at = 0
    for place, one in enumerate(found):
        own = lines(one)
        yield place, one, Table(path, heads, list(enumerate(own, at)))
        at += len(own)


def all_figures(run: LoadedRun, found: Sequence[Row]) -> list[Figure]:
    """Of a run, in the order of its page."""
    from reports import sections  # which draws with what is above

    return sections.all_figures(run, found)


def whole(path: str, heads: Mapping[str, str], lines: Sequence[Mapping[str, Cell]]) -> Table:
    """All of a list."""
    return Table(path, heads, list(enumerate(lines)))
