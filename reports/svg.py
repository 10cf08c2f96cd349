"""Figures of matplotlib as inline SVG that obeys a strict content policy: no style attribute, no date, text as text."""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from xml.etree import ElementTree

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from reports.text import one_line

# Okabe and Ito's palette, told apart by colour-blind readers; the page darkens or lightens each for its theme.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
# Of a light page; a page puts its theme's own in their place.
INK, MUTED, GRID = "#1b1f23", "#5b6470", "#dfe3e7"
_THEMED = {INK: "currentColor", MUTED: "var(--muted)", GRID: "var(--line)"}
_THEMED.update({color: f"var(--chart-{place}, {color})" for place, color in enumerate(PALETTE)})
_PRESENTATION = {
    "fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity", "stroke-linecap",
    "stroke-linejoin", "stroke-dasharray", "stroke-dashoffset", "opacity", "text-anchor", "font-size",
}  # fmt: skip
_FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_SPACE = "http://www.w3.org/2000/svg"
_TOLD = "told:"
_LONG_FRACTION = re.compile(r"(\.\d\d)\d+")  # more than a hundredth of a point cannot be seen


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart that can be drawn at any width. The same chart and width give the same bytes.

    name    of letters, digits and dashes, and of no other chart of its document: for ids and file names
    words   the chart in words, for those who do not see it
    paint   width in inches to the figure
    made    width in inches to what `inline` gave, or what reports.drawing drew ahead for it
    """

    name: str
    title: str
    words: str
    paint: Callable[[float], Figure]
    made: dict[float, str] = field(default_factory=dict, repr=False, compare=False)

    def inline(self, width_inches: float) -> str:
        """For a page: it follows the page's theme, and the page's script reads out its marks."""
        if width_inches not in self.made:
            with settings(f"{self.name}-{width_inches}"):
                self.made[width_inches] = markup(self.paint(width_inches), self.words)
        return self.made[width_inches]

    def standalone(self, width_inches: float) -> str:
        """A file of its own: on white, and a viewer shows what a mark stands for as its title."""
        with settings(f"{self.name}-{width_inches}"):
            root = _parsed(_saved(self.paint(width_inches)), self.words, themed=False)
        root.attrib |= {"xmlns": _SPACE, "xmlns:xlink": "http://www.w3.org/1999/xlink", "font-family": _FONTS}
        root.insert(0, ElementTree.Element("rect", {"width": "100%", "height": "100%", "fill": "#ffffff"}))
        for element in list(root.iter()):
            if said := element.attrib.pop("data-tell", None):
                title = ElementTree.Element("title")
                title.text = said
                element.insert(0, title)
            if reference := element.attrib.pop("href", None):
                element.attrib["xlink:href"] = reference
        return ElementTree.tostring(root, encoding="unicode")

    def png(self, width_inches: float, dots_per_inch: int = 150) -> bytes:
        """On white."""
        out = io.BytesIO()
        with settings(f"{self.name}-{width_inches}"):
            self.paint(width_inches).savefig(out, format="png", dpi=dots_per_inch, metadata={"Software": None})
        return out.getvalue()


@contextmanager
def settings(salt: str) -> Iterator[None]:
    """For all drawing, `markup` included. The same figure and `salt` give the same bytes; two figures on one page need
    two salts, so that their ids do not meet."""
    chosen = {
        "svg.fonttype": "none", "svg.hashsalt": f"paceline-{salt}", "text.parse_math": False, "font.size": 10,
        "path.simplify": False, "axes.titley": 1.0,  # given, or it is looked for in what takes a fifth of the time
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


def tell(artist: Artist, said: str | Sequence[str]) -> None:
    """What is read out where a reader points at `artist` or steps to it; of a line of marks one text for each mark."""
    texts = [said] if isinstance(said, str) else list(said)
    artist.set_gid(_TOLD + json.dumps([one_line(text, 300) for text in texts]))


def markup(drawn: Figure, alternative: str) -> str:
    """The SVG element; `alternative` is the figure in words, for those who do not see it."""
    return ElementTree.tostring(_parsed(_saved(drawn), alternative, themed=True), encoding="unicode")


def _saved(drawn: Figure) -> str:
    out = io.StringIO()
    drawn.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return out.getvalue()


def _parsed(text: str, alternative: str, themed: bool) -> ElementTree.Element:
    """Style attributes and the style element become presentation attributes; `themed` colours follow the page's."""
    root = ElementTree.fromstring(text)
    for parent in root.iter():
        for child in [child for child in parent if child.tag.endswith(("metadata", "style"))]:
            parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        element.attrib.update(_attributes(element.attrib.pop("style", ""), _THEMED if themed else {}))
        _shorten(element)
    _tell(root)
    _prune(root)
    _, _, width, height = root.attrib["viewBox"].split()
    root.attrib = {
        "viewBox": root.attrib["viewBox"], "width": width, "height": height, "role": "img", "aria-label": alternative,
        "stroke-linejoin": "round", "stroke-linecap": "butt",
    }  # fmt: skip
    return root


def _shorten(element: ElementTree.Element) -> None:
    """Without indentation, and without digits and turns that cannot be seen."""
    element.tail = None
    if element.tag != "text":
        element.text = None
    for name in ("d", "x", "y", "transform"):
        if name in element.attrib:
            element.attrib[name] = _LONG_FRACTION.sub(r"\1", " ".join(element.attrib[name].split()))
    if element.attrib.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]


def _prune(element: ElementTree.Element) -> None:
    """Without what draws nothing; groups that say nothing give way to what is in them, and marks say once what they
    have in common."""
    kept: list[ElementTree.Element] = []
    for child in element:
        _prune(child)
        bare = child.tag == "g" and not child.attrib
        if not (child.tag == "defs" and not len(child)) and not _is_unseen(child):
            kept += list(child) if bare else [child]
    element[:] = kept
    if len(kept) > 1 and all(child.tag == "use" for child in kept):
        shared = dict(set.intersection(*(set(child.attrib.items()) for child in kept)))
        for name in sorted(shared.keys() & _PRESENTATION - element.attrib.keys()):
            element.attrib[name] = shared[name]
            for child in kept:
                del child.attrib[name]


def _is_unseen(element: ElementTree.Element) -> bool:
    empty = element.tag == "g" and not len(element)
    return empty or (element.tag == "path" and element.attrib.get("fill") == "none" and "stroke" not in element.attrib)


def _tell(root: ElementTree.Element) -> None:
    """Puts what was told where it is read, and takes the ids away that nothing refers to: another figure has them."""
    for element in root.iter():
        name = element.attrib.get("id", "")
        if not name.startswith(_TOLD):
            continue
        said = json.loads(name.removeprefix(_TOLD))
        marks = [mark for mark in element.iter() if mark.tag == "use"]
        whole = [(element, "; ".join(said))]
        for mark, text in zip(marks, said, strict=True) if len(marks) == len(said) else whole:
            mark.attrib["data-tell"] = text
    used = set(re.findall(r"#(\w+)", " ".join(value for element in root.iter() for value in element.attrib.values())))
    for element in root.iter():
        if element.attrib.get("id") not in used:
            element.attrib.pop("id", None)


def _attributes(style: str, themed: dict[str, str]) -> dict[str, str]:
    found = {}
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font" and (size := re.search(r"([\d.]+)px", value)):
            found["font-size"] = size.group(1)
        elif name in _PRESENTATION:
            found[name] = themed.get(value.lower(), value)
    return found
