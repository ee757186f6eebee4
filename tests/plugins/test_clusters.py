"""Clusters and discovery: every formula by numbers of released code or by hand, and slopes."""

import math

import numpy as np
import pytest
import torch
from oracles import oracle
from sklearn.mixture import GaussianMixture as Mixture

from ltbench import LTBenchError, recipe
from ltbench.tracks.clustering.scores import named, of_clusters
from ltbench_plugins.clustering.bacon import surest
from ltbench_plugins.clustering.estimates import estimated
from ltbench_plugins.clustering.gaussian_mixture import GaussianMixture
from ltbench_plugins.clustering.k_means import Nearest, lloyd
from ltbench_plugins.clustering.p2ot import transported
from ltbench_plugins.clustering.protogcd import hardened, nearness
from ltbench_plugins.clustering.simgcd import contrast, distilled, same_label, softly, unevenness
from ltbench_plugins.clustering.sp2ot import likeness, objective, times, together
from ltbench_plugins.clustering.spherical_k_means import begun, spherical

HALF = torch.tensor(0.5, dtype=torch.float64)


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def cost_of(found):
    return -double(found["inputs"]["logits"]).log_softmax(dim=-1)


def some_cost(*shape, seed=0, scale=2.0):
    chance = torch.Generator().manual_seed(seed)
    scores = scale * torch.randn(*shape, generator=chance, dtype=torch.float64)
    return -scores.log_softmax(dim=-1)


@pytest.mark.parametrize("name", ["p2ot_rho50", "uot_rho100"])
def test_plans_are_those_of_the_released_code(name):
    found = oracle(f"clustering_{name}")
    given = found["params"]
    plan, _ = transported(cost_of(found), given["rho"], given["gamma"], given["epsilon"])
    assert torch.allclose(plan, double(found["expected"]["plan"]), rtol=0, atol=1e-6)


def test_a_plan_that_goes_on_from_another_is_the_same():
    found = oracle("clustering_p2ot_stable")
    first, columns = transported(cost_of(found), 0.5, 1.0, 0.1)
    again, _ = transported(cost_of(found), 0.5, 1.0, 0.1, columns)
    assert torch.allclose(first, double(found["expected"]["plan_first_call"]), rtol=0, atol=1e-6)
    assert torch.allclose(again, double(found["expected"]["plan_second_call"]), rtol=0, atol=1e-6)


def test_a_balanced_plan_gives_the_labels_of_sela():
    found = oracle("clustering_sela")
    plan, _ = transported(cost_of(found), 1.0, math.inf, 1 / found["params"]["lamb"])
    assert plan.argmax(dim=1).tolist() == found["expected"]["labels"]
    assert torch.allclose(plan.sum(dim=0), torch.full((3,), 8 / 3).double(), atol=1e-6)
    # the code stops where columns are off by a tenth in all
    assert torch.allclose(plan / 8, double(found["expected"]["plan"]), rtol=0, atol=0.02)


def scaled_plainly(cost, share, gamma, epsilon, rounds):
    """The plan of plain scaling, with a slack column."""
    rows, classes = cost.shape
    kernel = torch.cat([(-cost / epsilon).exp(), torch.ones(rows, 1).double()], dim=1)
    wanted = double([share / classes] * classes + [1 - share])
    power = double([gamma / (gamma + epsilon)] * classes + [1.0])
    columns = torch.full((classes + 1,), 1 / (classes + 1)).double()
    for _ in range(rounds):
        lines = 1 / rows / (kernel @ columns)
        columns = (wanted / (kernel.T @ lines)) ** power
    return rows * (lines[:, None] * kernel * columns)[:, :-1]


@pytest.mark.parametrize(("share", "gamma"), [(0.3, 1.0), (0.9, 0.2), (0.5, 20.0)])
def test_newtons_steps_end_in_the_plan_of_scaling_alone(share, gamma):
    cost = some_cost(40, 5)
    plan, _ = transported(cost, share, gamma, 0.1)
    slowly = scaled_plainly(cost, share, gamma, 0.1, 20_000)
    assert torch.allclose(plan, slowly, rtol=0, atol=1e-6)


def test_plans_move_the_share_of_mass_they_are_told_to():
    cost = some_cost(3, 30, 6)
    for share in (0.1, 0.5, 0.99):
        plan, _ = transported(cost, share, 1.0, 0.1)
        assert torch.allclose(plan.sum(dim=(1, 2)), torch.full((3,), 30 * share).double())
        assert (plan.sum(dim=2) <= 1 + 1e-9).all() and (plan >= 0).all()


