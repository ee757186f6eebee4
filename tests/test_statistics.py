"""Intervals, verdicts and orders, held against scipy and against numbers worked by hand."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from ltbench.scoring.statistics import (
    LEVEL,
    Cost,
    Mean,
    adjusted,
    best_first,
    costs_of,
    detectable,
    interval,
    lacking,
    levels,
    means_of,
    medians,
    moments,
    p_values,
    pairs_of,
    rank_ranges,
    resolution,
    rounded,
    rounded_p,
    wanted,
)

NAN = np.nan


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def ranges(values, step=0.0):
    best, worst = rank_ranges(pairs_of(np.array(values, dtype=float), step))
    return list(zip(best.tolist(), worst.tolist(), strict=True))


def test_intervals_are_students():
    values = random(3, 5)
    mean, half = interval(values)
    for row, m, h in zip(values, mean, half, strict=True):
        low, high = stats.t.interval(0.95, 4, loc=row.mean(), scale=stats.sem(row))
        assert (m - h, m + h) == pytest.approx((low, high))


def test_missing_seeds_are_left_out():
    values = np.array([[1.0, 2.0, NAN, 4.0]])
    mean, half = interval(values)
    assert (mean[0], half[0]) == pytest.approx([m[0] for m in interval(np.array([[1.0, 2, 4]]))])


def test_one_seed_has_no_interval_and_none_no_mean():
    mean, half = interval(np.array([[1.0, NAN], [NAN, NAN]]))
    assert mean[0] == 1
    assert half[0] == np.inf
    assert np.isnan(mean[1])


@pytest.mark.parametrize("values", [np.full((1, 4), 0.3), 0.3 + np.array([[0, 1e-16, 2e-16, 0]])])
def test_equal_values_have_no_interval_but_the_one_of_a_known_step(values):
    assert interval(values)[1][0] == np.inf
    assert np.isnan(p_values(values)[0])
    # t with three degrees of freedom is 3.1824; the deviation is taken to be the step
    assert interval(values, step=0.002)[1][0] == pytest.approx(3.182446 * 0.002 / 2)


def test_a_spread_that_does_not_show_in_six_digits_is_none():
    values = 0.5 + np.array([[0.0, 0.0, 1.2e-6], [0.0, 0.0, 2e-6]])  # deviations 0.7e-6, 1.2e-6
    assert np.isinf(interval(values)[1]).tolist() == [True, False]


def test_one_seed_has_no_interval_though_a_step_is_known():
    assert interval(np.array([0.5, NAN]), step=0.002)[1] == np.inf


@pytest.mark.filterwarnings("error")
def test_rows_of_one_value_and_of_none_warn_of_nothing():
    values = np.array([[1.0, NAN], [NAN, NAN]])
    assert interval(values)[1].tolist() == [np.inf, np.inf]
    assert np.isnan(p_values(values)).all()


def test_moments_are_over_the_last_axis_whatever_stands_before():
    values = random(2, 3, 4)
    values[1, 2, 0] = NAN
    n, mean, spread = moments(values)
    assert n.tolist() == [[4, 4, 4], [4, 4, 3]]
    assert mean == pytest.approx(np.nanmean(values, axis=2))
    assert spread == pytest.approx(np.nanstd(values, axis=2, ddof=1))
    assert [float(one) for one in moments(values[0, 0])] == pytest.approx(
        [4, values[0, 0].mean(), values[0, 0].std(ddof=1)]
    )
    assert p_values(values).shape == (2, 3)


def test_numbers_have_six_digits_and_p_values_three_figures():
    assert [rounded(0.12345678), rounded(NAN), rounded(np.inf)] == [0.123457, None, None]
    assert [rounded_p(0.000123456), rounded_p(NAN)] == [0.000123, None]


def test_a_step_narrows_no_interval():
    values = random(3, 5)
    assert interval(values, step=0.01)[1] == pytest.approx(interval(values)[1])


def test_shared_rows_widen_an_interval_as_nadeau_and_bengio_say():
    values = random(2, 5)
    alone, widened = interval(values)[1], interval(values, shared=1.0)[1]
    assert widened == pytest.approx(alone * np.sqrt((1 / 5 + 1) / (1 / 5)))
    expected = 2 * stats.t.sf(np.abs(values.mean(1)) / (values.std(1, ddof=1) * 1.2**0.5), 4)
    assert p_values(values, shared=1.0) == pytest.approx(expected)


def test_p_values_are_those_of_a_paired_t_test():
    one, other = random(6, 5), random(6, 5, seed=1)
    assert p_values(one - other) == pytest.approx(stats.ttest_rel(one, other, axis=1).pvalue)


def test_two_seeds_tell_nothing_and_three_do():
    assert np.isnan(p_values(np.array([[0.9, 0.91, NAN]]))[0])
    assert p_values(np.array([[0.9, 0.91, 0.9]]))[0] < 0.001


def test_p_values_are_adjusted_for_those_that_are_there():
    # by hand: 0.01 * 4 / 1, 0.02 * 4 / 2 and 0.03 * 4 / 3 are 0.04 each
    p = np.array([0.5, 0.03, NAN, 0.01, 0.02])
    assert adjusted(p) == pytest.approx([0.5, 0.04, NAN, 0.04, 0.04], nan_ok=True)
    assert np.isnan(adjusted(np.array([NAN]))).all()


def test_every_two_rows_are_compared_over_the_seeds_that_both_have():
    values = random(6, 7)
    values[1, 0] = values[4, 2] = values[4, 3] = NAN
    pairs = pairs_of(values)
    told = zip(pairs.first, pairs.second, pairs.n, pairs.mean, pairs.spread, pairs.p, strict=True)
    expected = []
    for one, other in combinations(range(6), 2):
        gaps = (values[one] - values[other])[~np.isnan(values[one] - values[other])]
        p = stats.ttest_1samp(gaps, 0).pvalue
        expected.append((one, other, len(gaps), gaps.mean(), gaps.std(ddof=1), p))
    for seen, right in zip(told, expected, strict=True):
        assert seen == pytest.approx(right)
    assert pairs.adjusted == pytest.approx(stats.false_discovery_control([e[5] for e in expected]))


@pytest.mark.parametrize("seed", range(8))
def test_ranges_count_the_rows_that_are_told_apart_above_and_below(seed):
    chance = np.random.default_rng(seed)
    values = chance.normal(size=(7, 5)) + chance.permutation(7)[:, None] * 1.2  # in no order
    ps, signs = np.ones((7, 7)), np.zeros((7, 7))
    pairs = list(combinations(range(7), 2))
    raw = [stats.ttest_rel(values[one], values[other]) for one, other in pairs]
    for (one, other), test, p in zip(
        pairs, raw, stats.false_discovery_control([test.pvalue for test in raw]), strict=True
    ):
        ps[one, other] = ps[other, one] = p
        signs[one, other], signs[other, one] = test.statistic, -test.statistic
    above = [sum(ps[k, row] <= 0.05 and signs[k, row] > 0 for k in range(7)) for row in range(7)]
    below = [sum(ps[row, k] <= 0.05 and signs[row, k] > 0 for k in range(7)) for row in range(7)]
    assert 0 < sum(above) < 21  # else the case shows little
    assert ranges(values) == [(1 + a, 7 - b) for a, b in zip(above, below, strict=True)]


def test_ranks_are_shared_unless_the_paired_difference_says_otherwise():
    base = np.array([0.1, 0.5, 0.3, 0.9, 0.6])  # seeds differ more than rows do
    near = base + [0.001, -0.001, 0.002, -0.002, 0.0]
    far = base + 0.05 + [0.001, 0.0, 0.002, 0.0, -0.001]
    assert ranges([far, base, near]) == [(1, 1), (2, 3), (2, 3)]
    assert ranges([base, near, far]) == [(2, 3), (2, 3), (1, 1)]


def test_what_one_pair_shows_alone_may_not_hold_among_many():
    rows = [random(5, seed=s) for s in range(30)]
    rows[0] = rows[1] + np.array([0.9, 1.1, 0.6, 1.3, 1.0])
    assert ranges(rows[:2]) == [(1, 1), (2, 2)]
    pairs = pairs_of(np.array(rows))
    assert (pairs.p <= LEVEL).sum() > pairs.held.sum()
    assert (pairs.adjusted >= pairs.p).all()


def test_a_pair_may_be_told_apart_though_ranges_overlap():
    base = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    wide = base + [2.0, -1.0, 3.0, -2.0, 0.5]
    told = ranges([base + 0.1 + [0.001, 0.0, -0.001, 0.0, 0.0], base, wide])
    assert told == [(1, 2), (2, 3), (1, 3)]


def test_seeds_in_the_other_order_give_the_same_ranges():
    values = random(8, 5) + np.arange(8)[:, None]
    assert ranges(values[:, ::-1]) == ranges(values)
    assert ranges(values[::-1]) == ranges(values)[::-1]


def test_no_rank_is_told_from_two_seeds():
    assert ranges([[0.9, 0.91], [0.1, 0.12]]) == [(1, 2), (1, 2)]


def test_no_rank_is_told_from_differences_without_spread_unless_the_step_is_known():
    rows = [[0.5, 0.6, 0.7], [0.4, 0.5, 0.6]]
    assert ranges(rows) == [(1, 2), (1, 2)]
    assert ranges(rows, step=0.002) == [(1, 1), (2, 2)]
    assert ranges(rows, step=0.2) == [(1, 2), (1, 2)]


def test_equal_rows_share_their_ranks_at_any_step():
    pairs = pairs_of(np.array([[0.5, 0.6, 0.7]] * 2), 0.002)
    assert pairs.p.tolist() == [1.0]
    assert ranges([[0.5, 0.6, 0.7]] * 2, step=0.002) == [(1, 2), (1, 2)]


def test_what_is_just_at_the_level_holds():
    pairs = pairs_of(random(2, 5))
    assert replace(pairs, adjusted=np.array([0.05])).held.tolist() == [True]


def test_a_row_with_a_seed_less_is_still_ranked():
    values = [[NAN, 0.8, 0.81, 0.79], [0.4, 0.51, 0.6, 0.45], [0.1, 0.2, 0.3, 0.1]]
    assert ranges(values) == [(1, 1), (2, 2), (3, 3)]


def test_rows_without_values_come_last():
    values = [[NAN] * 3, [0.1, 0.2, 0.3], [0.4, 0.51, 0.6]]
    assert ranges(values) == [(3, 3), (2, 2), (1, 1)]


def test_one_row_has_the_first_rank():
    assert ranges([[0.1, 0.2, 0.3]]) == [(1, 1)]
    assert ranges([[NAN]]) == [(1, 1)]


def test_one_seed_tells_no_ranks_apart():
    assert ranges([[0.1], [0.9]]) == [(1, 2), (1, 2)]


def test_the_adjusted_p_to_one_row_is_that_of_its_pairs():
    values = random(4, 5)
    pairs = pairs_of(values)
    to = pairs.to(2)
    of = dict(zip(zip(pairs.first, pairs.second, strict=True), pairs.adjusted, strict=True))
    assert to == pytest.approx([of[0, 2], of[1, 2], NAN, of[2, 3]], nan_ok=True)
    assert np.isnan(pairs.to(None)).all()


@pytest.mark.parametrize(("n", "level", "shared"), [(3, 0.05, 0), (5, 0.002, 0), (5, 0.05, 1.0)])
def test_the_smallest_difference_is_seen_with_a_power_of_80_percent(n, level, shared):
    true = detectable(2.0, n, level, shared)
    noncentral = true / (2.0 * np.sqrt(1 / n + shared))
    bound = stats.t.isf(level / 2, n - 1)
    assert stats.nct.sf(bound, n - 1, noncentral) == pytest.approx(0.8, abs=1e-4)


def test_a_table_tells_what_it_can_tell():
    values = random(6, 5) + np.array([0, 0, 0, 4, 8, 8.1])[:, None]
    pairs = pairs_of(values)
    told = resolution(pairs.n, pairs.spread, pairs.adjusted)
    assert (told.n, told.pairs, told.told_apart) == (5, 15, int(pairs.held.sum()))
    assert told.spread == pytest.approx(np.median(pairs.spread), abs=1e-6)
    assert told.alone == pytest.approx(detectable(np.median(pairs.spread), 5), abs=1e-6)
    # a pair must reach the p of the last that holds: 5 % of as many in fifteen
    level = 0.05 * told.told_apart / 15
    expected = detectable(np.median(pairs.spread), 5, level)
    assert told.corrected == pytest.approx(expected, abs=1e-6)
    assert told.corrected > told.alone


def test_a_table_that_tells_nothing_asks_for_the_most_of_its_first_pair():
    values = random(6, 5)
    pairs = pairs_of(values)
    told = resolution(pairs.n, pairs.spread, pairs.adjusted)
    assert told.told_apart == 0
    expected = detectable(np.median(pairs.spread), 5, 0.05 / 15)
    assert told.corrected == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "n"), [(random(4, 2), 2), (random(1, 5), 0), (np.full((2, 3), NAN), 0)]
)
def test_too_few_seeds_or_rows_tell_nothing(values, n):
    pairs = pairs_of(values)
    told = resolution(pairs.n, pairs.spread, pairs.adjusted)
    assert (told.n, told.pairs, told.told_apart) == (n, 0, 0)
    assert (told.spread, told.alone, told.corrected) == (None, None, None)


def test_what_is_told_of_a_table_is_that_of_its_tested_pairs():
    n, spread = np.array([5, 5, 5, 3, 0, 2]), np.array([1.0, 2.0, 9.0, 3.0, NAN, NAN])
    told = resolution(n, spread, np.array([0.05, 0.051, 0.9, 0.01, NAN, NAN]))
    assert (told.n, told.pairs, told.told_apart, told.spread) == (5, 4, 2, 2.5)
    nothing = resolution(np.array([0, 0, 0, 1, 1, 2]), np.full(6, NAN), np.full(6, NAN))
    assert nothing.n == 1
    nothing = resolution(np.array([0, 1, 2, 2, 3, 9]), np.full(6, NAN), np.full(6, NAN))
    assert nothing.n == 2


T, F = True, False


@pytest.mark.parametrize(
    ("finished", "bad", "reference", "needed"),
    [
        # all have both
        ([[T, T], [T, T]], [[F, F], [F, F]], None, [[T, T], [T, T]]),
        # most have the first alone
        ([[T, T], [T, F], [T, F]], [[F, F]] * 3, None, [[T, F]] * 3),
        ([[T, T], [T, T], [T, F], [T, F], [T, F]], [[F, F]] * 5, None, [[T, F]] * 5),
        # half is not most; of two the reference decides
        ([[T, T], [T, F]], [[F, F]] * 2, None, [[T, F]] * 2),
        ([[T, T], [T, F]], [[F, F]] * 2, 0, [[T, T]] * 2),
        ([[T, T], [T, F]], [[F, F]] * 2, 1, [[T, F]] * 2),
        # who ended badly needs it, if another has it
        ([[T, F], [T, F], [T, T]], [[F, T], [F, F], [F, F]], None, [[T, T], [T, F], [T, F]]),
        ([[T, F], [T, F]], [[F, T], [F, T]], None, [[T, F], [T, F]]),
        # no seed is most rows': all of them count
        ([[T, F, F], [F, T, F], [F, F, T]], [[F] * 3] * 3, None, [[T, T, T]] * 3),
        # rows without any seed have no say
        ([[T, T], [F, F], [F, F]], [[F, F], [T, T], [F, F]], None, [[T, T]] * 3),
    ],
)
def test_a_row_needs_the_seeds_of_most_and_those_it_failed_on(finished, bad, reference, needed):
    assert wanted(np.array(finished), np.array(bad), reference).tolist() == needed


def test_rows_lack_the_seeds_that_most_have():
    assert lacking(np.array([[T, T, F], [T, F, F], [T, T, T]])).tolist() == [F, T, F]


def test_levels_are_means_where_all_rows_have_the_same_seeds():
    values = random(4, 5)
    values[:, 2] = NAN
    values[1] = NAN
    expected = np.nanmean(values[[0, 2, 3]], axis=1)
    told = levels(values)
    assert told[[0, 2, 3]].tolist() == expected.tolist()
    assert np.isnan(told[1])


def test_levels_tell_rows_from_the_seeds_they_have():
    rows, seeds = np.array([0.1, 0.3, 0.2, 0.7]), np.array([0.0, -0.4, 0.5, 0.2, 0.1])
    values = rows[:, None] + seeds
    values[0, :3] = values[1, 4] = values[3, [0, 1]] = NAN
    told = levels(values)
    assert told - told[0] == pytest.approx(rows - rows[0])
    assert told == pytest.approx(rows + seeds.mean())


def test_a_seed_that_no_row_has_changes_no_level():
    values = np.array([[0.1, 0.4, NAN], [NAN, 0.3, 0.7], [0.2, 0.3, 0.6]])
    assert levels(np.insert(values, 1, NAN, axis=1)).tolist() == levels(values).tolist()


def test_failing_on_hard_seeds_does_not_lift_a_row():
    plain = np.array([0.85, 0.75, 0.80, 0.90, 0.70])
    lucky = np.where([T, F, F, T, F], plain, NAN)
    better = plain + 0.01
    values = np.stack([lucky, plain, better])
    assert np.nanmean(lucky) > plain.mean() + 0.05
    assert levels(values)[0] == pytest.approx(levels(values)[1])
    assert best_first(values, lacking(~np.isnan(values))) == [2, 1, 0]


def test_rows_that_nothing_connects_have_an_order_all_the_same():
    values = np.array([[0.9, NAN], [NAN, 0.1], [NAN, NAN]])
    assert sorted(best_first(values, np.zeros(3, dtype=bool))) == [0, 1, 2]
    assert best_first(values, np.zeros(3, dtype=bool))[-1] == 2


def test_the_best_comes_first_then_what_is_short_then_what_has_no_value():
    values = np.array([[0.5] * 2, [0.9, NAN], [0.5] * 2, [NAN] * 2, [0.7] * 2])
    short = np.array([F, T, F, T, F])
    assert best_first(values, short) == [4, 0, 2, 1, 3]


def test_intervals_end_at_what_a_value_can_be():
    values = np.array([[0.9, 1.0], [0.1, 0.0], [0.5, 0.5]])
    told = means_of(values, (0.0, 1.0))
    # t with one degree of freedom is 12.706; the deviation over the root of two is 0.05
    assert told[0] == Mean(0.95, pytest.approx(0.95 - 12.7062 * 0.05, abs=1e-5), 1.0)
    assert told[1] == Mean(0.05, 0.0, pytest.approx(0.05 + 12.7062 * 0.05, abs=1e-5))
    assert told[2] == Mean(0.5, None, None)
    assert means_of(values)[0].high == pytest.approx(0.95 + 12.7062 * 0.05, abs=1e-5)


def test_medians_leave_out_what_is_missing():
    values = random(2, 7, 6)
    for row in range(7):  # of six seeds down to none
        values[:, row, 6 - row :] = NAN
    told = medians(values)
    for row in range(6):
        assert told[row] == pytest.approx(np.nanmedian(values[:, row], axis=1), abs=1e-6)
    assert told[6] == [None, None]


def test_costs_are_medians_with_the_range_of_the_ratio():
    numbers = np.array([[[1.0, 4.0, 2.0], [3.0, NAN, NAN], [NAN] * 3]] * 4)
    numbers[1] *= 5
    numbers[2] *= 10
    assert costs_of(numbers) == [
        Cost(2.0, 1.0, 4.0, 10.0, 20.0, 2.0),
        Cost(3.0, 3.0, 3.0, 15.0, 30.0, 3.0),
        Cost(None, None, None, None, None, None),
    ]
