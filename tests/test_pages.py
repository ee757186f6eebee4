"""The site in a browser: opened from the disk, sorted, filtered, read by keyboard and by axe."""

import shutil
from pathlib import Path

import pytest
from sample_board import fill

from ltbench.registry.registry import installed
from ltbench.site.build import build
from ltbench.site.writing import write

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ROOT = Path(__file__).parents[1]
KINDS = (
    "index.html",
    "methods.html",
    "protocols.html",
    "compare.html#a=ldam%2Bdrw&b=crt",
    "methods/ldam.html",
    "methods/csdm.html",
    "protocols/digits-lt.html",
    "boards/digits-lt.html",
    "boards/mnist-lt-100.html",
    "boards/tabular-uci.html",
    "boards/distill-digits.html",
    "boards/compress-digits.html",
    "boards/digits-bags-lt.html",
    "boards/digits-clusters-10.html",
    "boards/digits-domains.html",
    "boards/digits-federated.html",
    "boards/digits-finetune.html",
    "boards/digits-incremental.html",
    "boards/phrases-lt.html",
    "boards/digits-robust.html",
    "boards/digits-rotation-lt.html",
    "boards/digits-semi-consistent.html",
    "boards/digits-scenes-lt.html",
    "boards/digits-detection-lt.html",
    "boards/digits-sequences-lt.html",
)
"""A page of every kind, and a board of every track."""

