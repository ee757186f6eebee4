"""Figures as marks: what is on them, where it stands, and what is left out."""

import pytest

from ltbench.rendering.figures import (
    Apart,
    CriticalDifference,
    Forest,
    Interval,
    Point,
    Recall,
    Tradeoff,
)
from ltbench.rendering.figures import Line as Values
from ltbench.scoring.measures import Measure
from ltbench.site.drawing import draw
from ltbench.site.drawn import axes, marks, recall
from ltbench.site.drawn.axes import cut, parts, steps
from ltbench.site.drawn.marks import NARROW, WIDE, Lines, Sign, Text
from ltbench.site.drawn.tradeoff import front
from ltbench.site.svg import svg

MEASURE = Measure("accuracy")


def signs(made):
    return [mark for mark in made.marks if isinstance(mark, Sign)]


def forest(*values):
    rows = [Interval(f"r{n}", v, v - 0.01, v + 0.01, "better") for n, v in enumerate(values)]
    return Forest(rows, MEASURE, "erm")


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_marks_stay_on_their_sheet(width):
    made = draw(forest(0.01, 0.2, -0.3, 0.05), width)
    for mark in made.marks:
        points = [p for one in getattr(mark, "points", []) for p in one] or [(mark.left, mark.top)]
        assert all(0 <= x <= width and 0 <= y <= made.height for x, y in points)


def test_a_gain_stands_right_of_zero_and_a_loss_left_of_it():
    made = draw(forest(0.1, -0.1))
    (zero,) = (m for m in made.marks if isinstance(m, Lines) and m.style == "zero")
    x = zero.points[0][0][0]
    gain, loss = signs(made)[-2:]
    assert loss.left < x < gain.left


def test_what_lies_far_out_is_an_arrow_at_the_edge_and_the_others_stay_apart():
    made = draw(forest(*[0.01 * n for n in range(10)], -5.0))
    far = signs(made)[-1]
    assert far.style == "left"
    xs = [mark.left for mark in signs(made)[-11:-1]]
    assert min(b - a for a, b in zip(xs, xs[1:], strict=False)) > 5


def test_very_many_rows_are_cut_and_counted():
    made = draw(forest(*[0.001 * n for n in range(250)]))
    assert made.left_out == 250 - marks.MOST


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(1, 5), (2, 6), (3, 5.5)], [True, True, False]),
        ([(1, 5), (1, 5)], [True, True]),
        ([(1, 5), (1, 6)], [False, True]),
    ],
)
def test_nothing_on_the_front_is_beaten(points, expected):
    assert front([(*point, True) for point in points]) == expected


def test_what_lacks_cells_beats_nothing_and_is_on_no_front():
    assert front([(1, 9, False), (2, 5, True)]) == [False, True]


def test_of_costs_less_is_better_where_less_of_the_measure_is_too():
    assert front([(1, 5, True), (2, 6, True)], better=-1) == [True, False]


def test_the_line_of_the_front_never_falls():
    points = [Point("a", 1, 0.5, True), Point("b", 2, 0.7, True), Point("c", 3, 0.6, False)]
    made = draw(Tradeoff(points, MEASURE, "plain training"))
    (line,) = (m for m in made.marks if isinstance(m, Lines) and m.style == "front")
    heights = [y for _, y in line.points[0]]
    assert heights == sorted(heights, reverse=True) and len(heights) == 3


def test_classes_without_recall_leave_a_gap_in_no_line():
    made = draw(Recall([9, 5, 2], [Values("erm", [0.9, None, 0.5])]))
    line = next(m for m in made.marks if isinstance(m, Lines) and m.said == "erm")
    assert len(line.points[0]) == 2


def test_neighbours_of_very_many_classes_are_put_together():
    told = parts([0.0, 1.0] * 500)
    assert len(told) == axes.PARTS and set(told) == {0.5}


def test_bars_join_the_widest_runs_that_are_not_told_apart():
    names, ranks = ["a", "b", "c", "d"], [1.0, 1.8, 2.6, 5.0]
    made = draw(CriticalDifference(names, ranks, 1.0, 12))
    assert sum(isinstance(m, Lines) and m.style == "clique" for m in made.marks) == 2


def test_a_pair_is_drawn_on_both_sides_of_the_diagonal():
    told = [[0, 2, 1], [2, 0, 0], [1, 0, 0]]
    text = str(svg(draw(Apart(["a", "b", "c"], told))))
    count = {
        n: text.partition(f'<path class="told-{n}" d="')[2].partition('"')[0].count("M")
        for n in range(3)
    }
    assert count == {0: 2, 1: 2, 2: 2}


def test_a_label_is_cut_to_its_room_and_tells_hidden_letters():
    assert cut("a" * 500, 60) == "a" * 8 + "…"
    assert cut("a\u202eb", 600) == "a‹U+202E›b"


def test_a_text_is_escaped_within_svg():
    made = marks.Drawing(10, 10, '<b> "', [Text(0, 0, "<script>&", said="</title>")])
    told = str(svg(made))
    assert "<script>" not in told and "&lt;script&gt;&amp;" in told
    assert told.count("</title>") == 1 and 'aria-label="&lt;b&gt; &#34;"' in told


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [(0, 10, 5, [0, 2, 4, 6, 8, 10]), (-1, 1, 4, [-1, -0.5, 0, 0.5, 1])],
)
def test_ticks_are_round_numbers(low, high, most, expected):
    assert steps(low, high, most) == pytest.approx(expected)


@pytest.mark.parametrize(("values", "expected"), [([95], 90), ([55], 40), ([12], 0), ([], 0)])
def test_an_axis_of_percents_begins_at_a_round_number_below(values, expected):
    assert recall.floor(values) == expected
