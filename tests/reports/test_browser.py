"""The report in a real browser: nothing refused, nothing fetched, nothing wider than the page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from reports import render
from reports.collectives_page import render_page
from tests.collectives.test_report import two_algorithms
from tests.reports.build import by_hand, everything, precisions
from tests.reports.test_html import HOSTILE, hostile
from tests.reports.test_scaling import weak

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield started
        started.close()


class Visit:
    """One page, and everything that it said or asked for while it loaded."""

    def __init__(self, browser, path: Path, width: int, theme: str = "light") -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def too_wide(self) -> bool:
        return self.page.evaluate("document.documentElement.scrollWidth > innerWidth")


def written(folder: Path, html: str) -> Path:
    path = folder / "report.html"
    path.write_text(html, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A page with all of its sections."""
    folder = everything(tmp_path_factory.mktemp("everything") / "run")
    return written(folder, render(folder, "html"))


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (1100, "dark"), (390, "dark")])
def test_the_whole_report_loads_without_a_complaint_fits_and_is_accessible(browser, whole, width, theme):
    visit = Visit(browser, whole, width, theme)
    assert visit.complaints == []
    assert visit.requests == [whole.as_uri()]
    assert visit.page.locator("#summary").is_visible()
    assert not visit.too_wide()
    dark = visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert dark == (theme == "dark")
    links = visit.page.evaluate("[...document.querySelectorAll('main a, #contents a')].map(link => link.hash.slice(1))")
    headings = visit.page.evaluate("[...document.querySelectorAll('main h2')].map(heading => heading.id)")
    assert set(links) <= {*headings, "trust"} and set(headings) <= set(links)
    visit.page.evaluate("document.querySelectorAll('details').forEach(folded => folded.open = true)")
    assert not visit.too_wide()
    charts = visit.page.locator("figure svg:visible").evaluate_all("all => all.map(svg => svg.ariaLabel)")
    assert len(charts) == visit.page.locator("figure").count() >= 15 and all(len(words) > 40 for words in charts)
    assert visit.page.locator("table:not(:has(caption))").count() == 0
    assert visit.page.locator("figure").count() == visit.page.locator("figure:has(table):has-text('CSV')").count()
    if width != 1100:
        assert violations(visit) == []
    visit.page.close()


