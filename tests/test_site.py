"""The site as files: what it holds, what it refuses, and that it is whole or not there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sample_board import HOSTILE, RECIPES, fill

from ltbench import LTBenchError
from ltbench.registry.registry import Registry, installed
from ltbench.site import writing
from ltbench.site.build import build, marked
from ltbench.texts import visible


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The files of a site of one small board."""
    from conftest import TINY

    folder = tmp_path_factory.mktemp("whole")
    path = folder / "tiny.toml"
    path.write_text(TINY)
    fill(path, folder / "results")
    return build(installed(), folder / "results", [str(path)]).files


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def test_every_kind_of_page_is_there(whole):
    for place in ("index.html", "boards/tiny.html", "methods/ldam.html", "compare.html"):
        assert whole[place].startswith(b"<!doctype html>")
    assert {"protocols/tiny.html", "assets/site.css", "assets/board-tiny.js"} <= set(whole)


def test_a_page_leads_only_to_pages_that_are_there(whole):
    import re

    for place, content in whole.items():
        if not place.endswith(".html"):
            continue
        for link in re.findall(r'(?:href|src)="([^"]+)"', content.decode()):
            target = link.partition("#")[0]
            if target.startswith(("https://arxiv.org/", "https://doi.org/", "data:")) or not target:
                continue
            found = os.path.normpath(os.path.join(os.path.dirname(place), target))
            assert found in whole, f"{place} leads to {link}"


def test_the_same_records_give_the_same_bytes(ltbench, tiny, tmp_path):
    fill(tiny, tmp_path / "leaderboards")
    for name in ("one", "other"):
        assert ltbench("site", tiny, "--into", name).exit_code == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_numbers_of_a_page_are_those_of_the_board(ltbench, tiny, tmp_path, whole):
    fill(tiny, tmp_path / "leaderboards")
    table = ltbench("leaderboard", tiny).output
    line = next(line for line in table.splitlines() if "`logit-adjustment`" in line)
    rank, _, value, gain, *_ = (cell.strip() for cell in line.split("|")[1:-1])
    page = whole["boards/tiny.html"].decode()
    row = page[page.index('value="logit-adjustment"') :].partition("</tr>")[0]
    assert all(f">{cell}<" in row for cell in (rank, value, gain))


def test_what_others_wrote_is_text_on_every_page(tiny, tmp_path):
    recipes = {**RECIPES, HOSTILE: 0.7}
    fill(tiny, tmp_path / "results", recipes=recipes, notes=[HOSTILE])
    site = build(installed(), tmp_path / "results", [str(tiny)])
    page = site.files["boards/tiny.html"].decode()
    assert "&lt;script&gt;alert" in page
    for place, content in site.files.items():
        text = content.decode(errors="replace")
        assert "\u202e" not in text, f"{place} can be turned round"
        if place.endswith(".html"):
            assert "<script>" not in text.replace("<script>\n", "")
    script = site.files["assets/board-tiny.js"].decode()
    assert visible(HOSTILE).replace("\\", "\\\\").replace('"', '\\"') in script


def test_marks_of_a_legend_are_the_only_markup():
    assert marked("*few*: <b>, `a<b`") == "<em>few</em>: &lt;b&gt;, `a&lt;b`"
    assert marked("in\n  `erm`") == "in <code>erm</code>"


def test_letters_that_turn_others_round_are_told_by_their_code():
    assert visible("a\u202eb\u200f\x1b") == "a‹U+202E›b‹U+200F›‹U+001B›"
    assert visible("Straße 字 ü") == "Straße 字 ü"


def test_a_torn_board_is_named_and_the_others_are_built(ltbench, tiny, tmp_path):
    fill(tiny, tmp_path / "leaderboards")
    torn = tmp_path / "leaderboards" / "digits-lt" / "records" / "erm"
    torn.mkdir(parents=True)
    (torn / "seed-0.json").write_text("{")
    done = ltbench("site", "digits-lt", tiny, "--into", "out")
    assert done.exit_code == 2
    assert "digits-lt is left out" in done.stderr and "truncated" in done.stderr
    assert "truncated" in (tmp_path / "out" / "index.html").read_text()
    assert (tmp_path / "out" / "boards" / "tiny.html").exists()


def test_a_torn_record_is_named_on_the_page_of_its_board(ltbench, tiny, tmp_path):
    fill(tiny, tmp_path / "leaderboards")
    (tmp_path / "leaderboards" / "tiny" / "records" / "erm" / "seed-0.json").write_text("{")
    done = ltbench("site", tiny, "--into", "out")
    assert done.exit_code == 2 and "seed-0.json is left in place" in done.stderr
    assert "seed-0.json of erm is not counted" in (tmp_path / "out/boards/tiny.html").read_text()


