"""`paceline site`: every run has its page or its reason, and only what changed is made again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from bench.errors import UserError
from tests.reports import build
from tests.reports.test_browser import Visit, browser, violations  # noqa: F401  one is a fixture
from tests.reports.test_comparison import STEADY, write

# No table of the page is cut off in its box, but the folded ones.
FITS = "[...document.querySelectorAll('.scroll:not(details .scroll)')].every(box => box.scrollWidth <= box.clientWidth)"
HOSTILE = '"><script>alert(1)</script>\u202e\U0001f600' + "x" * 400


def runs(folder: Path) -> Path:
    """Two runs of a study, a quick one of another, and one that is torn."""
    write(folder / "nightly-1", *STEADY, study="nightly", created_utc="2026-01-01T03:00:00Z")
    write(folder / "nightly-2", *STEADY, study="nightly", created_utc="2026-01-02T03:00:00Z")
    write(folder / "look", 100, study="other", quick=True, created_utc="2026-01-03T03:00:00Z")
    (folder / "torn").mkdir()
    (folder / "torn" / "result.json").write_bytes(b"{")
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, str]:
    """A folder with its site, two hostile runs among its runs; and what was said."""
    folder = runs(tmp_path_factory.mktemp("runs"))
    hostile = msgspec.structs.replace(build.ENVIRONMENT, hostname=HOSTILE, revision=HOSTILE)
    trial = build.trial_result("torch_ddp", 2, [build.launch_at(rate) for rate in STEADY[:3]])
    build.write_run(
        folder / "hostile-1", [trial], study=HOSTILE, environment=hostile, created_utc="2026-01-04T03:00:00Z"
    )
    build.write_run(folder / "hostile-2", [trial], study=HOSTILE, created_utc="not a time")
    return folder, paceline(folder)


def paceline(*arguments: object) -> str:
    """What was said, on both outputs."""
    from click.testing import CliRunner

    from bench.cli import cli

    done = CliRunner().invoke(cli, ["site", *map(str, arguments)], standalone_mode=False)
    if isinstance(done.exception, UserError):
        return str(done.exception)
    assert done.exception is None, done.exception
    return done.output


def index(folder: Path) -> tuple[str, list[dict]]:
    """The page, and the runs in its JSON."""
    html = (folder / "index.html").read_text(encoding="utf-8")
    (numbers,) = re.findall(r'<script type="application/json" id="numbers">(.*?)</script>', html, re.DOTALL)
    return html, json.loads(numbers)["runs"]


def test_every_run_has_its_page_or_its_reason_the_latest_first(built):
    folder, said = built
    assert "6 runs, 6 read anew, 1 without a page" in said
    assert said.endswith(f"{folder / 'site' / 'index.html'}\n")
    html, listed = index(folder / "site")
    assert [(one["run"], one["status"]) for one in listed] == [
        ("hostile-1", "whole"), ("look", "quick look"), ("nightly-2", "whole"), ("nightly-1", "whole"),
        ("hostile-2", "whole"), ("torn", "not read"),
    ]  # fmt: skip
    assert listed[2]["verdict"].startswith("torch_ddp is fastest: 1.25 times")
    assert "cut off or damaged" in listed[5]["verdict"] and listed[5]["link"] is None
    links = re.findall(r'href="([^"#]+)"', html)
    assert {"history/nightly.html", "runs/look.html", "runs/nightly-1.html", "runs/nightly-2.html"} < set(links)
    assert len(links) == 7 and all((folder / "site" / link).is_file() for link in links)
    assert (folder / "site").stat().st_mode & 0o777 == 0o700


def test_only_what_changed_is_made_again_and_what_is_gone_goes(tmp_path):
    paceline(runs(tmp_path))
    site = tmp_path / "site"
    before = {path: path.stat().st_mtime_ns for path in site.glob("*/*.html")}
    assert "1 read anew" in paceline(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in site.glob("*/*.html")} == before
    write(tmp_path / "nightly-2", *STEADY[:4], study="nightly", created_utc="2026-01-02T03:00:00Z")
    write(tmp_path / "torn", *STEADY, study="torn")  # mended
    assert "2 read anew" in paceline(tmp_path)
    changed = {path.name for path in before if path.stat().st_mtime_ns != before[path]}
    assert changed == {"nightly-2.html", "nightly.html"}
    for path in (tmp_path / "nightly-1").iterdir():
        path.unlink()
    assert "0 read anew" in paceline(tmp_path)
    assert {path.name for path in (site / "runs").iterdir()} == {"look.html", "nightly-2.html", "torn.html"}
    assert not list((site / "history").iterdir())
    assert [one["run"] for one in index(site)[1]] == ["look", "torn", "nightly-2"]


def test_a_run_whose_page_cannot_be_made_does_not_stop_the_others(tmp_path, monkeypatch):
    import reports

    made = reports.render
    monkeypatch.setattr(reports, "render", lambda run, kind: 1 // 0 if run.name == "look" else made(run, kind))
    assert "no page of look: its page cannot be made: ZeroDivisionError" in paceline(runs(tmp_path))
    assert (tmp_path / "site" / "runs" / "nightly-1.html").is_file()


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    write(tmp_path / "runs" / "one", *STEADY)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "index.html").write_text("mine")
    assert "is not empty and no site of paceline" in paceline(tmp_path / "runs", "--into", tmp_path / "thesis")
    assert (tmp_path / "thesis" / "index.html").read_text() == "mine"
    assert paceline(tmp_path / "thesis") == f"below {tmp_path / 'thesis'} there is no run"
    (tmp_path / "runs" / "site").mkdir()
    (tmp_path / "runs" / "site" / "site.json").write_text("{")
    assert "1 read anew" in paceline(tmp_path / "runs")


def test_names_of_any_kind_stay_within_the_site_and_apart(tmp_path):
    from reports.across.site import slug

    names = ["a b", "a/b", "../../etc/passwd", "a-b", ".hidden", "", "\u202e", "x" * 300, "<script>", "a\nb", "-rf"]
    slugs = [slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", one) for one in slugs)
    write(tmp_path / "runs" / "week 1" / "a&b #1", *STEADY, study="s")
    paceline(tmp_path / "runs", "--into", tmp_path / "out")
    (run,) = index(tmp_path / "out")[1]
    assert run["run"] == "week 1/a&b #1"
    assert (tmp_path / "out" / run["link"]).is_file()


def test_the_pages_load_and_fit_without_a_complaint(built, browser):  # noqa: F811
    folder, _ = built
    site = folder / "site"
    compared(folder / "hostile-1", folder / "nightly-1", folder / "nightly-2", into=folder / "compared.html")
    (history,) = [path for path in (site / "history").iterdir() if path.name != "nightly.html"]
    for path in (site / "index.html", history, folder / "compared.html"):
        for width, theme in ((1440, "light"), (390, "dark")):
            visit = Visit(browser, path, width, theme)
            assert visit.complaints == []
            assert visit.requests == [path.as_uri()]
            assert not visit.too_wide()
            assert visit.page.evaluate(FITS)
            assert visit.page.locator("h1").count() == 1
            assert visit.page.locator("figure svg:visible:not([aria-label])").count() == 0
            visit.page.close()


def test_axe_finds_nothing_serious_in_the_pages(built, browser):  # noqa: F811
    folder, _ = built
    compared(folder / "hostile-1", folder / "nightly-1", into=folder / "two.html")
    for path, width, theme in (
        (folder / "site" / "index.html", 1440, "light"),
        (folder / "site" / "history" / "nightly.html", 390, "dark"),
        (folder / "two.html", 1440, "dark"),
    ):
        visit = Visit(browser, path, width, theme)
        assert violations(visit) == []
        visit.page.close()


def test_the_index_sorts_filters_and_leads_to_the_reports(built, browser):  # noqa: F811
    site = built[0] / "site"
    visit = Visit(browser, site / "index.html", 1440)
    rows = visit.page.locator("#summary tbody tr:visible")
    visit.page.locator("#find").fill("nightly")
    assert rows.count() == 2
    visit.page.locator("#find").fill("")
    visit.page.get_by_label("status").select_option("not read")
    assert rows.count() == 1
    visit.page.get_by_label("status").select_option("")
    visit.page.locator("#summary thead button", has_text="begun").click()
    visit.page.locator("#summary thead button", has_text="begun").click()
    assert visit.page.locator("#summary tbody tr .name").first.inner_text() == "nightly-1"
    visit.page.locator("#summary a", has_text="nightly-1").click()
    assert visit.page.url == (site / "runs" / "nightly-1.html").as_uri()
    assert visit.complaints == []
    visit.page.close()


def compared(*folders: Path, into: Path) -> None:
    from click.testing import CliRunner

    from bench.cli import cli

    arguments = ["compare", *map(str, folders), "--format", "html", "-o", str(into)]
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert done.exception is None, done.exception