def test_what_gamma_does_at_its_ends():
    cost = some_cost(30, 6)
    even, _ = transported(cost, 0.5, math.inf, 0.1)
    assert torch.allclose(even.sum(dim=0), torch.full((6,), 30 * 0.5 / 6).double(), atol=1e-6)
    free, _ = transported(cost, 1.0, 1e-7, 0.1)
    assert torch.allclose(free, (-cost / 0.1).softmax(dim=1), atol=1e-4)


def test_names_of_clusters_permute_plans():
    cost, order = some_cost(30, 6), torch.tensor([3, 0, 5, 1, 4, 2])
    first, second = (transported(one, 0.4, 1.0, 0.1)[0] for one in (cost, cost[:, order]))
    assert torch.allclose(first[:, order], second, atol=1e-9)


def test_costs_that_no_exponential_holds_leave_numbers():
    cost = some_cost(20, 4, scale=5000.0)
    plan, _ = transported(cost, 0.5, 1.0, 0.1)
    assert plan.isfinite().all() and plan.sum() == pytest.approx(10, abs=1e-3)


def test_the_moved_share_rises_to_one():
    method = recipe("p2ot").methods[0]
    shares = method.moved(torch.linspace(0, 1, 5, dtype=torch.float64))
    by_hand = [0.1 + 0.9 * math.exp(-5 * (1 - t) ** 2) for t in (0, 0.25, 0.5, 0.75, 1)]
    assert shares.tolist() == pytest.approx(by_hand)
    assert [round(share, 3) for share in by_hand] == [0.106, 0.154, 0.358, 0.758, 1.0]
    for name in ("ot", "uot"):
        assert recipe(name).methods[0].moved(torch.tensor(0.2)) == 1


def test_tied_plans_are_those_of_the_released_code():
    found = oracle("clustering_sp2ot_lam1")
    near = double(found["inputs"]["S"])
    pull = found["params"]["lambda_used"] / len(near)
    start = torch.full((8, 3), 0.5 / 3).double()
    plan, _ = together(cost_of(found), near + near.T, pull, HALF, 1.0, 0.1, start)
    assert torch.allclose(plan, double(found["expected"]["plan"]), rtol=0, atol=1e-5)


def test_tied_plans_without_a_tie_are_those_of_p2ot():
    cost = some_cost(20, 4)
    tied, _ = together(cost, torch.zeros(20, 20).double(), 1.0, HALF, 1.0, 0.1, cost * 0)
    assert torch.allclose(tied, transported(cost, 0.5, 1.0, 0.1)[0], atol=1e-9)


def test_a_strong_tie_puts_two_rows_into_one_cluster():
    cost = -double([[0.95, 0.05], [0.4, 0.6], [0.05, 0.95], [0.6, 0.4]]).log()
    near = torch.zeros(4, 4).double()
    near[0, 1] = near[1, 0] = 1.0
    whole = torch.ones(()).double()
    start = torch.full((4, 2), 0.5).double()
    apart = transported(cost, 1.0, 1.0, 0.1)[0].argmax(dim=1)
    tied = together(cost, near, 1.0, whole, 1.0, 0.1, start)[0].argmax(dim=1)
    assert apart[0] != apart[1] and tied[0] == tied[1]


def test_the_objective_of_tied_plans_never_rises_where_likeness_bends_one_way():
    cost = some_cost(25, 4)
    near = likeness(torch.randn(25, 3, generator=torch.Generator().manual_seed(1)).double(), 5)
    near = near + near.T
    near = near - torch.linalg.eigvalsh(near)[0] * torch.eye(25)
    plan, gamma, told = torch.full((25, 4), 0.125).double(), 1.0, []
    for _ in range(8):
        tilted = cost - 0.3 * times(near, plan)
        plan, _ = transported(tilted, 0.5, gamma, 0.1)
        # what columns cost beyond equal sizes is part of what is minimised
        mass, even = plan.mean(dim=0), torch.tensor(0.5 / 4).double()
        apart = gamma * (torch.xlogy(mass, mass / even) - mass + even).sum()
        slack = 1 - plan.sum(dim=1)
        spread = 0.1 * torch.xlogy(slack, slack).sum() / 25
        told.append((objective(cost, near, 0.3, 0.1, plan) + apart + spread).item())
    assert all(later <= earlier + 1e-7 for earlier, later in zip(told, told[1:], strict=False))
    assert told[-1] < told[0] - 1e-4


def test_likeness_is_of_the_nearest_rows_alone():
    features = double([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [9.0, 9.0]])
    found = likeness(features, 1)
    assert (found > 0).sum(dim=1).tolist() == [1, 1, 1, 1]
    assert found[0, 1].item() == pytest.approx(math.exp(-1 / 16))
    assert found[2, 0].item() == pytest.approx(math.exp(-4 / 16)) and found[0, 2] == 0


