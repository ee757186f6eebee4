"""Methods of several labels a row: formulas by hand, and numbers of released code."""

import math

import pytest
import torch
from oracles import oracle
from sklearn.metrics import average_precision_score
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from ltbench import LTBenchError, recipe
from ltbench.contract.context import Batch, Output, Phase, Run
from ltbench.tracks.multilabel.contract import LabelGrants, LabelRecipe
from ltbench.tracks.multilabel.scores import average_precisions, ranks_of, scored
from ltbench.training.engine import objective
from ltbench_plugins.multilabel.asl import ASL
from ltbench_plugins.multilabel.class_aware_sampling import ClassAwareSampling
from ltbench_plugins.multilabel.class_embeddings import ClassEmbeddings
from ltbench_plugins.multilabel.comic import (
    MultiFocal,
    PriorFocal,
    Recalled,
    attention,
    corrected,
    tail_weights,
)
from ltbench_plugins.multilabel.correlated_hybrid import (
    CorrelatedHybrid,
    contrasted,
    pulled_apart,
)
from ltbench_plugins.multilabel.distribution_balanced import DistributionBalanced
from ltbench_plugins.multilabel.label_class_balanced import LabelClassBalanced
from ltbench_plugins.multilabel.label_focal import LabelFocal
from ltbench_plugins.multilabel.log_odds import LogOdds
from ltbench_plugins.multilabel.positive_weights import PositiveWeight


def double(values):
    return torch.tensor(values, dtype=torch.float64)


SCORES = double([[2.0, -1.0, 0.5], [-0.3, 0.8, -2.0], [1.5, 0.2, 3.0], [0.1, -0.4, -1.2]])
LABELS = double([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0]])
COUNTS = (80, 20, 5)
ROWS = 100


def at(counts=COUNTS, rows=ROWS, together=None, progress=1.0, epochs=4):
    counts = double(counts)
    together = torch.diag(counts) if together is None else double(together)
    return Run(
        counts=counts,
        seen=counts / counts.sum(),
        progress=double(progress),
        phase=Phase("main", epochs, lr=0.1, weight_decay=0.0),
        granted=LabelGrants(rows=rows, together=together),
    )


def loss_of(method, scores, labels, run):
    """The mean over rows of what a recipe minimises, and its slope in the scores."""
    scores = scores.clone().requires_grad_()
    batch = Batch(scores.detach(), [(labels, 1.0)], torch.arange(len(labels)))
    loss = objective(LabelRecipe(method), Output((scores,), scores), batch, run)
    loss.backward()
    return loss.detach(), scores.grad


def of_oracle(told):
    given = told["inputs"]
    counts, rows = given["class_counts"], int(given.get("rows", 240))
    run = at(counts, rows, given.get("co_occurrence"))
    return double(given["logits"]), double(given["labels"]), run


def close(found, expected, tolerance):
    torch.testing.assert_close(found, double(expected), rtol=0, atol=tolerance)


# Numbers of released code.


@pytest.mark.parametrize("detached", [True, False])
def test_asl_is_its_code(detached):
    told = oracle("multilabel_asl_default")
    scores, labels = double(told["inputs"]["logits"]), double(told["inputs"]["labels"])
    params = told["params"]
    method = ASL(params["gamma_neg"], params["gamma_pos"], params["clip"], detached)
    loss, slope = loss_of(method, scores, labels, at((8, 4, 2, 1)))
    expected = told["expected"][f"AsymmetricLoss(disable_grad={detached})"]
    assert loss.item() * labels.numel() == pytest.approx(expected["loss"], abs=told["tolerance"])
    close(slope * labels.numel(), expected["gradient"], 2e-6)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("voc", {}),
        ("coco", {"mu": 0.2, "negative_scale": 2.0}),
        ("rebalance_only", {"negative_scale": 1.0, "kappa": 0.0, "gamma": 0.0}),
    ],
)
def test_distribution_balanced_is_its_code(name, given):
    told = oracle(f"multilabel_db_{name}")
    expected, tolerance = told["expected"], told["tolerance"]
    scores, labels, run = of_oracle(told)
    before = scores.clone()
    method = DistributionBalanced(**given)
    close(method.rebalanced(labels, run.counts), expected["weights"], tolerance)
    if expected["elementwise"] is not None:
        close(method.label_losses(scores, labels, run), expected["elementwise"], tolerance)
    loss, slope = loss_of(method, scores, labels, run)
    assert loss.item() == pytest.approx(expected["mean"], abs=tolerance)
    close(slope, expected["gradient"], tolerance)
    assert torch.equal(scores, before)  # as those of the code's caller are not


