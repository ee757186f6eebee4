"""Boards as a terminal shows them: no line is wider, and nothing is lost but what is said to be."""

import pytest

from ltbench.rendering.fitting import fitted, shortened

BOARD = """# mine

A problem with a description that is longer than the terminal is wide, all of it in one line.

|   rank | recipe             |   balanced accuracy |   few |   many |
|-------:|:-------------------|--------------------:|------:|-------:|
|    1–2 | `ldam+drw` \\*      |          89.5 ± 3.2 |  81.2 |   96.7 |
|      3 | `a\\|b`             |           8.0 ± 3.2 |     – |    1.0 |

- nothing is set against digits-balanced: it differs in \\[network\\], and that is a long story.
"""


def test_columns_that_fit_stand_side_by_side():
    lines = fitted(BOARD, 100).splitlines()
    table = [
        "rank  recipe      balanced accuracy   few  many",
        "────  ──────────  ─────────────────  ────  ────",
        " 1–2  ldam+drw *         89.5 ± 3.2  81.2  96.7",
        "   3  a|b                 8.0 ± 3.2     –   1.0",
    ]
    assert lines[4:8] == table
    assert lines[2] == BOARD.splitlines()[2]
    assert lines[-1].startswith("- nothing is set against digits-balanced: it differs in [network]")


def test_columns_that_do_not_fit_stand_below_with_the_recipes_once_more():
    text = fitted(BOARD, 38)
    assert max(map(len, text.splitlines())) <= 38
    headers = [line.split() for line in text.splitlines() if "recipe" in line]
    assert headers == [
        ["rank", "recipe", "balanced", "accuracy"],
        ["recipe", "few", "many"],
    ]
    words = {word for word in BOARD.replace("\\", "").replace("`", "").split() if word.isalnum()}
    assert words <= set(text.split())


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_of_a_committed_board_is_wider_than_its_terminal(width, pytestconfig):
    for name in ("digits-lt", "distill-digits", "tabular-embedded"):
        path = pytestconfig.rootpath / "leaderboards" / name / "table.md"
        text = fitted(path.read_text(encoding="utf-8"), width)
        wider = [line for line in text.splitlines() if len(line) > width]
        assert wider == []


def test_a_name_is_cut_in_its_middle():
    assert shortened("ldam+drw+sam", 12) == "ldam+drw+sam"
    assert shortened("ldam+drw+sam seed 0", 12) == "ldam+dr…ed 0"
    assert len(shortened("ldam+drw+sam seed 0", 3)) == 3
