"""The documents as a site: what `make docs` builds, and what a page may say."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ltbench.commands.main import COMMANDS
from ltbench.contract.method import HOOKS
from ltbench.registry.registry import installed


@pytest.fixture(scope="module")
def root(pytestconfig):
    return pytestconfig.rootpath


class Page(HTMLParser):
    """What a page links to, loads, can be linked at, and says outside of code."""

    def __init__(self, text):
        super().__init__()
        self.places, self.links, self.loads, self.said = set(), [], [], []
        self.within = 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.places.add(given.get("id"))
        self.within += tag in QUOTING
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("img", "script", "iframe") and "src" in given:
            self.loads.append(given["src"])
        elif tag == "link":
            self.loads.append(given["href"])

    def handle_endtag(self, tag):
        self.within -= tag in QUOTING

    def handle_data(self, data):
        if not self.within:
            self.said.append(data)


QUOTING = ("code", "pre", "script", "style")


@pytest.fixture(scope="module")
def site(root, tmp_path_factory):
    """The pages of the site by path; building strictly fails for a link that leads nowhere."""
    for package in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(package, reason="pip install 'ltbench[docs]' brings it")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    read = {path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.html"))}
    return {path.relative_to(folder): Page(text) for path, text in read.items()}


def test_every_link_and_every_anchor_of_the_site_leads_somewhere(site):
    dead = []
    for path, page in site.items():
        if path.name == "404.html":  # its links are from the root of a host
            continue
        for link in page.links:
            if re.match(r"https?:|mailto:", link):
                continue
            place, _, anchor = link.partition("#")
            there = site.get(Path(os.path.normpath(path.parent / place)) if place else path)
            if there is None or (anchor and anchor not in there.places):
                dead.append(f"{path}: {link}")
    assert dead == []


def test_the_site_loads_nothing_from_another_host(site):
    loads = {load for page in site.values() for load in page.loads}
    assert any(load.endswith(".css") for load in loads)
    assert [load for load in loads if re.match(r"(https?:)?//", load)] == []


def test_no_markdown_is_left_on_a_page(site):
    for path, page in site.items():
        said = "".join(page.said)
        assert said.strip()
        assert MARKDOWN.findall(said) == [], path


MARKDOWN = re.compile(r"\]\(.*|```.*|.*\| ?:?--.*|^#+ .*|^[-*] \w.*|::: .*", re.MULTILINE)


def test_every_method_hook_protocol_and_command_has_its_place(site):
    registry = installed()
    expected = {
        "methods": registry.methods(),
        "hooks": HOOKS,
        "protocols": registry.protocols(),
        "commands": COMMANDS,
        "python": [f"ltbench.{name}" for name in ("run", "Method.adjust", "testing.check_method")],
    }
    for page, names in expected.items():
        assert set(names) <= site[Path(f"reference/{page}.html")].places


def test_a_card_leads_to_the_boards_that_its_method_stands_on(site):
    links = site[Path("reference/methods.html")].links
    assert "../leaderboards/mnist-lt-100/table.html" in links


def test_every_document_stands_in_the_navigation(root):
    told = (root / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r": (\S+\.md)$", told, re.MULTILINE))
    pages = [*root.glob("*.md"), *root.glob("docs/*.md")]
    assert [page for page in pages if page.relative_to(root).as_posix() not in named] == []


def test_every_link_of_the_documents_leads_to_a_file_of_the_repository(root):
    pages = [*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("leaderboards/*/*.md")]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
        if not link.startswith("https:")
    ]
    assert len(links) > 50
    assert [(page, link) for page, link in links if not (page.parent / link).exists()] == []


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables(text):
    """The tables of a Markdown page: the cells of their heads, and of their rows."""
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *rows = map(cells, block.splitlines())
        yield head, rows


def figures(board):
    """The figures of a board by the spelling of a recipe and the label of a column."""
    found = {}
    for head, rows in tables(board.read_text(encoding="utf-8")):
        if "recipe" in head:
            for row in rows:
                (recipe, *_) = re.findall(r"`([^`]+)`", row[head.index("recipe")])
                found |= {(recipe, label): cell for label, cell in zip(head, row, strict=True)}
    return found


def test_figures_that_practitioners_are_given_are_those_of_the_boards(root):
    page = root / "docs" / "choosing.md"
    held = 0
    for head, rows in tables(page.read_text(encoding="utf-8")):
        for column, title in enumerate(head[1:], start=1):
            link, label = re.fullmatch(r"\[[\w-]+\]\((.*)\): (.*)", title).groups()
            board = figures(page.parent / link)
            assert label in {named for _, named in board}
            for row in rows:
                told = board.get((row[0].strip("`"), label), "–")
                assert row[column] == told, f"{row[0]} on {link}: {label}"
                held += 1
    assert held > 80