def test_times_is_the_product_with_each_plan():
    chance = torch.Generator().manual_seed(0)
    near, plan = torch.rand(5, 5, generator=chance), torch.rand(2, 3, 5, 4, generator=chance)
    assert torch.allclose(times(near, plan), near @ plan)


def test_the_mean_prediction_costs_what_bacons_code_says():
    found = oracle("open_bacon_reg")
    cosines = double(found["inputs"]["cosine_logits"])
    shares = double(found["inputs"]["estimated_counts"])
    loss = unevenness(cosines, shares, found["params"]["p"])
    assert loss.item() == pytest.approx(found["expected"]["loss"], abs=1e-6)


def test_the_mean_prediction_costs_nothing_where_it_is_as_wanted():
    shares = double([0.5, 0.3, 0.2])
    wanted = shares**1.1 / (shares**1.1).sum()
    cosines = (0.1 * wanted.log()).expand(4, 3)
    assert unevenness(cosines, shares, 1.1).item() == pytest.approx(0, abs=1e-12)
    assert unevenness(cosines).item() == pytest.approx(
        math.log(3) + (wanted * wanted.log()).sum().item()
    )
    assert unevenness(torch.zeros(4, 3).double()).item() == pytest.approx(0, abs=1e-12)
    assert unevenness(cosines, torch.full((3,), 1 / 3).double()) == pytest.approx(
        unevenness(cosines).item()
    )


def test_distillation_is_that_of_protogcds_code():
    found = oracle("open_protogcd_distill")
    cosines = double(found["inputs"]["cosine_logits_two_views"]).view(2, 4, 5)
    for epoch in (0, 5, 15):
        share = torch.tensor(found["expected"]["ratio_schedule"][epoch])
        loss = distilled(cosines, hardened((cosines / 0.05).softmax(dim=-1), share))
        assert loss.item() == pytest.approx(found["expected"][f"loss_epoch{epoch}"], abs=1e-5)


def test_hard_labels_at_both_ends():
    soft = some_cost(2, 6, 4).neg().exp()
    assert torch.equal(hardened(soft, torch.tensor(0.0)), soft)
    hard = hardened(soft, torch.tensor(1.0))
    assert torch.equal(hard.argmax(dim=-1), soft.argmax(dim=-1)) and set(
        hard.unique().tolist()
    ) == {0.0, 1.0}


def test_prototypes_at_right_angles_are_not_near():
    assert nearness(torch.eye(4).double()).item() == pytest.approx(0)
    assert nearness(torch.ones(3, 2).double()).item() == pytest.approx(10)


def test_contrast_is_that_of_the_released_code():
    found = oracle("open_supcon")
    first, second = double(found["inputs"]["features"]).unbind(dim=1)
    labels = torch.tensor(found["inputs"]["labels"])
    loss = same_label(first, second, labels, found["params"]["temperature"])
    assert loss.item() == pytest.approx(found["expected"]["loss"], abs=1e-5)
    free = contrast(first, second, found["params"]["temperature"])
    assert free.item() == pytest.approx(found["expected"]["loss_no_labels"], abs=1e-5)
    one_hot = torch.nn.functional.one_hot(labels).double()
    soft = softly(first, second, one_hot @ one_hot.T, found["params"]["temperature"])
    assert soft.item() == pytest.approx(loss.item())


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: unevenness(x, double([0.6, 0.3, 0.1]), 1.1),
        lambda x: distilled(x, double([[[0.2, 0.3, 0.5]]]).expand_as(x)),
        lambda x: contrast(*torch.nn.functional.normalize(x, dim=-1), 0.5),
        lambda x: same_label(*x, torch.tensor([0, 0, 1, 0]), 0.5),
        lambda x: nearness(x[0]),
    ],
)
def test_slopes_are_those_of_differences(loss):
    given = 0.3 * some_cost(2, 4, 3)
    assert torch.autograd.gradcheck(loss, given.requires_grad_())


def test_the_slope_of_a_plan_as_label_is_that_of_soft_labels():
    scores = (-some_cost(8, 3)).requires_grad_()
    plan, _ = transported(-scores.detach().log_softmax(dim=1), 0.5, 1.0, 0.1)
    (-(plan * scores.log_softmax(dim=1)).sum(dim=1).mean()).backward()
    by_hand = (plan.sum(dim=1, keepdim=True) * scores.softmax(dim=1) - plan) / 8
    assert torch.allclose(scores.grad, by_hand)


