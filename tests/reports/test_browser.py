"""The report in a real browser: nothing refused, nothing fetched, nothing wider than the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reports import render
from tests.reports.build import by_hand, precisions
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


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 1100, 390])
def test_the_report_loads_without_a_complaint_and_fits(tmp_path, browser, width, theme):
    path = written(tmp_path, render(by_hand(tmp_path), "html"))
    visit = Visit(browser, path, width, theme)
    assert visit.complaints == []
    assert visit.requests == [path.as_uri()]
    assert visit.page.locator("#summary").is_visible()
    assert visit.page.locator("figure svg:visible").count() == 1
    assert not visit.too_wide()
    dark = visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert dark == (theme == "dark")
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
    assert visit.page.locator("figure svg:visible").count() == 2
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
    wide = (
        "[...document.querySelectorAll('#summary, [aria-labelledby=scaling] table, [aria-labelledby=launches] table')]"
    )
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
    assert page.locator("figure svg:visible").count() == 1
    context.close()