def violations(visit: Visit) -> list[tuple[str, str]]:
    """What axe-core finds, serious or critical: rule and element."""
    axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    visit.page.evaluate(f"{(Path(axe.__file__).parent / 'axe.min.js').read_text(encoding='utf-8')};0")
    found = visit.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert len(found["passes"]) > 20  # it looked at something
    return [
        (one["id"], node["target"][0])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def test_the_summary_is_filtered_and_set_relative_and_says_how_much_is_left(browser, whole):
    visit = Visit(browser, whole, 1440)
    page, shown = visit.page, visit.page.locator("#summary tbody tr:visible")
    controls = page.locator("#controls")
    assert page.locator("#count").inner_text() == "7 of 7 trials"
    controls.get_by_label("status").select_option("failed")
    assert (shown.count(), page.locator("#count").inner_text()) == (1, "1 of 7 trials")
    controls.get_by_label("status").select_option("")
    controls.get_by_label("precision").select_option("computed in bfloat16, exchanged in float32")
    assert shown.count() == 1
    controls.get_by_label("precision").select_option("")
    controls.get_by_label("find").fill("TREE")
    assert "tree" in shown.locator(".name").inner_text()
    controls.get_by_label("find").fill("")
    tree, bare = "tree", "torch_bare"

    def speed(name: str) -> list[str]:
        return shown.filter(has=page.locator(".name", has_text=name)).first.locator(".speed").inner_text().split("\n")

    assert speed(bare)[0] == "200.0"
    controls.get_by_label("speeds").select_option(label="torch_bare \u00d71")
    assert speed(bare) == ["1.00\u00d7", "the others are set against this"]
    # 400 samples a window of 5 steps of 120 ms, over 200 samples per second.
    assert speed(tree)[0] == "0.667\u00d7"
    heading = page.locator("#summary thead button", has_text="times the samples/s")
    heading.click()
    assert "\u00d74" not in shown.first.locator(".name").inner_text() and "4 replicas" in shown.first.inner_text()
    controls.get_by_label("speeds").select_option("fastest")
    assert shown.first.locator(".speed").inner_text().split("\n")[0] == "1.00\u00d7"
    controls.get_by_label("speeds").select_option("")
    assert speed(bare)[0] == "200.0"
    assert visit.complaints == []
    page.close()


def test_marks_are_read_out_by_pointer_and_by_arrow_keys(browser, whole):
    visit = Visit(browser, whole, 1440)
    told = visit.page.locator("#told")
    chart = visit.page.locator("figure[data-figure=speeds] svg:visible")
    chart.scroll_into_view_if_needed()
    assert not told.is_visible()
    chart.locator("[data-tell]").first.hover(force=True)
    assert "samples/s" in told.inner_text()
    visit.page.mouse.move(2, 2)
    assert not told.is_visible()
    chart.focus()
    said = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        visit.page.keyboard.press(key)
        said.append(told.inner_text())
    assert said[0] == said[2] != said[1]
    visit.page.keyboard.press("Escape")
    assert not told.is_visible()
    assert visit.complaints == []
    visit.page.close()


def saved(visit: Visit, selector: str, name: str) -> tuple[str, str]:
    """Name and content of what the button `name` of the element downloads."""
    with visit.page.expect_download() as waiting:
        visit.page.locator(selector).get_by_role("button", name=name, exact=True).click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_text(encoding="utf-8")


def test_numbers_and_charts_are_downloaded_as_they_are_on_the_page(browser, whole):
    visit = Visit(browser, whole, 1440, "dark")
    document = json.loads(visit.page.locator("#numbers").text_content())
    name, text = saved(visit, "figure[data-figure=learning-0]", "CSV")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert name == "by-hand-learning-0.csv"
    assert len(lines) == len(document["evaluations"]) == 36
    assert [line["value"] for line in lines] == [str(one["value"]) for one in document["evaluations"]]
    name, text = saved(visit, "figure[data-figure=speeds]", "SVG")
    drawing = ElementTree.fromstring(text)
    assert (name, drawing.tag) == ("by-hand-speeds.svg", "{http://www.w3.org/2000/svg}svg")
    assert "var(" not in text and "currentColor" not in text and "rgb(28, 32, 36)" in text  # the dark card
    assert len(list(drawing.iter("{http://www.w3.org/2000/svg}title"))) > 8
    name, text = saved(visit, "#tools", "JSON")
    assert (name, json.loads(text)) == ("by-hand-numbers.json", document)
    assert visit.complaints == []
    assert all(url == whole.as_uri() or url.startswith("blob:") for url in visit.requests)
    visit.page.close()


def test_a_theme_is_chosen_and_print_opens_all_and_folds_it_again(browser, whole):
    visit = Visit(browser, whole, 1440)
    paper = "getComputedStyle(document.body).backgroundColor"
    for theme, color in (("dark", "rgb(20, 23, 26)"), ("light", "rgb(251, 251, 249)"), ("auto", "rgb(251, 251, 249)")):
        visit.page.get_by_label("theme").select_option(theme)
        assert visit.page.evaluate(paper) == color
    folded = visit.page.locator("details:not([open]):not(.numbers)")
    before = folded.count()
    visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    visit.page.emulate_media(media="print")
    assert (folded.count(), visit.page.locator("#contents:visible, #controls:visible, button:visible").count()) == (
        0,
        visit.page.locator("#summary thead button").count(),
    )
    visit.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert folded.count() == before > 3
    assert len(visit.page.pdf()) > 100_000
    visit.page.close()


@pytest.mark.parametrize(
    "text", [HOSTILE[0], HOSTILE[1], HOSTILE[5], HOSTILE[7]], ids=["script", "quote", "control", "long"]
)
def test_hostile_text_runs_nothing_and_breaks_no_layout(tmp_path, browser, text):
    path = written(tmp_path, render(hostile(tmp_path, text), "html"))
    for width in (1440, 390):
        visit = Visit(browser, path, width)
        assert visit.complaints == []
        assert visit.requests == [path.as_uri()]
        assert not visit.too_wide()
        visit.page.close()


@pytest.mark.parametrize("width", [1440, 390])
def test_precision_quality_and_proof_fit_the_page(tmp_path, browser, width):
    visit = Visit(browser, written(tmp_path, render(precisions(tmp_path), "html")), width)
    assert visit.complaints == []
    assert not visit.too_wide()
    assert visit.page.locator("figure:is([data-figure=speeds], [data-figure=learning-0]) svg:visible").count() == 2
    summary = "(() => { const table = document.querySelector('#summary').parentElement;"
    assert visit.page.evaluate(f"{summary} return table.scrollWidth <= table.clientWidth; }})()")
    assert visit.page.locator("#summary .axis .bad:visible").count() == 2
    visit.page.close()


@pytest.mark.parametrize("width", [1440, 390])
def test_scaling_and_its_launches_fit_the_page(tmp_path, browser, width):
    weak(tmp_path, {"torch_ddp": {1: 50, 2: 110, 4: 120}, "torch_horovod": {1: 50, 2: 80, 4: 100}})
    visit = Visit(browser, written(tmp_path, render(tmp_path, "html")), width)
    assert visit.complaints == []
    visit.page.evaluate("document.querySelectorAll('details').forEach(folded => folded.open = true)")
    assert not visit.too_wide()
    assert visit.page.locator("[aria-labelledby=scaling] figure svg:visible").count() == 2
    wide = "[...document.querySelectorAll('#summary, [aria-labelledby=scaling] .cards, [aria-labelledby=launches] .cards')]"
    assert visit.page.evaluate(f"{wide}.every(table => table.scrollWidth <= table.parentElement.clientWidth)")
    visit.page.close()


def test_a_foreign_script_or_style_in_the_page_would_be_refused_and_seen_here(tmp_path, browser):
    html = render(by_hand(tmp_path), "html").replace("</main>", "<p style='color:red'><script>alert(1)</script></main>")
    visit = Visit(browser, written(tmp_path, html), 1440)
    assert sum("Content Security Policy" in complaint for complaint in visit.complaints) == 2
    visit.page.close()


def test_a_click_on_a_heading_sorts_the_table_with_unknowns_last(tmp_path, browser):
    visit = Visit(browser, written(tmp_path, render(by_hand(tmp_path), "html")), 1440)

    def order() -> list[str]:
        return visit.page.locator("#summary tbody .name").all_inner_texts()

    heading = visit.page.locator("#summary thead button", has_text="samples/s")
    heading.click()
    assert order()[:3] == ["torch_ddp", "torch_horovod", "torch_bare"]
    heading.click()
    assert order()[:3] == ["torch_bare", "torch_horovod", "torch_ddp"]
    assert set(order()[3:]) == {"tf_horovod", "tf_mirrored"}
    visit.page.close()


def test_the_page_is_whole_without_its_script(tmp_path, browser):
    path = written(tmp_path, render(by_hand(tmp_path), "html"))
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator("#summary tbody tr").count() == 5
    assert page.locator("figure[data-figure=speeds] svg:visible").count() == 1
    context.close()


def test_the_page_of_collectives_fits_is_accessible_reads_out_its_marks_and_has_its_numbers(browser, tmp_path):
    path = written(tmp_path, render_page(two_algorithms()))
    visit = Visit(browser, path, 1440)
    page = visit.page
    assert (visit.complaints, visit.requests) == ([], [path.as_uri()])
    page.locator("figure[data-figure=all-reduce] svg:visible [data-tell]").first.hover(force=True)
    assert "torch_ddp \u00d72, ring, 4.10 kB: 0.304 ms, 95 % interval" in page.locator("#told").inner_text()
    page.mouse.move(2, 2)
    links = page.evaluate("[...document.querySelectorAll('#contents a')].map(link => link.hash.slice(1))")
    assert links == page.evaluate("[...document.querySelectorAll('main h2')].map(heading => heading.id)")
    document = json.loads(page.locator("#numbers").text_content())
    name, text = saved(visit, "figure[data-figure=all-reduce]", "CSV")
    assert name == "s-all-reduce.csv"
    times = [line["time_ms"] for line in csv.DictReader(io.StringIO(text))]
    assert times == [str(one["time_ms"]) for one in document["points"]] and len(times) == 6
    page.evaluate("document.querySelectorAll('details').forEach(folded => folded.open = true)")
    name, text = saved(visit, "details:has([data-csv=sizes-1])", "CSV")
    assert name == "s-sizes-1.csv"
    assert [line["algorithm_asked"] for line in csv.DictReader(io.StringIO(text))] == ["tree"] * 4
    assert page.locator("table:not(:has(caption))").count() == 0
    for width, theme in ((1440, "light"), (390, "dark")):
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size({"width": width, "height": 900})
        assert not visit.too_wide()
        assert violations(visit) == []
    assert visit.complaints == []
    page.close()
