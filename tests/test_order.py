import numpy as np
import pytest
from scipy.stats import spearmanr

from ltbench.boards.order import order_of

MEANS = {"a": 0.5, "b": 0.6, "c": 0.55, "d": 0.7, "e": 0.4, "f": 0.6}
TOLD = {"a": [50.0], "b": [61.0, 63.0], "c": [62.0], "d": [60.0], "e": [41.0], "g": [99.0]}


def test_the_correlation_is_spearmans_over_the_methods_that_have_both():
    found = order_of("p", MEANS, TOLD)
    assert found.methods == 5
    expected = spearmanr([0.5, 0.6, 0.55, 0.7, 0.4], [50, 62, 62, 60, 41]).statistic
    assert found.correlation == pytest.approx(expected, abs=5e-4)
    assert -1 <= found.low < found.correlation <= found.high <= 1


def test_an_order_that_agrees_or_is_turned_round_is_told_so():
    told = {name: [100 * mean] for name, mean in MEANS.items()}
    assert order_of("p", MEANS, told).correlation == 1
    turned = {name: [-100 * mean] for name, mean in MEANS.items()}
    assert order_of("p", MEANS, turned).correlation == -1


def test_the_interval_holds_a_correlation_of_chance_about_as_often_as_it_says():
    chance = np.random.default_rng(3)
    held = 0
    for _ in range(40):
        means = dict(enumerate(chance.normal(size=20)))
        told = {name: [value] for name, value in enumerate(chance.normal(size=20))}
        found = order_of("p", means, told)
        held += found.low <= 0 <= found.high
    assert 33 <= held <= 40


@pytest.mark.parametrize(
    ("means", "told"),
    [
        ({}, {}),
        ({"a": 1.0, "b": 2.0}, {"a": [1.0], "b": [2.0]}),
        (dict.fromkeys(MEANS, 0.5), {name: [mean] for name, mean in MEANS.items()}),
    ],
)
def test_of_too_few_or_equal_methods_nothing_is_told(means, told):
    assert order_of("p", means, told) is None