def test_a_row_without_labels_has_the_weight_of_the_code():
    told = oracle("multilabel_db_no_positive")
    found = DistributionBalanced().rebalanced(
        double(told["inputs"]["labels"]), double(told["inputs"]["class_counts"])
    )
    close(found, told["expected"]["weights"], told["tolerance"])


@pytest.mark.parametrize(("name", "mode"), [("by_class", "class"), ("average_n", "mean-count")])
def test_class_balanced_is_that_of_the_code_but_for_its_scale(name, mode):
    told = oracle(f"multilabel_db_cb_{name}")
    scores, labels, run = of_oracle(told)
    method = LabelClassBalanced(told["params"]["CB_loss"]["CB_beta"], mode)
    scale = 1 - method.beta
    close(scale * method.label_weight(labels, run), told["expected"]["weights"], 2e-5)
    loss, slope = loss_of(method, scores, labels, run)
    assert scale * loss.item() == pytest.approx(told["expected"]["mean"], abs=told["tolerance"])
    close(scale * slope, told["expected"]["gradient"], told["tolerance"])


def test_prior_focal_is_its_code():
    told = oracle("multilabel_comic_pfm")
    expected = told["expected"]
    scores, labels, run = of_oracle(told)
    close(tail_weights(run.counts, 1 / 3), expected["class_weight"], 1e-6)
    close(attention(labels, run.granted.together), expected["attention"], 1e-6)
    loss, slope = loss_of(PriorFocal(), scores, labels, run)
    assert loss.item() * labels.numel() == pytest.approx(expected["loss"], abs=told["tolerance"])
    close(slope * labels.numel(), expected["gradient"], told["tolerance"])


def test_average_precision_is_that_of_the_code_and_of_scikit_learn():
    told = oracle("multilabel_metrics")
    labels = double(told["inputs"]["labels"]).bool().numpy()
    scores = double(told["inputs"]["scores"]).numpy()
    found = average_precisions(labels, ranks_of(scores))
    close(torch.from_numpy(found), told["expected"]["ap"], 1e-6)


# Measures, by hand and against scikit-learn.


def test_average_precision_with_ties_is_that_of_scikit_learn():
    chance = torch.Generator().manual_seed(0)
    labels = (torch.rand(200, 5, generator=chance) < 0.3).numpy()
    scores = torch.randint(0, 12, (200, 5), generator=chance).double().numpy()
    expected = average_precision_score(labels, scores, average=None)
    torch.testing.assert_close(
        torch.from_numpy(average_precisions(labels, ranks_of(scores))), torch.from_numpy(expected)
    )


def test_measures_by_hand():
    labels = LABELS.bool().numpy()
    scores, counts = SCORES.numpy(), [120, 20, 5]
    found = scored(labels, ranks_of(scores), scores > 0, counts, (20, 100))
    first = (1 + 2 / 4) / 2  # ranks 2, 1.5, .1, -.3: positives come first and last
    assert found["many"] == pytest.approx(first)
    assert found["medium"] == found["few"] == 1
    assert found["map"] == pytest.approx((first + 2) / 3)
    f1 = [2 * 1 / (3 + 2), 1, 2 * 1 / (2 + 1)]
    assert found["macro_f1"] == pytest.approx(sum(f1) / 3)
    assert found["micro_f1"] == pytest.approx(2 * 4 / (7 + 5))
    assert found["few_recall"] == 1


def test_a_label_without_positive_test_rows_is_left_out():
    labels = LABELS.bool().numpy()[:, [0, 1, 0]] & [True, True, False]
    scores = SCORES.numpy()
    found = scored(labels, ranks_of(scores), scores > 0, COUNTS, (20, 100))
    less = scored(labels[:, :2], ranks_of(scores[:, :2]), scores[:, :2] > 0, COUNTS[:2], (20, 100))
    assert found["few"] is None and found["few_recall"] is None
    assert all(found[name] == less[name] for name in ("map", "macro_f1", "micro_f1"))
    nothing = scored(labels & False, ranks_of(scores), scores > 0, COUNTS, (20, 100))
    assert set(nothing.values()) == {None}


# Formulas by hand.


def test_plain_training_is_the_mean_binary_cross_entropy():
    loss, slope = loss_of(recipe("erm").methods[0], SCORES, LABELS, at())
    torch.testing.assert_close(loss, bce(SCORES, LABELS))
    torch.testing.assert_close(slope, (SCORES.sigmoid() - LABELS) / SCORES.numel())


