"""A canvas for a small chart, measured in points from its upper left.

matplotlib's own axes take some 2 ms a tick, and a page holds dozens of small charts; here one takes as long
as its texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2D
from numpy.typing import ArrayLike, NDArray

from reports import svg
from reports.svg import GRID, INK, MUTED
from reports.text import one_line

Floats = NDArray[np.float64]

POINTS = 72
_LETTERS = 9.0
_DOT = 0.02  # a stroke of hardly any length: its round ends are the dot


@dataclass(frozen=True, slots=True)
class Pen:
    """`dashes`: lengths of strokes and gaps in points; None: solid."""

    color: str
    width: float = 1.0
    alpha: float = 1.0
    dashes: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """A part of the canvas, in points; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Scale:
    """Values `low` to `high` on places `start` to `end`, which may run either way."""

    low: float
    high: float
    start: float
    end: float

    def place(self, values: ArrayLike) -> Floats:
        """Values beyond the scale are put on its ends."""
        share = (np.asarray(values, np.float64) - self.low) / ((self.high - self.low) or 1.0)
        return np.asarray(self.start + np.clip(share, 0.0, 1.0) * (self.end - self.start))

    def ticks(self, most: int = 3) -> list[float]:
        """Round values within."""
        found = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        return [float(value) for value in found if self.low <= value <= self.high]


class _Words(Text):
    """A text whose size nobody needs: in an SVG its reader lays it out. Measuring it takes most of the time."""

    def draw(self, renderer: Any) -> None:
        if not isinstance(renderer, MixedModeRenderer):  # of SVG; a PNG needs the sizes
            super().draw(renderer)
            return
        pen = renderer.new_gc()
        pen.set_foreground(self.get_color())
        x, y = self.get_transform().transform(self.get_position())
        renderer.draw_text(pen, x, renderer.height - y, self.get_text(), self.get_fontproperties(), 0.0, mtext=self)
        pen.restore()


class Canvas:
    """An empty figure and what can be drawn on it. Every call returns the artist, for svg.tell."""

    def __init__(self, width_inches: float, height_points: float) -> None:
        self.figure: Figure = svg.figure(width_inches, height_points / POINTS)
        self.box = Box(0.0, 0.0, width_inches * POINTS, height_points)
        to_inches = Affine2D().scale(1, -1).translate(0, height_points).scale(1 / POINTS)
        self._points = to_inches + self.figure.dpi_scale_trans

    def text(
        self, x: float, y: float, said: str, color: str = INK, align: Literal["left", "center", "right"] = "left"
    ) -> Artist:
        """`y` is the baseline's."""
        made = _Words(x, y, said, color=color, horizontalalignment=align, fontsize=_LETTERS, transform=self._points)
        return self._add(made)

    def strokes(self, ends: ArrayLike, pen: Pen) -> Artist:
        """Straight lines: axes (line, 4) of x, y, x, y."""
        corners = np.asarray(ends, np.float64).reshape(-1, 2)
        return self._path(corners, np.tile([Path.MOVETO, Path.LINETO], len(corners) // 2), pen, "butt")

    def line(self, xs: ArrayLike, ys: ArrayLike, pen: Pen) -> Artist:
        """One line through all points."""
        corners = np.column_stack([xs, ys])
        return self._path(corners, np.array([Path.MOVETO] + [Path.LINETO] * (len(corners) - 1)), pen, "round")

    def dots(self, xs: ArrayLike, ys: ArrayLike, pen: Pen) -> Artist:
        """Round ones, as wide as the pen. As one path they take a third of the bytes of as many marks."""
        x, y = np.asarray(xs, np.float64), np.asarray(ys, np.float64)
        corners = np.column_stack([x, y, x + _DOT, y]).reshape(-1, 2)
        return self._path(corners, np.tile([Path.MOVETO, Path.LINETO], len(x)), pen, "round")

    def areas(self, boxes: Sequence[Box], color: str, alpha: float) -> Artist:
        """Filled rectangles."""
        corners = [
            (x, y)
            for box in boxes
            for x, y in ((box.left, box.top), (box.right, box.top), (box.right, box.bottom), (box.left, box.bottom))
        ]
        closed = [*zip(*[iter(corners)] * 4, strict=True)]
        points = np.asarray([[*four, four[0]] for four in closed], np.float64).reshape(-1, 2)
        codes = np.tile([Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY], len(closed))
        made = PathPatch(Path(points, codes), facecolor=color, edgecolor="none", alpha=alpha, transform=self._points)
        return self._add(made)

    def marks(self, xs: ArrayLike, ys: ArrayLike, said: Sequence[str], pen: Pen, marker: str = "o") -> Artist:
        """Hollow ones, each with its text to be read out; some dozens at most. `pen.width` is across a mark."""
        made = Line2D(
            list(np.atleast_1d(np.asarray(xs))), list(np.atleast_1d(np.asarray(ys))), linestyle="none", marker=marker,
            markersize=pen.width, markerfacecolor="none", markeredgecolor=pen.color, markeredgewidth=1.1,
            alpha=pen.alpha, transform=self._points,
        )  # fmt: skip
        svg.tell(made, said)
        return self._add(made)

    def _path(self, corners: Floats, codes: NDArray[Any], pen: Pen, ends: Literal["butt", "round"]) -> Artist:
        made = PathPatch(
            Path(corners, codes), fill=False, edgecolor=pen.color, linewidth=pen.width, alpha=pen.alpha,
            capstyle=ends, joinstyle="round", transform=self._points,
        )  # fmt: skip
        made.set_snap(False)  # else the dots of a bitmap are rounded away
        if pen.dashes:
            made.set_linestyle((0, pen.dashes))
        return self._add(made)

    def _add(self, made: Any) -> Artist:
        return self.figure.add_artist(made)


def rule(canvas: Canvas, box: Box, scale: Scale, said: Callable[[float], str]) -> None:
    """Lines across `box` at round values, with their texts to the left."""
    ticks = scale.ticks()
    places = scale.place(ticks)
    canvas.strokes([(box.left, y, box.right, y) for y in places], Pen(GRID, 0.8))
    for value, y in zip(ticks, places, strict=True):
        canvas.text(box.left - 4, y + 3, said(value), MUTED, "right")


def heading(canvas: Canvas, title: str, said: str) -> None:
    """The chart's first two lines, cut to its width."""
    letters = int(canvas.box.right / 4.9)
    canvas.text(0, 10, one_line(title, letters))
    canvas.text(0, 22, one_line(said, letters), MUTED)
