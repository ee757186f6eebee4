"""Numbers as targets: formulas by the numbers of released code, by hand, and their slopes."""

import math

import numpy as np
import pytest
import torch
from oracles import oracle
from scipy.ndimage import gaussian_filter1d
from torch import nn
from torch.autograd import gradcheck

from ltbench import LTBenchError, Rows
from ltbench.contract.context import Batch, Output, Phase, Run
from ltbench.tracks.regression.contract import Regression, ValueGrants
from ltbench.tracks.regression.learning import Valued
from ltbench.tracks.regression.scores import scored
from ltbench_plugins.regression import fds as smoothing
from ltbench_plugins.regression.balanced_mse import BalancedMSE, bmc, marginal, mixture
from ltbench_plugins.regression.conr import ConR, contrast
from ltbench_plugins.regression.errors import MSE, Huber
from ltbench_plugins.regression.fds import FDS, Smoothed
from ltbench_plugins.regression.focal_r import FocalR
from ltbench_plugins.regression.lds import LDS, kernel, reflected, smoothed
from ltbench_plugins.regression.ranksim import BlackboxRanks, one_of_each, rank_gap, shares_of_rank
from ltbench_plugins.regression.rrt import RRT
from ltbench_plugins.regression.smoter import SMOGN, SMOTER, by_bins, by_relevance, relevance
from ltbench_plugins.regression.srl import SRL, enveloping, homogeneity, mended


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def run_of(counts, values=None, mean=0.0, deviation=1.0, progress=0.5, epochs=4):
    """A run with bins one wide, of which the first begins at 0."""
    counts = double(counts)
    started = Run(
        counts=counts,
        seen=counts.clamp(min=1) / counts.clamp(min=1).sum(),
        progress=torch.tensor(progress),
        phase=Phase("main", epochs, lr=0.1, weight_decay=0.0),
        granted=ValueGrants(
            edges=torch.arange(len(counts) + 1).double(), mean=mean, deviation=deviation
        ),
    )
    if values is not None:
        started.train = Rows(torch.zeros(len(values), 2, dtype=torch.float64), values)
    return started


def close(found, expected, within=1e-12):
    torch.testing.assert_close(found, expected, rtol=0, atol=within)


def test_errors_are_those_of_the_released_code():
    told = oracle("regression_losses")
    said, values = double(told["inputs"]["pred"]), double(told["inputs"]["target"]).flatten()
    beta, expected = told["params"]["beta_focal"], told["expected"]
    methods = {
        "l1": Regression(),
        "mse": MSE(),
        "huber": Huber(told["params"]["beta_huber"]),
        "focal_l1": FocalR(beta),
        "focal_mse": FocalR(beta, power=2),
        "focal_l1_tanh": FocalR(beta, activation="tanh"),
    }
    for name, method in methods.items():
        loss = method.criterion(said, values, run_of([1])).mean()
        assert loss.item() == pytest.approx(expected[name], abs=told["tolerance"])


@pytest.mark.parametrize(
    "method", [MSE(), Huber(0.7), FocalR(1.5), FocalR(1.5, 2.0, 2), FocalR(2.0, activation="tanh")]
)
def test_slopes_of_errors_are_those_of_their_formulas(method):
    said, values = double([[0.3], [-2.0], [1.4]]).requires_grad_(), double([1.0, -0.5, 1.1])
    assert gradcheck(lambda told: method.criterion(told, values, run_of([1])), said)


def test_focal_r_without_gamma_is_the_absolute_error():
    said, values = double([[0.3], [-2.0]]), double([1.0, -0.5])
    found = FocalR(gamma=0.0).criterion(said, values, run_of([1]))
    assert torch.equal(found, Regression().criterion(said, values, run_of([1])))


