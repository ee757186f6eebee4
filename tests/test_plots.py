"""Figures for papers: every kind in every form, the same bytes again, and texts as texts."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from sample_board import HOSTILE, RECIPES, fill

FORMS = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}


@pytest.mark.parametrize("kind", ["forest", "pareto", "recall", "ranks"])
@pytest.mark.parametrize("form", FORMS)
def test_a_figure_is_drawn_in_the_form_that_is_asked_for(ltbench, tiny, tmp_path, kind, form):
    fill(tiny, tmp_path / "leaderboards")
    for name in ("one", "other"):
        done = ltbench("plot", tiny, "--kind", kind, "--out", f"{name}.{form}")
        assert done.exit_code == 0, done.output
    one, other = ((tmp_path / f"{name}.{form}").read_bytes() for name in ("one", "other"))
    assert one.startswith(FORMS[form]) and one == other


def test_a_pdf_embeds_its_fonts(ltbench, tiny, tmp_path):
    fill(tiny, tmp_path / "leaderboards")
    ltbench("plot", tiny, "--kind", "forest", "--out", "one.pdf")
    content = (tmp_path / "one.pdf").read_bytes()
    assert b"/FontFile2" in content and b"/Type3" not in content


@pytest.mark.parametrize("kind", ["forest", "pareto", "recall", "ranks"])
def test_what_others_wrote_is_text_in_a_figure(ltbench, tiny, tmp_path, kind):
    """Formulas of TeX in a name, which matplotlib would set, are what they are."""
    fill(tiny, tmp_path / "leaderboards", recipes={**RECIPES, "$\\frac{": 0.71, HOSTILE: 0.7})
    done = ltbench("plot", tiny, "--kind", kind, "--out", "one.svg")
    assert done.exit_code == 0, done.output
    assert b"<script" not in (tmp_path / "one.svg").read_bytes()


def test_a_board_without_a_kind_of_figure_says_which_it_has(ltbench, tiny, tmp_path):
    fill(tiny, tmp_path / "leaderboards")
    done = ltbench("plot", tiny, "--kind", "critical-difference", "--out", "one.pdf")
    assert done.exit_code == 2
    assert "it has forest, pareto, recall, ranks" in done.stderr


def test_a_badge_says_where_a_row_stands(ltbench, tiny, tmp_path):
    fill(tiny, tmp_path / "leaderboards", recipes={**RECIPES, HOSTILE: 0.7})
    told = json.loads(ltbench("leaderboard", tiny, "--format", "json").stdout)
    row = next(one for one in told["rows"] if one["recipe"] == "focal")
    done = ltbench("plot", tiny, "--kind", "badge", "--recipe", "focal", "--out", "row.svg")
    assert done.exit_code == 0, done.output
    drawn = ElementTree.parse(tmp_path / "row.svg").getroot()
    said = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert said[0] == "tiny: focal"
    assert said[1].startswith(f"{100 * row['delta']['mean']:+.1f} ± ")
    assert said[1].endswith(f" over erm, rank {row['rank'][0]}–{row['rank'][1]}")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["badge", "--out", "row.svg"], "--kind badge and --recipe RECIPE go together"),
        (["forest", "--recipe", "erm", "--out", "a.svg"], "--kind badge and --recipe RECIPE go"),
        (["badge", "--recipe", "erm", "--out", "row.png"], "row.png: a badge ends in .svg"),
        (["badge", "--recipe", "cdt", "--out", "row.svg"], "no row 'cdt' on the board of tiny"),
    ],
)
def test_a_badge_that_cannot_be_is_refused_in_a_line(ltbench, tiny, tmp_path, words, told):
    fill(tiny, tmp_path / "leaderboards")
    done = ltbench("plot", tiny, "--kind", *words)
    assert done.exit_code == 2
    assert told in done.output and len(done.output.splitlines()) == 1
    assert not list(tmp_path.glob("row.*"))


def test_an_unknown_ending_is_refused(ltbench, tiny, tmp_path):
    fill(tiny, tmp_path / "leaderboards")
    done = ltbench("plot", tiny, "--kind", "forest", "--out", "one.gif")
    assert done.exit_code == 2 and "ends in .svg, .pdf, .png" in done.stderr


def test_without_matplotlib_a_line_says_what_to_install(ltbench, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = ltbench("plot", tiny, "--kind", "forest", "--out", "one.pdf")
    assert done.exit_code == 2
    assert done.stderr == "Error: a figure needs matplotlib: pip install 'ltbench[site]'\n"


def test_help_loads_neither_pages_nor_figures():
    asked = "import sys; from ltbench.commands.main import main; main(['plot', '--help'], "
    asked += "standalone_mode=False); print({'matplotlib', 'jinja2', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    assert done.stdout.endswith("set()\n"), done.stderr
