"""Figures of matplotlib as inline SVG that obeys a strict content policy: no style attribute, no date, text as text."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by colour-blind readers; the page darkens or lightens each for its theme.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
INK, MUTED, GRID = "#010101", "#020202", "#030303"
_THEMED = {INK: "currentColor", MUTED: "var(--muted)", GRID: "var(--line)"}
_THEMED.update({color: f"var(--chart-{place}, {color})" for place, color in enumerate(PALETTE)})
_PRESENTATION = {
    "fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity", "stroke-linecap",
    "stroke-linejoin", "stroke-dasharray", "stroke-dashoffset", "opacity", "text-anchor", "font-size",
}  # fmt: skip


@contextmanager
def settings(salt: str) -> Iterator[None]:
    """For all drawing, `markup` included. The same figure and `salt` give the same bytes; two figures on one page need
    two salts, so that their ids do not meet."""
    chosen = {
        "svg.fonttype": "none", "svg.hashsalt": f"paceline-{salt}", "text.parse_math": False, "font.size": 10,
        "path.simplify": False,
    }  # fmt: skip
    with matplotlib.rc_context(chosen), warnings.catch_warnings():
        # The page's fonts draw the text, not matplotlib's: that its own font lacks an emoji does not matter.
        warnings.filterwarnings("ignore", message=".*Glyph .* missing from")
        yield


def figure(width_inches: float, height_inches: float) -> Figure:
    """Empty, with the canvas that `markup` needs."""
    made = Figure(figsize=(width_inches, height_inches), layout=None)
    FigureCanvasSVG(made)
    return made


def plain_axes(axes: Axes, label: str, grid: Literal["x", "both"]) -> None:
    """Colours of the page's theme, a grid, and no frame but the left side."""
    axes.xaxis.set_major_formatter(lambda value, _place: f"{value:,.6g}")
    axes.set_xlabel(label, color=INK)
    axes.tick_params(axis="both", colors=INK, length=0, pad=5)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "left")
        spine.set_color(MUTED)


def markup(drawn: Figure, alternative: str) -> str:
    """The SVG element; `alternative` is the figure in words, for those who do not see it."""
    out = io.StringIO()
    drawn.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _obedient(out.getvalue(), alternative)


def _obedient(text: str, alternative: str) -> str:
    """Style attributes and the style element become presentation attributes, colours follow the page's theme."""
    root = ElementTree.fromstring(text)
    for parent in root.iter():
        for child in [child for child in parent if child.tag.endswith(("metadata", "style"))]:
            parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        element.attrib.update(_attributes(element.attrib.pop("style", "")))
    _, _, width, height = root.attrib["viewBox"].split()
    root.attrib = {
        "viewBox": root.attrib["viewBox"], "width": width, "height": height, "role": "img", "aria-label": alternative,
        "stroke-linejoin": "round", "stroke-linecap": "butt",
    }  # fmt: skip
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(style: str) -> dict[str, str]:
    found = {}
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font" and (size := re.search(r"([\d.]+)px", value)):
            found["font-size"] = size.group(1)
        elif name in _PRESENTATION:
            found[name] = _THEMED.get(value.lower(), value)
    return found