@pytest.mark.parametrize(
    ("case", "given"),
    [
        ("gaussian_5_2", ("gaussian", 5, 2)),
        ("gaussian_9_1", ("gaussian", 9, 1)),
        ("triang_5_2", ("triangular", 5, 2)),
        ("laplace_5_2", ("laplace", 5, 2)),
    ],
)
def test_kernels_are_those_of_the_released_code(case, given):
    told = oracle("regression_lds_kernels")
    close(kernel(*given), double(told["expected"]["windows"][case]), told["tolerance"])


def test_a_signal_is_reflected_as_scipy_does():
    signal = torch.rand(6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for sigma in (0.5, 1, 2, 3):
        close(reflected(signal, sigma), torch.from_numpy(gaussian_filter1d(signal.numpy(), sigma)))


def weights_of(method, counts):
    run = run_of(counts)
    method.prepare(run)
    return method.weights


def test_lds_smooths_the_roots_of_counts_and_weighs_by_their_inverse():
    counts = [100, 25, 4, 1]
    found = weights_of(LDS(size=3, kernel="triangular"), counts)
    smooth = [10 + 2.5, 5 + 0.5 * (10 + 2), 2 + 0.5 * (5 + 1), 1 + 1.0]
    inverse = [1 / one for one in smooth]
    mean = sum(n * one for n, one in zip(counts, inverse, strict=True)) / sum(counts)
    close(found, double([one / mean for one in inverse]))


def test_lds_counts_clipped_in_the_inverse_form():
    found = weights_of(LDS(size=1, form="inverse"), [4000, 100, 2])
    expected = double([1 / 1000, 1 / 100, 1 / 5])
    close(found / found[0], expected / expected[0])


def test_lds_with_a_kernel_of_one_bin_has_plain_weights_and_a_mean_of_one():
    counts = double([90, 40, 10, 3])
    found = weights_of(LDS(size=1), counts.tolist())
    close(found / found[0], (counts / counts[0]) ** -0.5)
    close((counts * found).sum() / counts.sum(), torch.ones((), dtype=torch.float64))


def test_lds_weighs_alike_in_the_interior_of_equal_counts_and_more_at_the_ends():
    found = weights_of(LDS(), [9] * 9)
    assert found[2:7].unique().numel() == 1 and found[0] > found[1] > found[2]


def test_lds_gives_numbers_where_bins_have_no_rows():
    found = weights_of(LDS(size=3), [50, 10, 0, 0, 0, 0, 2])
    assert torch.isfinite(found[[0, 1, 6]]).all() and torch.isfinite(found).all()


def test_smoothing_has_nothing_beyond_both_ends():
    close(smoothed(double([1, 2, 3]), double([0.5, 1, 0.5])), double([2, 4, 4]))


@pytest.mark.parametrize("make", [lambda: LDS(size=4), lambda: FDS(size=0)])
def test_kernels_of_an_even_size_are_refused(make):
    with pytest.raises(LTBenchError, match="odd number of bins"):
        make()


def statistics_by_hand(features, bins, number):
    means, variances = np.zeros((2, number, features.shape[1]))
    for b in set(bins.tolist()):
        rows = features[bins == b].numpy()
        means[b] = rows.mean(axis=0)
        if len(rows) > 1:
            variances[b] = rows.var(axis=0, ddof=1)
    return double(means), double(variances)


def test_fds_takes_means_and_unbiased_variances_of_bins():
    chance = torch.Generator().manual_seed(1)
    features = torch.randn(9, 3, dtype=torch.float64, generator=chance)
    bins = torch.tensor([0, 0, 0, 1, 3, 3, 3, 3, 0])
    rows, means, variances = smoothing.statistics(features, bins, 4)
    assert rows.tolist() == [4, 1, 0, 4]
    expected = statistics_by_hand(features, bins, 4)
    close(means, expected[0])
    close(variances, expected[1])


def test_fds_smooths_with_mirrors_through_the_last_bin():
    values = double([[1.0], [2.0], [4.0], [8.0]])
    window = double([0.25, 0.5, 0.25])
    every = torch.ones(4, dtype=torch.float64)
    found = smoothing.shared(values, every, window)
    close(found, double([[1.5], [2.25], [4.5], [6.0]]))  # 2 1 2, 1 2 4, 2 4 8, 4 8 4


def test_fds_leaves_bins_without_rows_out_of_smoothing():
    values, there = double([[1.0], [50.0], [4.0]]), double([1, 0, 1])
    found = smoothing.shared(values, there, double([0.25, 0.5, 0.25]))
    close(found[[0, 2]], double([[1.0], [4.0]]))
    close(found[1], double([2.5]))


def test_fds_whitens_by_the_bin_and_colours_by_its_neighbours():
    head = Smoothed(nn.Linear(2, 1).double(), 2, torch.ones(1).double()).double()
    head.means.copy_(double([[1.0, 2.0], [0.0, 0.0]]))
    head.variances.copy_(double([[4.0, 1.0], [1.0, 0.0]]))
    head.smooth_means.copy_(double([[3.0, 5.0], [7.0, 7.0]]))
    head.smooth_variances.copy_(double([[1.0, 400.0], [1.0, 1.0]]))
    found = head.moved(double([[2.0, 3.0], [0.5, 0.5]]), torch.tensor([0, 1]))
    ratio = math.sqrt(10)  # clipped from 400
    close(found, double([[(2 - 1) * 0.5 + 3, (3 - 2) * ratio + 5], [0.5 + 7, 0.5]]))


def test_fds_keeps_statistics_by_an_exponential_mean_and_smooths_those_very_ones():
    head = Smoothed(nn.Linear(1, 1).double(), 2, torch.ones(1).double()).double()
    bins = torch.tensor([0, 0, 1, 1])
    for scale, expected in ((1.0, [1.0, 5.0]), (3.0, [0.9 + 0.3, 0.9 * 5 + 0.1 * 15])):
        head.update(scale * double([[0.0], [2.0], [4.0], [6.0]]), bins, 0.9)
        close(head.means[:, 0], double(expected))
        close(head.smooth_means, head.means)


def test_fds_with_a_kernel_of_one_bin_is_the_identity_and_uses_no_value_to_predict():
    head = Smoothed(nn.Linear(3, 1).double(), 3, kernel("gaussian", 1, 2)).double()
    features = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    bins = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    head.update(features, bins, 0.9)
    head.bins = bins
    close(head.moved(features, bins), features)
    head.smooth_means += 1
    assert not torch.allclose(head(features), head.plain(features))
    assert torch.equal(head.eval()(features), head.plain(features))


def test_fds_refuses_rows_that_are_mixed():
    run, values = run_of([2, 2]), double([0.5, 1.5])
    mixed = Batch(torch.zeros(2, 2), [(values, 0.5), (values.flip(0), 0.5)], torch.arange(2))
    with pytest.raises(LTBenchError, match="fds needs the value of each row"):
        FDS().extra(Output((), mixed.inputs), mixed, run)


def test_bmc_is_that_of_the_released_code_of_several_dimensions():
    told = oracle("regression_bmc_md")
    said, values = (double(told["inputs"][name]) for name in ("pred", "target"))
    found = bmc(said, values, math.sqrt(told["params"]["noise_var"])).mean()
    assert found.item() == pytest.approx(told["expected"]["loss"], abs=told["tolerance"])


def test_bmc_by_hand_and_in_its_limits():
    said, values, sigma = double([0.2, 1.1, -0.4]), double([0.0, 1.0, -1.0]), 0.6
    near = torch.exp(-((said[:, None] - values) ** 2) / (2 * sigma**2))
    by_hand = -2 * sigma**2 * (near.diagonal() / near.sum(dim=1)).log()
    close(bmc(said, values, sigma), by_hand)
    close(bmc(said[:, None], values[:, None], sigma), by_hand)
    assert bmc(said[:1], values[:1], sigma).item() == 0
    wide = 1e4
    limit = (said - values) ** 2 - ((said[:, None] - values) ** 2).mean(dim=1)
    close(bmc(said, values, wide) - 2 * wide**2 * math.log(3), limit, 1e-5)


def gaussian(gap, variance):
    return torch.exp(-(gap**2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)


def test_gai_by_hand_and_with_one_wide_component_is_the_squared_error():
    said, values, sigma = double([0.2, 1.1]), double([0.0, 1.0]), 0.5
    means, variances, shares = double([-1.0, 1.0]), double([0.3, 0.1]), double([0.4, 0.6])
    mixed = zip(means.tolist(), variances.tolist(), shares.tolist(), strict=True)
    density = sum(w * gaussian(said - m, v + sigma**2) for m, v, w in mixed)
    own = gaussian(said - values, sigma**2)
    found = marginal(said, values, sigma, means, variances, shares)
    close(found, -2 * sigma**2 * (own / density).log())
    wide = marginal(said, values, sigma, double([0.0]), double([1e9]), double([1.0]))
    close(wide - wide[0], (said - values) ** 2 - (said - values)[0] ** 2, 1e-8)


def test_bni_has_the_filled_bins_in_the_place_of_components():
    method, run = BalancedMSE("bni", 0.5), run_of([3, 0, 1])
    method.prepare(run)
    said, values = double([[0.7], [2.2]]), double([0.5, 2.5])
    gaps = (said - double([0.5, 2.5])) ** 2 / (2 * 0.25)
    others = torch.logsumexp(-gaps + double([0.75, 0.25]).log(), dim=1)
    expected = 0.5 * ((said[:, 0] - values) ** 2 / 0.5 + others)
    close(method.criterion(said, values, run), expected)


@pytest.mark.parametrize("form", ["bmc", "gai", "bni"])
def test_slopes_of_balanced_mse(form):
    values = torch.linspace(0.1, 2.9, 12).double()
    method, run = BalancedMSE(form, 0.4, components=2), run_of([4, 4, 4], values)
    method.enter(run.train, run)
    method.prepare(run)
    said = (values[:5, None] + 0.3).requires_grad_()
    assert gradcheck(lambda told: method.criterion(told, values[:5], run), said)


def test_a_mixture_is_of_no_more_components_than_values():
    found = mixture(double([0.0, 1.0, 5.0, 5.0]), 8, 0)
    assert all(len(one) == 3 for one in found)
    assert found[2].sum().item() == pytest.approx(1)


def test_ranks_are_shares_and_the_first_of_equals_ranks_first():
    found = shares_of_rank(double([[0.1, 0.9, 0.5], [0.2, 0.2, 0.7], [1.0, 1.0, 1.0]]))
    close(found * 3, double([[3, 1, 2], [2, 3, 1], [1, 2, 3]]))


def test_ranksim_by_hand():
    features = double([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    # cosines: 1 .8 0; .8 1 .6; 0 .6 1. Ranks: 1 2 3; 2 1 3; 3 2 1
    same = rank_gap(features, double([0.0, 1.0, 3.0]), 2.0)
    assert same.item() == 0  # nearness of values ranks alike: 1 2 3; 2 1 3; 3 2 1
    other = rank_gap(features, double([0.0, 5.0, 1.0]), 2.0)
    # nearness: 0 -5 -1: 1 3 2; -5 0 -4: 3 1 2; -1 -4 0: 2 3 1
    assert other.item() == pytest.approx((2 + 2 + 2) / 9 / 3)
    assert torch.equal(rank_gap(7 * features, double([0.0, 5.0, 1.0]), 2.0), other)


def test_the_slope_of_ranks_is_that_between_two_of_them():
    scores = double([[0.1, 0.9, 0.5]]).requires_grad_()
    slope = double([[0.0, -0.3, 0.1]])
    BlackboxRanks.apply(scores, 2.0).backward(slope)
    moved = double([[0.1, 0.3, 0.7]])  # scores + 2 slope; ranks 3 2 1 of 3, where they were 3 1 2
    close(shares_of_rank(moved) * 3, double([[3, 2, 1]]))
    close(scores.grad, -(double([[3, 1, 2]]) - double([[3, 2, 1]])) / 3 / 2)


def test_one_row_of_each_bin_that_a_batch_has_is_drawn():
    bins, run = torch.tensor([2, 2, 0, 2, 0, 3]), run_of([1] * 5)
    seen = set()
    for _ in range(30):
        found = one_of_each(bins, run)
        assert bins[found].tolist() == [0, 2, 3]
        seen.update(found.tolist())
    assert seen == set(range(6))


CONR = {"agedb_t007": 0.07, "imdb_t02": 0.2}


@pytest.mark.parametrize("case", CONR)
def test_conr_as_published_is_the_released_code_with_its_slope(case):
    told = oracle("regression_conr")
    given, params, expected = told["inputs"], told["params"], told["expected"][case]
    features = double(given["features"]).requires_grad_()
    values, said, weights = (double(given[n]).flatten() for n in ("labels", "preds", "weights"))
    shape = params["w"], CONR[case], params["e"]
    loss = contrast(features, values, said, weights, *shape, published=True)
    loss.backward()
    assert loss.item() == pytest.approx(expected["loss"], abs=told["tolerance"])
    close(features.grad, double(expected["gradient"]), told["tolerance"])


def test_conr_by_hand():
    features = double([[1.0, 0.0], [0.6, 0.8], [0.0, 2.0]])
    values, said, weights = double([0.0, 0.05, 2.0]), double([0.5, 5.0, 0.45]), double([2.0, 1, 1])
    # row 0: positive 1, negative 2. row 1: positive 0, no negative. row 2: no positive
    near, far = math.exp(0.6 / 0.5), 2.0 * math.exp(0.01 * 2.0) * math.exp(0.0)
    by_hand = 2.0 * math.log((near + far) / near) / 3
    found = contrast(features, values, said, weights, 0.1, 0.5, 0.01)
    assert found.item() == pytest.approx(by_hand)


def test_conr_has_slopes_and_no_nan_where_a_row_has_no_positive():
    chance = torch.Generator().manual_seed(3)
    features = torch.randn(6, 3, dtype=torch.float64, generator=chance).requires_grad_()
    values, said = double([0, 0.05, 1, 2, 2.02, 7]), double([0, 2, 0.02, 2, 0.0, 0.01])
    weights = torch.ones(6, dtype=torch.float64)
    assert gradcheck(lambda x: contrast(x, values, said, weights, 0.1, 0.2, 0.01), features)


def test_conr_pushes_by_the_weights_of_the_recipe():
    chance = torch.Generator().manual_seed(4)
    features = torch.randn(8, 3, dtype=torch.float64, generator=chance)
    values = double([0.5, 0.55, 0.5, 0.52, 1.5, 1.55, 2.5, 2.52])
    output = Output((torch.zeros(8, 1, dtype=torch.float64),), features)
    batch = Batch(features, [(values, 1.0)], torch.arange(8))
    losses = []
    for methods in ([ConR(1.0)], [ConR(1.0), LDS(size=1)]):
        run = run_of([4, 2, 2], values)
        run.recipe = Valued(*methods)
        run.recipe.prepare(run)
        losses.append(run.recipe.extra(output, batch, run).item())
    weights = weights_of(LDS(size=1), [4, 2, 2])[[0] * 4 + [1] * 2 + [2] * 2]
    said = torch.zeros(8, dtype=torch.float64)
    expected = contrast(features, values, said, weights, 0.1, 0.2, 0.01).item()
    assert losses[1] == pytest.approx(expected) and losses[0] != losses[1]


def test_terms_of_srl_are_those_of_the_released_code():
    told = oracle("regression_srl_terms")
    centroids, points = (double(told["inputs"][name]) for name in ("centroids", "points"))
    close(enveloping(centroids, points).item(), told["expected"]["enveloping"], 1e-6)
    cosines = (centroids[1:] * centroids[:-1]).sum(dim=1)
    found = homogeneity(centroids, torch.arange(6).double())
    # the code of ages has - sum of cosines + a tenth of their variance, another file the other sign
    for name, sign in (("homogeneity", -1), ("homogeneity_imdb", 1)):
        published = told["expected"][name] - 0.1 * cosines.var().item()
        assert sign * (10 - found.item()) / 2 == pytest.approx(published, abs=1e-6)


def test_srl_envelops_points_on_centroids_and_is_smooth_where_all_coincide():
    axes = torch.eye(3, dtype=torch.float64)
    assert enveloping(axes, axes).item() == 0
    assert enveloping(axes[:1], -axes[:1]).item() == 2
    assert homogeneity(axes[[0, 0, 0]], torch.arange(3).double()).item() == 0
    assert homogeneity(axes[:2], double([0, 4])).item() == 0.5


def test_bins_that_a_batch_lacks_stand_as_they_were_and_have_no_slope():
    kept = torch.eye(3, dtype=torch.float64).requires_grad_()
    unit = double([[0.6, 0.8, 0.0], [0.0, 1.0, 0.0]]).requires_grad_()
    found = mended(kept.detach(), unit, torch.tensor([2, 2]))
    close(found[:2], torch.eye(3, dtype=torch.float64)[:2])
    close(found[2], nn.functional.normalize(double([0.6, 1.8, 0.0]), dim=0))
    found[:2].sum().backward()
    assert unit.grad.abs().max().item() == 0


def test_srl_without_weights_leaves_the_network_alone():
    model = nn.Module()
    assert SRL(0.0, 0.0, 0.0).build(model, run_of([1, 1])) is model
    assert not list(model.modules())[1:]


def test_relevance_is_cubic_from_the_median_to_a_whisker():
    values = double([*range(1, 12), 40])  # quartiles 3.75, 6.5, 9.25: whiskers at 1 and 11
    found = relevance(values)
    assert found[:6].tolist() == [0] * 6  # no value lies beyond the lower whisker
    share = (double([7, 8, 9, 10, 11]) - 6.5) / 4.5
    close(found[6:11], share**2 * (3 - 2 * share))
    assert found[11].item() == 1


def test_bumps_come_to_the_same_number_of_rows():
    values = double([*torch.linspace(0, 10, 60).tolist(), 30, 31, 32, 33])
    parts, sizes = by_relevance(values)
    # the normal values, then those rare beyond the median and the whisker alike
    assert sizes == [round(64 / len(parts))] * len(parts) and len(parts) == 2
    assert torch.equal(torch.cat([one for one, _ in parts]).sort().values, torch.arange(64))
    assert {60, 61, 62, 63} <= set(parts[-1][0].tolist())


def test_rows_without_a_rare_value_are_refused_by_the_source_s_rule():
    with pytest.raises(LTBenchError, match="no value lies beyond a whisker"):
        by_relevance(torch.linspace(0, 1, 50).double())


def table(values, seed=0):
    chance = torch.Generator().manual_seed(seed)
    return torch.stack([values, torch.randn(len(values), generator=chance).to(values)], dim=1)


@pytest.mark.parametrize("method", [SMOTER(), SMOTER(rule="relevance")])
def test_new_rows_lie_between_two_with_the_value_that_nearness_gives(method):
    values = double([*torch.linspace(0.01, 0.99, 30).tolist(), 1.5, 1.6, 1.8, 2.5, 2.9])
    rows = Rows(2 * values[:, None] + double([[0.0, 5.0]]), values)
    found = method.resample(rows, run_of([30, 3, 2], values))
    close(found.inputs[:, 0], 2 * found.labels)  # where inputs are straight in values, so are these
    new = [value for value in found.labels.tolist() if value not in values.tolist()]
    assert new and min(new) >= 0.01 and max(new) <= 2.9


def test_bins_below_the_mean_grow_to_it_and_none_is_cut():
    values = double([0.5] * 30 + [1.5, 1.6, 1.7] + [3.5] * 3)
    run = run_of([30, 3, 0, 3], values)
    found = SMOTER().resample(Rows(table(values), values), run)
    assert len(found) == 30 + 12 + 12
    assert (run.granted.bins(found.labels) == 3).sum() == 12  # whose neighbours are empty
    assert torch.isin(values, found.labels).all()
    parts, sizes = by_bins(run.granted.bins(values), run.exact_counts)
    assert sizes == [30, 12, 12]
    assert parts[1][1].tolist() == list(range(33))  # bins beside it have neighbours


def test_a_part_of_one_row_repeats_it():
    values = double([0.5] * 9 + [3.5])
    found = SMOTER().resample(Rows(table(values), values), run_of([9, 0, 0, 1], values))
    assert (found.labels == 3.5).sum() == 5
    assert found.inputs[found.labels == 3.5].unique(dim=0).shape[0] == 1


def test_smogn_repeats_a_row_with_noise_where_its_neighbour_is_far():
    near = torch.linspace(0.1, 0.9, 40).double()
    values = torch.cat([near, double([2.1, 2.2, 2.9])])
    inputs = torch.cat([table(near), double([[0, 0], [100, 0], [0, 100]])])
    run = run_of([40, 0, 3], values)
    found = SMOGN(noise=0.0).resample(Rows(inputs, values), run)
    grown = found.inputs[found.labels > 1]
    assert len(grown) == 22 and grown.unique(dim=0).shape[0] == 3  # noise of nothing: repeated


def test_rows_of_bytes_are_refused():
    values = double([0.5, 1.5])
    with pytest.raises(LTBenchError, match="smoter makes rows of numbers"):
        SMOTER().resample(Rows(torch.zeros(2, 3, dtype=torch.uint8), values), run_of([1, 1]))


def test_rrt_trains_the_head_anew_weighed_by_the_root_of_counts():
    run = run_of([16, 4, 1])
    first, second = RRT(0.5).phases([run.phase], run)
    assert first == run.phase
    assert (second.role, second.learn, second.reset) == ("head", "head", "head")
    assert second.frozen_bn
    assert second.epochs == 2 and second.lr == first.lr
    method = RRT()
    method.prepare(run)
    weights = method.weight(double([0.5, 1.5, 2.5]), run)
    close(weights / weights[0], double([1, 2, 4]))


def test_measures_by_shots_are_those_of_the_released_code():
    told = oracle("regression_shot_metrics")
    given, expected = told["inputs"], told["expected"]
    values = np.array(given["test_labels"])
    counts = given["train_labels_counts"]
    found = scored(values, np.array(given["pred"]), values.astype(int), counts, (20, 100))
    for ours, theirs in (("many", "many"), ("medium", "median"), ("few", "low")):
        group = expected["by_group"][theirs]
        assert found[ours] == pytest.approx(group["l1"], abs=told["tolerance"])
        assert found[f"{ours}_geometric"] == pytest.approx(group["gmean"], abs=told["tolerance"])
    gmean = expected["overall_gmean"]
    assert found["geometric_mean"] == pytest.approx(gmean, abs=told["tolerance"])


def test_measures_by_hand():
    values, said = np.array([0.5, 0.5, 1.5, 2.5]), np.array([1.5, 0.5, 3.5, 2.0])
    found = scored(values, said, np.array([0, 0, 1, 2]), [200, 50, 0], (20, 100))
    assert found["balanced_mae"] == pytest.approx((0.5 + 2 + 0.5) / 3)
    assert found["mae"] == pytest.approx(3.5 / 4)
    assert found["mse"] == pytest.approx((1 + 4 + 0.25) / 4)
    assert found["worst_bin"] == 2
    assert (found["many"], found["medium"], found["few"]) == (0.5, 2, 0.5)
    assert found["geometric_mean"] == pytest.approx((1 * 1e-9 * 2 * 0.5) ** 0.25)
    only = scored(values[:2], said[:2], np.array([0, 0]), [200, 50, 0], (20, 100))
    assert only["medium"] is None and only["few_geometric"] is None
