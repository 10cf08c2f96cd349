"""Charts drawn by other processes: all of a page, the same bytes, and none that is missed when a process is lost."""

from __future__ import annotations

import os
import signal

import pytest
from matplotlib.figure import Figure

from reports import drawing, render, svg
from reports.page import NARROW_INCHES
from tests.reports.build import everything

HERE = os.getpid()
WANTED = 40

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: charts are drawn one by one")


def plain(width_inches: float) -> Figure:
    drawn = svg.figure(width_inches, 1.0)
    drawn.add_axes((0.1, 0.1, 0.8, 0.8)).plot([0, 1], [1, 3])
    return drawn


def elsewhere_only(width_inches: float) -> Figure:
    if os.getpid() == HERE:
        raise AssertionError("drawn again in the process that asked")
    return plain(width_inches)


def deadly_elsewhere(width_inches: float) -> Figure:
    if os.getpid() != HERE:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(width_inches)


def wanted(paint) -> list[drawing.Picture]:
    return [(svg.Chart(f"chart-{place}", "A title", "in words", paint), NARROW_INCHES) for place in range(WANTED)]


def texts(pictures) -> list[str]:
    return [chart.inline(width) for chart, width in pictures]


def test_many_charts_are_drawn_by_other_processes_with_the_same_bytes():
    pictures = wanted(elsewhere_only)
    drawing.ahead(pictures)
    assert texts(pictures) == texts(wanted(plain))
    assert len(set(texts(pictures))) == WANTED  # each its own, by the ids


def test_a_lost_process_costs_no_chart(monkeypatch):
    monkeypatch.setattr(drawing, "_LONGEST_S", 2.0)
    pictures = wanted(deadly_elsewhere)
    drawing.ahead(pictures)
    assert texts(pictures) == texts(wanted(plain))


def test_where_no_process_can_be_had_the_charts_are_drawn_one_by_one(monkeypatch):
    def none_left() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", none_left)
    pictures = wanted(plain)
    drawing.ahead(pictures)
    assert texts(pictures) == texts(wanted(plain))


def test_an_error_of_a_chart_is_the_same_error():
    def broken(width_inches: float) -> Figure:
        raise ZeroDivisionError("nothing to draw")

    with pytest.raises(ZeroDivisionError, match="nothing to draw"):
        drawing.ahead(wanted(broken))


def test_what_stops_the_command_does_not_reach_the_processes_that_draw():
    """The handler of the process that asked would end a process that draws with its own words and status."""

    def stopped(*_: object) -> None:
        raise AssertionError("the command's handler")

    before = {number: signal.signal(number, stopped) for number in (signal.SIGINT, signal.SIGTERM)}
    pictures = wanted(_asks_how_it_would_end)
    try:
        drawing.ahead(pictures)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert all(chart.made for chart, _ in pictures)


def _asks_how_it_would_end(width_inches: float) -> Figure:
    assert os.getpid() != HERE
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    return plain(width_inches)


def test_every_chart_of_a_page_is_drawn_ahead_at_each_width_it_is_shown_at(tmp_path, monkeypatch):
    """A page with every section, few charts or not: the template itself draws none, and none is drawn in vain."""
    folder, asked, drawn = everything(tmp_path / "run"), [], []
    plain_page = render(folder, "html")
    markup = svg.markup

    def ahead(pictures) -> None:
        asked.extend((chart.name, width) for chart, width in pictures)
        for chart, width in pictures:
            chart.inline(width)
        monkeypatch.setattr(svg, "markup", lambda *given: drawn.append(given) or markup(*given))

    monkeypatch.setattr(drawing, "ahead", ahead)
    page = render(folder, "html")
    assert drawn == []
    assert page == plain_page
    assert len(asked) == len(set(asked)) == page.count('role="img"')