if CHROMIUM is None:
    pytest.skip("there is no chromium here", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site of all committed boards, on the disk."""
    folder = tmp_path_factory.mktemp("pages") / "site"
    names = sorted(folder.parent.name for folder in (ROOT / "leaderboards").glob("*/records"))
    made = build(installed(), ROOT / "leaderboards", names)
    assert made.torn == {}
    write(folder, made.files)
    return folder


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


class Seen:
    """A page of the site in a browser that has no network, with what went wrong on it."""

    def __init__(self, browser, site, width=1200, scheme="light", **more):
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, **more
        )
        self.page, self.site, self.faults = self.context.new_page(), site, []
        self.page.on("console", lambda said: self.faults.append(said.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._asked)
        self.page.on("requestfailed", self._failed)

    def _asked(self, request):
        if not request.url.startswith((f"file://{self.site}/", "data:")):
            self.faults.append(f"asks for {request.url}")

    def _failed(self, request):
        if request.failure != "net::ERR_ABORTED":  # a picture of a page that was left meanwhile
            self.faults.append(f"{request.failure}: {request.url}")

    def open(self, place):
        self.page.goto("about:blank")
        self.page.goto(f"file://{self.site}/{place}")
        return self.page


@pytest.fixture
def seen(browser, site):
    made = []

    def see(**more):
        made.append(Seen(browser, site, **more))
        return made[-1]

    yield see
    for one in made:
        one.context.close()


def recipes(page, table="board"):
    rows = page.locator(f"#{table} tbody tr:visible")
    return [text.strip() for text in rows.locator("th").all_inner_texts()]


def column(page, name, table="board"):
    """The numbers that the cells of a column sort by, of rows that are shown."""
    return page.evaluate(
        """([table, name]) => {
            const all = document.getElementById(table);
            const n = [...all.tHead.rows[0].cells].findIndex((head) => head.dataset.name === name);
            return [...all.tBodies[0].rows].filter((row) => !row.hidden)
                .map((row) => row.cells[n].dataset.v).filter((v) => v !== undefined).map(Number);
        }""",
        [table, name],
    )


def test_every_page_opens_from_the_disk_without_error_and_asks_no_other_host(site, seen):
    one = seen()
    for path in sorted(site.rglob("*.html")):
        one.open(path.relative_to(site))
    assert one.faults == []


@pytest.mark.parametrize("width", [360, 1600])
def test_nothing_overflows(seen, width):
    one, wide = seen(width=width), []
    for place in KINDS:
        page = one.open(place)
        page.wait_for_timeout(50)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(place)
    assert wide == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(seen, scheme):
    axe = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
    one, found = seen(scheme=scheme), []
    for place in KINDS:
        page = one.open(place)
        page.wait_for_timeout(50)
        page.evaluate(axe)
        for fault in page.evaluate("axe.run()")["violations"]:
            if fault["impact"] in ("serious", "critical"):
                found.append((place, fault["id"], fault["nodes"][0]["html"][:200]))
    assert found == []


def test_a_click_sorts_and_the_header_says_so(seen):
    page = seen().open("boards/digits-lt.html")
    head = page.locator("#board th[data-name=gain]")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    gains = column(page, "gain")
    assert gains == sorted(gains, reverse=True) and len(gains) > 5
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(page, "gain") == sorted(gains)


def test_all_of_it_goes_by_keyboard(seen):
    page = seen().open("boards/digits-lt.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#board th[data-name=cost] button").focus()
    page.keyboard.press("Enter")
    assert column(page, "cost") == sorted(column(page, "cost"))
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.locator(".choose summary").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "column"


def test_a_text_and_a_family_filter_rows(seen):
    page = seen().open("boards/mnist-lt-100.html")
    every = recipes(page)
    page.get_by_label("Search").fill("sam")
    assert recipes(page) == [name for name in every if "sam" in name]
    page.get_by_label("Family").select_option("ensemble")
    assert recipes(page) and all("sam" in name for name in recipes(page))
    assert f"of {len(every)} rows" in page.locator(".count").first.inner_text()
    page.get_by_role("button", name="Reset").click()
    assert recipes(page) == every


def test_of_very_many_rows_the_first_are_shown_until_all_are_asked_for(browser, tmp_path, tiny):
    many = {"erm": 0.5, **{f"sam(rho={n})": 0.4 + n / 2000 for n in range(1, 250)}}
    fill(tiny, tmp_path / "results", recipes=many, seeds=2)
    write(tmp_path / "site", build(installed(), tmp_path / "results", [str(tiny)]).files)
    page = Seen(browser, tmp_path / "site").open("boards/tiny.html")
    assert page.locator("#board tbody tr:visible").count() == 200
    page.locator("#board th[data-name=value] button").click()
    values = column(page, "value")
    assert len(values) == 200 and values == sorted(values, reverse=True)
    page.get_by_role("button", name="Show all").click()
    assert page.locator("#board tbody tr:visible").count() == 250


def test_a_status_filters_rows(seen):
    page = seen().open("boards/compress-digits.html")
    page.get_by_label("Status").select_option("control")
    assert recipes(page) == ["teacher"]


def test_columns_go_and_come(seen):
    page = seen().open("boards/digits-lt.html")
    head = page.locator("#board th[data-name=macro-f1]")
    assert not head.is_visible()
    page.locator(".choose summary").first.click()
    page.locator("[name=column][value=macro-f1]").check()
    page.locator("[name=column][value=cost]").uncheck()
    assert head.is_visible()
    assert not page.locator("#board th[data-name=cost]").is_visible()


def test_a_link_keeps_all_that_was_chosen(seen):
    page = seen().open("boards/digits-lt.html")
    page.get_by_label("Search").fill("ldam")
    page.locator("#board th[data-name=cost] button").click()
    page.locator(".choose summary").first.click()
    page.locator("[name=column][value=few]").uncheck()
    page.get_by_label("Choose ldam+drw", exact=True).check()
    link, rows = page.url, recipes(page)
    again = seen().open(link.partition("/site/")[2])
    assert recipes(again) == rows and len(rows) == 3
    assert again.locator("#board th[data-name=cost]").get_attribute("aria-sort") == "ascending"
    assert not again.locator("#board th[data-name=few]").is_visible()
    assert again.get_by_label("Choose ldam+drw", exact=True).is_checked()


def test_recipes_that_are_chosen_have_their_recall_drawn(seen):
    page = seen().open("boards/digits-lt.html")
    lines = page.locator("#figure-recall svg.wide path.line:not(.key)")
    before = [line.get_attribute("d") for line in lines.all()]
    assert len(before) == 4
    for name in ("crt", "sam"):
        page.get_by_label(f"Choose {name}", exact=True).check()
    assert [line.text_content() for line in lines.all()] == ["crt", "sam"]
    assert page.locator("#compare").get_attribute("href").endswith("#a=crt&b=sam")


def test_a_line_that_is_drawn_anew_is_the_one_that_was_there(seen):
    page = seen().open("boards/digits-lt.html")
    line = page.locator("#figure-recall svg.wide path.line:not(.key)")
    names = [one.text_content() for one in line.all()]
    before = line.all()[0].get_attribute("d")
    for name in names:
        page.get_by_label(f"Choose {name}", exact=True).check()
    after = line.all()[0].get_attribute("d")
    points = [
        [float(x) for x in path.replace("M", "").replace("L", " ").split()]
        for path in (before, after)
    ]
    assert points[0] == pytest.approx(points[1], abs=0.2)


def test_two_recipes_stand_side_by_side_as_their_board_tells(seen):
    from ltbench.boards.reading import read

    board = read(installed(), "digits-lt", ROOT / "leaderboards").board.content
    pairs = board.pairs
    i, j = sorted(map(pairs.recipes.index, ("crt", "mixup")))
    n = len(pairs.recipes)
    k = i * n - i * (i + 1) // 2 + j - i - 1
    page = seen().open("compare.html#a=crt&b=mixup")
    row = page.locator("#pairs tr", has_text="digits-lt").first
    row.wait_for()
    sign = 1 if pairs.recipes[i] == "crt" else -1
    gap, half = (100 * one[k] for one in (pairs.difference, pairs.half))
    told = row.locator("td").all_inner_texts()
    expected = f"{sign * gap:+.1f} ± {half:.1f} points".replace("-", "−")
    assert expected in told
    assert "Recall of each class on digits-lt" in page.locator("#pairs").inner_text()
    page.get_by_role("button", name="Swap").click()
    assert "a=mixup&b=crt" in page.url


def test_groups_of_boards_take_turns_and_the_link_keeps_them(seen):
    page = seen().open("index.html")
    assert page.locator("section.group:visible h2").all_inner_texts() == ["All boards"]
    page.locator("#group").select_option("recognition")
    assert page.locator("section.group:visible h2").all_inner_texts() == ["Kind: recognition"]
    again = seen().open(page.url.partition("/site/")[2])
    assert again.locator("section.group:visible h2").all_inner_texts() == ["Kind: recognition"]


def test_without_scripts_every_number_is_there(seen):
    page = seen(java_script_enabled=False).open("boards/digits-lt.html")
    assert len(recipes(page)) > 10
    assert not page.locator(".tools").first.is_visible()
    assert seen(java_script_enabled=False).open("index.html").locator("section.group").count() > 3


def test_both_schemes_and_paper_are_served(seen):
    grounds = [
        seen(scheme=scheme)
        .open("index.html")
        .evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    ]
    assert grounds[0] != grounds[1]
    page = seen(scheme="dark").open("boards/digits-lt.html")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".tools").first.is_visible()
