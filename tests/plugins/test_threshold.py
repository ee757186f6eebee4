import math
from types import SimpleNamespace

import pytest
import torch

from ltbench import Grants, LTBenchError, Rows, recipe
from ltbench.testing.probes import probe_run

# log odds of the rare class of twelve held-out rows; the three that are truly rare are marked
ODDS = [-6.0, -5.0, -4.5, -4.0, -3.5, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.5]
RARE = [7, 9, 11]


def held_out(rare=1):
    """Scores [12, 2] and labels in which class `rare` is the rare one."""
    odds = torch.tensor(ODDS, dtype=torch.float64)
    scores = torch.stack([torch.zeros(12, dtype=torch.float64), odds], dim=1)
    labels = torch.zeros(12, dtype=torch.int64)
    labels[RARE] = 1
    return (scores, labels) if rare == 1 else (scores.flip(1), 1 - labels)


def finished(text, counts, cross_fitted=None, validation=None):
    threshold = recipe(text)
    run = probe_run(threshold, counts, torch.float64)
    run.granted = Grants(cross_fitted=cross_fitted)
    run.model = threshold.finish(SimpleNamespace(), validation, run)
    return threshold, run


@pytest.mark.parametrize("rare", [0, 1])
def test_the_rarer_class_gets_the_threshold_of_the_best_f1(rare):
    # F1 by the rows called rare: 1: 1/2; 3: 4/6... 5 of them hold all three rare: 2*3/(5+3) = 0.75
    counts = (900, 300) if rare == 1 else (300, 900)
    threshold, run = finished("threshold", counts, lambda: held_out(rare))
    scores, labels = held_out(rare)
    decided = threshold.decide(scores, run)
    assert (decided == rare).tolist() == [odds > -2.25 for odds in ODDS]
    offset = run.model.threshold_offsets
    assert offset[rare] == pytest.approx(2.25)  # halfway between -2.5 and -2
    assert offset[1 - rare] == 0


def test_scores_stay_as_they_are():
    threshold, run = finished("threshold", (900, 300), held_out)
    scores, _ = held_out()
    assert torch.equal(threshold.scores(scores, run), scores)


def test_the_metric_is_chosen_by_name():
    # G-mean: the least of the rare ones at -2 lets two of nine common rows through: sqrt(7/9)
    threshold, run = finished("threshold(metric='g_mean')", (900, 300), held_out)
    decided = threshold.decide(held_out()[0], run)
    recalls = [
        float((decided == held_out()[1])[held_out()[1] == c].double().mean()) for c in (0, 1)
    ]
    assert math.sqrt(recalls[0] * recalls[1]) == pytest.approx(math.sqrt(7 / 9))
    with pytest.raises(LTBenchError, match="threshold: metric='f3' is refused"):
        recipe("threshold(metric='f3')")


def test_each_of_many_classes_gets_an_offset():
    # class 2 always loses by 0.5 to class 0, which all its rows are taken for
    scores = torch.tensor([[2.0, 0, 1.5], [2.0, 0, 1.5], [2.0, 0, 0], [0, 2.0, 0]]).double()
    threshold, run = finished(
        "threshold", (50, 30, 20), lambda: (scores, torch.tensor([2, 2, 0, 1]))
    )
    assert threshold.decide(scores, run).tolist() == [2, 2, 0, 1]


def test_validation_rows_serve_where_nothing_is_cross_fitted():
    scores, labels = held_out()
    threshold = recipe("threshold")
    run = probe_run(threshold, (900, 300), torch.float64)
    run.model = torch.nn.Module()
    run.model.features = lambda x: x
    run.model.head = torch.nn.Identity()
    run.model = threshold.finish(run.model, Rows(scores, labels), run)
    assert threshold.decide(scores, run).sum() == 5


def test_without_held_out_rows_the_largest_score_decides_and_that_is_said():
    threshold, run = finished("threshold", (900, 300))
    scores, _ = held_out()
    assert torch.equal(threshold.decide(scores, run), scores.argmax(dim=1))
    assert run.notes == ["no held-out rows, so the largest score decides"]