def test_positive_weights_by_hand():
    loss, slope = loss_of(PositiveWeight(cap=4.0), SCORES, LABELS, at())
    weight = double([0.25, 4, 4])  # of 20/80, 80/20 and 95/5, the last capped
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        SCORES, LABELS, pos_weight=weight
    )
    torch.testing.assert_close(loss, expected)
    by_hand = -weight[0] * (1 - SCORES[0, 0].sigmoid()) / 12
    torch.testing.assert_close(slope[0, 0], by_hand)
    half = PositiveWeight(power=0.5).label_weight(LABELS, at())
    torch.testing.assert_close(half[0], double([0.5, 1, 1]))


def test_log_odds_by_hand():
    found = LogOdds(tau=2.0).adjust(SCORES, LABELS, at())
    shift = double([math.log(4), math.log(1 / 4), math.log(1 / 19)])
    torch.testing.assert_close(found, SCORES + 2 * shift)
    everywhere = LogOdds().adjust(SCORES, LABELS, at((100, 20, 5)))
    torch.testing.assert_close(everywhere[:, 0], SCORES[:, 0] + math.log(100))
    loss, _ = loss_of(LogOdds(), SCORES, LABELS, at())
    torch.testing.assert_close(loss, bce(SCORES + shift, LABELS))


def test_label_focal_by_hand():
    loss, _ = loss_of(LabelFocal(gamma=2.0), SCORES, LABELS, at())
    given = SCORES.sigmoid()
    likely = torch.where(LABELS > 0, given, 1 - given)
    torch.testing.assert_close(loss, (-((1 - likely) ** 2) * likely.log()).mean())


def test_class_balanced_modes_by_hand():
    run, beta = at(), 0.9
    own = double([1 / (1 - beta**n) for n in COUNTS])
    labels = double([[0, 1, 1], [0, 0, 0]])

    def weights(mode):
        return LabelClassBalanced(beta, mode).label_weight(labels, run).flatten().tolist()

    every = 1 / (1 - beta**ROWS)
    assert weights("class") == pytest.approx(own.tolist())
    assert weights("mean-count") == pytest.approx([1 / (1 - beta**12.5), every])
    assert weights("mean-weight") == pytest.approx([(own[1] + own[2]).item() / 2, every])
    assert weights("least-count") == pytest.approx([own[2].item(), every])


def test_class_aware_sampling_draws_labels_alike():
    """A label, any as likely, then one of its rows: by counting it out."""
    labels = double([[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 0, 0]])
    weights = ClassAwareSampling().sampling_weights(labels, at((4, 1, 1), 4))
    by_hand = [sum(row[c] / labels[:, c].sum() / 3 for c in range(3)).item() for row in labels]
    torch.testing.assert_close(weights / weights.sum(), double(by_hand))


def test_asl_without_margin_is_focal_or_plain():
    plain, _ = loss_of(ASL(0.0, 0.0, 0.0), SCORES, LABELS, at())
    torch.testing.assert_close(plain, bce(SCORES, LABELS))
    focused = loss_of(ASL(2.0, 2.0, 0.0, detached=False), SCORES, LABELS, at())
    torch.testing.assert_close(focused, loss_of(LabelFocal(2.0), SCORES, LABELS, at()))


def test_asl_forgets_absent_labels_below_its_margin():
    scores, labels = double([[-4.0, -4.0]]), double([[0, 1]])
    loss, slope = loss_of(ASL(), scores, labels, at((5, 5)))
    assert slope[0, 0] == 0
    torch.testing.assert_close(loss, -scores[0, 1].sigmoid().log() / 2)


def test_distribution_balanced_at_neutral_parameters_is_plain():
    idle = DistributionBalanced(
        alpha=0.5, beta=0.0, mu=0.3, negative_scale=1.0, kappa=0.0, gamma=0.0
    )
    found, plain = (loss_of(m, SCORES, LABELS, at()) for m in (idle, recipe("erm").methods[0]))
    torch.testing.assert_close(found, plain)


def test_rebalanced_weights_of_one_label_a_row_are_ratios_of_counts():
    labels = double([[0, 1, 0]])
    method = DistributionBalanced(alpha=0.0)
    ratio = double([[20 / 80, 1, 20 / 5]])
    expected = (10 * (ratio - 0.3)).sigmoid()
    torch.testing.assert_close(method.rebalanced(labels, double(COUNTS)), expected)
    twice = method.rebalanced(labels, 2 * double(COUNTS))
    torch.testing.assert_close(twice, expected)


def test_multi_focal_of_equal_counts_is_asymmetric_loss():
    found = loss_of(MultiFocal(), SCORES, LABELS, at((30, 30, 30)))
    torch.testing.assert_close(found, loss_of(ASL(5.0, 0.0, 0.05), SCORES, LABELS, at()))
    weights = tail_weights(double([math.e, 1.0]), 1 / 6)
    torch.testing.assert_close(weights, double([1, 2 ** (1 / 6)]))


