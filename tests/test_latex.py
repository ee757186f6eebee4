"""Boards as LaTeX: rules, intervals, bold where it is earned, and texts as texts."""

import re
import shutil
import subprocess

import pytest
from sample_board import HOSTILE, RECIPES, fill

from ltbench.boards.latex import escaped


@pytest.fixture
def lines(ltbench, tiny, tmp_path):
    """The lines of the board of some recipes."""

    def told(**more):
        fill(tiny, tmp_path / "leaderboards", **more)
        done = ltbench("leaderboard", tiny, "--format", "latex")
        assert done.exit_code == 0, done.output
        return done.output.splitlines()

    return told


def row(lines, recipe):
    return next(line for line in lines if f"\\texttt{{{recipe}}}" in line)


def test_a_table_has_the_rules_of_booktabs_and_a_row_for_each_recipe(lines):
    told = lines()
    assert [line for line in told if line.endswith("rule")] == [
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
    ]
    body = told[told.index(r"\midrule") + 1 : told.index(r"\bottomrule")]
    assert len(body) == len(RECIPES)
    assert {line.count(" & ") for line in body} == {told[3].count(" & ")}
    assert r"$\pm$" in row(told, "erm")


def test_the_best_is_bold_only_where_it_is_told_apart(lines):
    told = lines(recipes={"erm": 0.5, "focal": 0.6, "ldam+drw": 0.8}, noise=0.002)
    assert r"\textbf" in row(told, "ldam+drw")
    assert r"\textbf" not in row(told, "focal")


def test_a_best_that_is_not_told_apart_is_not_bold(lines):
    told = lines(recipes={"erm": 0.5, "focal": 0.7, "ldam+drw": 0.7}, noise=0.02)
    assert not any(r"\textbf" in line for line in told)


def test_nothing_that_others_wrote_is_a_command():
    told = escaped(HOSTILE)
    assert r"\input{" not in told and r"\textbackslash{}input\{/etc/passwd\}" in told
    assert r"100 \% \#1" in told and r"\$" in told and "[" in told
    without = re.sub(r"\\[a-z]+\{\}|\\[{}$&#_%]", "", told)
    assert not re.search(r"[\\$&#_%^~]", without)
    assert "\u202e" not in told and "U+202E" in told


def test_two_hyphens_do_not_become_a_dash():
    assert escaped("a--b") == "a-{}-b"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")
def test_latex_takes_it(lines, tmp_path):
    table = "\n".join(lines(recipes={**RECIPES, HOSTILE: 0.7}))
    document = "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs}"
    (tmp_path / "one.tex").write_text(
        f"{document}\\begin{{document}}\n{table}\n\\end{{document}}\n", encoding="utf-8"
    )
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "one.tex"]
    assert subprocess.run(words, cwd=tmp_path, capture_output=True).returncode == 0