def test_no_records_are_refused(ltbench, tmp_path):
    done = ltbench("site", "--into", "out")
    assert done.exit_code == 2 and "holds no records" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused_and_nothing_is_deleted(ltbench, tiny, tmp_path):
    fill(tiny, tmp_path / "leaderboards")
    thesis = tmp_path / "out" / "thesis.tex"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    done = ltbench("site", tiny, "--into", "out")
    assert done.exit_code == 2 and "holds thesis.tex and is no site" in done.stderr
    assert contents(tmp_path / "out") == {"thesis.tex": b"years of work"}


def test_a_file_beside_an_earlier_site_is_refused_too(tmp_path):
    writing.write(tmp_path / "out", {"index.html": b"first"})
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(LTBenchError, match=r"mine\.txt beside a site"):
        writing.write(tmp_path / "out", {"index.html": b"second"})
    assert (tmp_path / "out" / "index.html").read_bytes() == b"first"


def test_a_site_takes_the_place_of_the_earlier_one(tmp_path):
    writing.write(tmp_path / "out", {"index.html": b"first", "boards/old.html": b"old"})
    writing.write(tmp_path / "out", {"index.html": b"second"})
    assert set(contents(tmp_path / "out")) == {"index.html", "site.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_where_folders_cannot_be_exchanged_they_are_renamed(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_exchange", lambda one, other: False)
    test_a_site_takes_the_place_of_the_earlier_one(tmp_path)


def test_a_file_where_the_folder_should_be_is_refused(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(LTBenchError, match="is no folder"):
        writing.write(tmp_path / "out", {"index.html": b""})


def test_a_full_disk_leaves_the_earlier_site_whole(tmp_path, monkeypatch):
    writing.write(tmp_path / "out", {"index.html": b"first"})
    before, write = contents(tmp_path / "out"), Path.write_bytes

    def full(path, content):
        if path.name == "last.html":
            raise OSError(28, os.strerror(28))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(LTBenchError, match="No space left"):
        writing.write(tmp_path / "out", {"index.html": b"second", "last.html": b""})
    assert contents(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


KILLED = """
import sys, time
from pathlib import Path
from ltbench.site import writing

write = Path.write_bytes

def slow(path, content):
    write(path, content)
    print(path.name, flush=True)
    time.sleep(0.05 if path.name != "page-5.html" else 60)

Path.write_bytes = slow
writing.write(Path(sys.argv[1]), {f"page-{n}.html": b"second" for n in range(9)})
"""


def test_a_kill_leaves_the_earlier_site_whole_and_the_next_run_clears_up(tmp_path):
    out = tmp_path / "out"
    writing.write(out, {"index.html": b"first"})
    before = contents(out)
    words = [sys.executable, "-c", KILLED, str(out)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as running:
        while running.stdout.readline().strip() != "page-5.html":
            assert running.poll() is None
        os.kill(running.pid, signal.SIGKILL)
    assert contents(out) == before
    assert len(list(tmp_path.iterdir())) == 2
    writing.write(out, {"index.html": b"third"})
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_without_what_it_needs_a_line_says_what_to_install(ltbench, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = ltbench("site", tiny, "--into", "out")
    assert done.exit_code == 2
    assert done.stderr == "Error: a site needs Jinja2: pip install 'ltbench[site]'\n"


def test_a_board_of_very_many_recipes_stays_small(tiny, tmp_path):
    many = {"erm": 0.5, **{f"sam(rho={n})": 0.4 + n / 2000 for n in range(1, 300)}}
    fill(tiny, tmp_path / "results", recipes=many, seeds=3)
    site = build(installed(), tmp_path / "results", [str(tiny)])
    page = site.files["boards/tiny.html"]
    assert len(page) < 1_500_000
    assert "more are in the numbers" in page.decode()


FOREIGN = '''
"""<script>alert(1)</script> \u202e a module"""
from ltbench import Method, hookimpl

class Foreign(Method):
    """<img src=x onerror=alert(1)> & \u202e {{ 7 * 7 }}"""

    name = "foreign"
    reference = "javascript:alert(1) <b>arXiv:2107.09249</b>"

    def __init__(self, kind: str = "<i>'\\""):
        self.kind = kind

    def scores(self, scores, run):
        return scores

@hookimpl
def register_methods(register):
    register(Foreign)
'''


def test_what_a_method_says_of_itself_is_text_too(tiny, tmp_path):
    tiny.write_text(tiny.read_text().replace("Digits, for", "<b>Digits</b> {{ 7 * 7 }}, for"))
    fill(tiny, tmp_path / "results")
    (tmp_path / "foreign.py").write_text(FOREIGN)
    registry = Registry([tmp_path / "foreign.py"])
    site = build(registry, tmp_path / "results", [str(tiny)])
    page = site.files["methods/foreign.html"].decode()
    assert "<img" not in page and "&lt;img src=x" in page
    assert "{{ 7 * 7 }}" in page
    assert "\u202e" not in page and 'href="javascript' not in page and "<i>" not in page
    assert 'href="https://arxiv.org/abs/2107.09249"' in page
    assert "&lt;b&gt;Digits&lt;/b&gt; {{ 7 * 7 }}" in site.files["boards/tiny.html"].decode()
