import numpy as np
import pytest
from scipy import stats

from ltbench.scoring.statistics import interval, rank_ranges


def test_intervals_are_students():
    values = np.random.default_rng(0).normal(size=(3, 5))
    mean, half = interval(values)
    for row, m, h in zip(values, mean, half, strict=True):
        low, high = stats.t.interval(0.95, 4, loc=row.mean(), scale=stats.sem(row))
        assert (m - h, m + h) == pytest.approx((low, high))


def test_missing_seeds_are_left_out():
    values = np.array([[1.0, 2.0, np.nan, 4.0]])
    mean, half = interval(values)
    assert (mean[0], half[0]) == pytest.approx([m[0] for m in interval(np.array([[1.0, 2, 4]]))])


def test_one_seed_has_no_interval_and_none_no_mean():
    mean, half = interval(np.array([[1.0, np.nan], [np.nan, np.nan]]))
    assert mean[0] == 1
    assert half[0] == np.inf
    assert np.isnan(mean[1])


def test_equal_values_have_an_interval_of_no_width():
    assert interval(np.full((1, 4), 0.3))[1][0] == pytest.approx(0, abs=1e-15)


def test_ranks_are_shared_unless_the_paired_difference_says_otherwise():
    base = np.array([0.1, 0.5, 0.3, 0.9, 0.6])  # seeds differ more than rows do
    values = np.stack([base + 0.05, base, base + [0.001, -0.001, 0.002, -0.002, 0.0]])
    best, worst = rank_ranges(values)
    assert best.tolist() == [1, 2, 2]
    assert worst.tolist() == [1, 3, 3]


def test_a_row_counts_as_above_when_a_paired_t_test_says_so():
    values = np.random.default_rng(1).normal(size=(6, 5)) + np.arange(6)[:, None] * 0.7
    best, _ = rank_ranges(values)
    for row in range(6):
        above = sum(
            stats.ttest_rel(values[other], values[row], alternative="greater").pvalue < 0.025
            for other in range(6)
            if other != row
        )
        assert best[row] == 1 + above


def test_rows_without_values_come_last():
    values = np.array([[np.nan] * 3, [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    best, worst = rank_ranges(values)
    assert best.tolist() == [3, 2, 1]
    assert worst.tolist() == [3, 2, 1]


def test_one_seed_tells_no_ranks_apart():
    best, worst = rank_ranges(np.array([[0.1], [0.9]]))
    assert (best.tolist(), worst.tolist()) == ([1, 1], [2, 2])