def test_estimated_sizes_by_hand():
    # outputs 0 and 1 are known, with 1 and 2 labelled rows; 2 and 3 are new
    clusters = torch.tensor([3, 3, 3, 3, 0, 0, 1, 1, 1, 2])
    labels = torch.tensor([1, 1, -1, -1, 0, -1, -1, -1, -1, -1])
    counts = torch.tensor([1.0, 2.0, 0.0, 0.0])
    predicted = torch.tensor([2, 2, 2, 3, 0, 0, 0, 0, 0, 0])
    found = estimated(clusters, labels, counts, predicted)
    assert found.tolist() == pytest.approx([0.2, 0.4, 0.3, 0.1])


def test_the_surest_rows_of_each_predicted_class_stay():
    soft = double([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4], [0.4, 0.6], [0.1, 0.9]])
    shares = double([0.8, 0.2])
    assert surest(soft, shares, 0.5).tolist() == [True, True, False, False, True, True]
    assert surest(soft, shares, 0.0).all()


def clouds(seed=0):
    chance = torch.Generator().manual_seed(seed)
    labels = torch.tensor([0] * 40 + [1] * 20 + [2] * 10)
    centres = 4 * torch.eye(3, 5).double()
    return centres[labels] + 0.3 * torch.randn(70, 5, generator=chance).double(), labels


def told_apart(clusters, labels):
    pairs = set(zip(clusters.tolist(), labels.tolist(), strict=True))
    return len(pairs) == 3


def test_classical_methods_find_clouds_apart():
    features, labels = clouds()
    assert told_apart(Nearest(lloyd(features, 3, 5, 0))(features).argmax(dim=1), labels)
    unit = spherical(features, 3, 5, torch.Generator().manual_seed(0))
    assert torch.allclose(unit.norm(dim=1), torch.ones(3).double())
    assert told_apart((features @ unit.T).argmax(dim=1), labels)
    head = GaussianMixture(components=3).fitted(features, 3, 0)
    assert told_apart(head(features).argmax(dim=1), labels)


def test_spherical_centres_are_a_fixed_point():
    features, _ = clouds(1)
    unit = torch.nn.functional.normalize(features)
    centres = spherical(features, 3, 4, torch.Generator().manual_seed(2))
    nearest = (unit @ centres.T).argmax(dim=1)
    for c in range(3):
        mean = unit[nearest == c].mean(dim=0)
        assert torch.allclose(centres[c], mean / mean.norm())


def test_starts_are_rows_and_differ():
    unit = torch.nn.functional.normalize(clouds(2)[0])
    found = begun(unit, 3, 4, torch.Generator().manual_seed(0))
    assert found.shape == (4, 3, 5)
    assert all((unit - centre).norm(dim=1).min() < 1e-12 for centre in found.view(-1, 5))


def test_a_mixtures_scores_are_its_weighted_densities():
    features, _ = clouds(3)
    head = GaussianMixture(components=5, starts=1).fitted(features, 3, 0)
    own = Mixture(3, n_init=1, reg_covar=1e-3, random_state=0)
    x = ((features - head.mean) @ head.axes.T).numpy()
    own.fit(x)
    expected = own._estimate_weighted_log_prob(x) + 5 / 2 * np.log(2 * np.pi)
    assert np.allclose(head(features).numpy(), expected)


@pytest.mark.parametrize("name", ["k-means", "spherical-k-means", "gaussian-mixture"])
def test_more_clusters_than_rows_are_refused_in_a_line(name):
    from types import SimpleNamespace

    run = SimpleNamespace(
        granted=SimpleNamespace(pool=torch.zeros(3, 2)),
        features=lambda inputs: inputs,
        num_classes=5,
        seed=0,
        rng=torch.Generator(),
    )
    with pytest.raises(LTBenchError) as refusal:
        recipe(name).methods[0].finish(torch.nn.Module(), None, run)
    assert str(refusal.value) == (f"{name} cannot make 5 clusters of 3 rows; it needs as many rows")


def test_marks_are_those_of_the_released_code():
    found = oracle("clustering_metrics")
    labels, clusters = (np.array(found["inputs"][n]) for n in ("labels", "clusters"))
    told, expected = of_clusters(labels, clusters, np.zeros(4, dtype=bool)), found["expected"]
    close = {"nmi": "NMI", "ari": "ARI", "matched_balanced_accuracy": "mACC", "matched_f1": "F1"}
    for mine, theirs in close.items():
        assert 100 * told[mine] == pytest.approx(expected[theirs], abs=found["tolerance"])
    assert named(labels, clusters, 4).tolist() == [c for _, c in expected["hungarian_match"]]