def test_prior_focal_without_company_and_trust_is_an_asymmetric_loss_for_a_row_of_one_label():
    """Of a row whose one label stands alone, its own share is 1: p (1 - 1) = 0."""
    alone = attention(double([[0, 1, 0], [0, 0, 0]]), torch.diag(double(COUNTS)))
    torch.testing.assert_close(alone, double([[0, 1, 0], [0, 0, 0]]))
    labels = LABELS[3:]  # without any
    loss, _ = loss_of(PriorFocal(), SCORES[3:], labels, at((30, 30, 30)))
    same, _ = loss_of(ASL(4.0, 0.0, 0.05), SCORES[3:], labels, at())
    torch.testing.assert_close(loss, same)


def test_labels_are_recalled_that_stand_out():
    lowered = double([[2.0, 3.0, -1.0], [-2.0, 3.0, 0.5], [-2.0, 3.0, -1.0]])
    labels = double([[0, 0, 1], [0, 0, 0], [1, 0, 0]])
    run = at()

    def told(threshold=0.7, progress=1.0):
        return corrected(lowered, labels, threshold, double(progress), run.phase)

    expected = labels.clone()
    expected[0, 0] = 1  # .88, where the batch has .37; those of label 1 are the mean itself
    assert torch.equal(told(), expected)
    assert torch.equal(told(threshold=1.0), labels)
    assert torch.equal(told(progress=0.2), labels) and torch.equal(told(progress=0.25), expected)
    assert (told() >= labels).all()


def test_the_loss_of_recalled_labels_by_hand():
    run = at((30, 30, 30), progress=0.0)
    loss, _ = loss_of(Recalled(weight=0.2), SCORES, LABELS, run)
    plain = bce(SCORES, LABELS)
    own, _ = loss_of(ASL(4.0, 0.0, 0.05), SCORES - LABELS, LABELS, at())
    torch.testing.assert_close(loss, plain + 0.2 * own * 4 / 5)  # five labels in four rows


def test_class_embeddings_by_hand():
    found = ClassEmbeddings(margin=1.0, power=0.5).hinge(
        double([[0.2, 0.9]]), double([[1, 0]]), double([16, 1])
    )
    weight = double([0.25, 1]) / 0.625
    torch.testing.assert_close(found, weight * double([[0.2, 0.1]]))
    frequent = ClassEmbeddings().hinge(double([[0.4, 0.9]]), double([[0, 1]]), double([16, 1]))
    torch.testing.assert_close(frequent[0, 0], double(0.1) * 0.25 / 0.625)  # its margin is .5


def test_probabilities_of_labels_that_occur_together_are_drawn_together():
    together = double([[16, 4, 0], [4, 4, 0], [0, 0, 9]])
    given = double([[0.9, 0.5, 0.1]])
    weight = 4 / math.sqrt(16 * 4)  # both ways
    expected = 2 * weight * 0.4**2 / (2 * weight)
    torch.testing.assert_close(pulled_apart(given, together), double(expected))
    every = double([[16, 4, 3], [4, 4, 1], [3, 1, 9]])
    chance = torch.rand(6, 3, generator=torch.Generator().manual_seed(0)).double()
    n = every.diagonal()
    w = (every / (n[:, None] * n).sqrt()).fill_diagonal_(0)
    by_hand = (w * (chance[:, :, None] - chance[:, None]) ** 2).sum(dim=(1, 2)).mean() / w.sum()
    torch.testing.assert_close(pulled_apart(chance, every), by_hand)
    assert pulled_apart(given, torch.diag(double(COUNTS))) == 0


def test_rows_are_contrasted_by_the_labels_that_they_share():
    features = double([[1, 0], [0, 1], [1, 1]])
    labels = double([[1, 1, 0], [1, 0, 0], [0, 0, 1]])
    near = math.sqrt(0.5) / 0.5
    shares = [math.log(1 + math.exp(near)), math.log(math.exp(near) + 1)]  # cosines 0 and .71
    assert contrasted(features, labels, 0.5).item() == pytest.approx(sum(shares) / 3)
    again = contrasted(3 * features, labels, 0.5)
    torch.testing.assert_close(again, contrasted(features, labels, 0.5))


def test_weights_of_the_hybrid_loss_are_in_the_mean_one():
    weight = CorrelatedHybrid(power=1.0).label_weight(LABELS, at())
    torch.testing.assert_close(weight, 3 * double([1, 4, 16]) / 21)


def test_parameters_out_of_range_are_refused():
    for text in ("pos-weight(cap=0.0)", "label-class-balanced(mode='all')", "rlc(threshold=2.0)"):
        with pytest.raises(LTBenchError, match=text.split("(")[0]):
            recipe(text)
