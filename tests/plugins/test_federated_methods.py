"""The formulas of methods of federated learning, by hand and by numbers of released code."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import oracle
from torch import nn

from ltbench import Batch, LTBenchError, Output, Rows, recipe
from ltbench.testing import probe_loss
from ltbench.testing.probes import probe_run
from ltbench.tracks.federated.contract import FederatedGrants, Update, averaged
from ltbench.tracks.federated.division import divided, drawn, equal
from ltbench.tracks.federated.problem import Federation
from ltbench_plugins.federated import bristle, creff, fedloge
from ltbench_plugins.federated.fedetf import FedETF, FrameHead
from ltbench_plugins.federated.fedgela import EncodedFrame, FedGELA, lengths
from ltbench_plugins.federated.priors import Shifted
from ltbench_plugins.federated.robust_aggregation import Krum, Median, TrimmedMean

DOUBLE = torch.float64


def float64(values):
    return torch.tensor(values, dtype=DOUBLE)


def of(*states, rows=None, reported=None):
    """What clients sent, each one tensor, or several by name."""
    named = [one if isinstance(one, dict) else {"w": float64(one)} for one in states]
    rows, reported = rows or [10] * len(named), reported or [{}] * len(named)
    sent = enumerate(zip(named, rows, reported, strict=True))
    return [Update(k, state, number, told) for k, (state, number, told) in sent]


def run_of(counts, **granted):
    """A run of a client with some rows of each class, and what the track grants it."""
    run = probe_run(recipe("erm"), counts, DOUBLE)
    run.granted = FederatedGrants(**granted)
    return run


class Features(nn.Module):
    """A network whose features are its inputs, with a linear head."""

    def __init__(self, weight, bias=None):
        super().__init__()
        weight = float64(weight)
        self.head = nn.Linear(*reversed(weight.shape)).double()
        self.head.weight.data = weight.clone()
        self.head.bias.data = float64(bias or [0.0] * len(weight))

    def features(self, x):
        return x


# FedProx.


def test_the_pull_is_half_mu_times_the_squared_gap_and_its_gradient_mu_times_the_gap():
    run = run_of([3, 1], received={"head.weight": float64([[1.0, 0.0], [0.0, 1.0]])})
    run.model = Features([[1.5, 0.0], [0.0, -1.0]])
    batch = Batch(torch.zeros(0, 2), [], torch.zeros(0, dtype=torch.long))
    pull = recipe("fedprox(mu=0.5)").extra(Output((), torch.zeros(0, 2)), batch, run)
    assert pull.item() == pytest.approx(0.25 * (0.25 + 4))
    pull.backward()
    expected = 0.5 * float64([[0.5, 0.0], [0.0, -2.0]])
    torch.testing.assert_close(run.model.head.weight.grad, expected)
    assert run.model.head.bias.grad is None  # it was not received


# FedETF.


def test_its_loss_is_balanced_softmax_where_a_class_without_rows_counts_one():
    scores, labels = float64([[1.0, 0.0, 2.0], [0.5, 0.5, 0.0]]), torch.tensor([0, 1])
    shifted = scores + float64([6.0, 3.0, 1.0]).log()
    expected = F.cross_entropy(shifted, labels)
    torch.testing.assert_close(probe_loss(FedETF(), scores, labels, (6, 3, 0)), expected)


def test_its_loss_is_that_of_the_released_code():
    told = oracle("fedetf_balanced_softmax")["inputs"]
    expected = oracle("fedetf_balanced_softmax")["expected"]["loss"]
    scores, labels, counts = float64(told["scores"]), torch.tensor(told["labels"]), told["counts"]
    there = torch.tensor(counts) > 0  # its function leaves a class without rows out
    place = there.cumsum(0) - 1
    loss = probe_loss(FedETF(), scores[:, there], place[labels], [int(n) for n in counts if n > 0])
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_its_frame_is_a_simplex_that_does_not_learn_and_features_have_length_one():
    head = FrameHead(6, 4, 2.0).double()
    angles = head.frame.double().T @ head.frame.double()
    expected = torch.full((4, 4), -1 / 3, dtype=DOUBLE).fill_diagonal_(1.0)
    torch.testing.assert_close(angles, expected, atol=1e-6, rtol=0)
    assert {name for name, _ in head.named_parameters()} == {
        *("scale", "projection.weight", "projection.bias"),
    }
    head.projection.bias.data.zero_()
    features = torch.randn(5, 6, dtype=DOUBLE)
    torch.testing.assert_close(head(features), head(7 * features))
    assert head(features).abs().max() <= 2.0 + 1e-6


# FedGELA.


def test_lengths_add_up_to_the_classes_and_are_zero_where_there_are_no_rows():
    run = run_of([6, 3, 0])
    assert lengths(run).tolist() == [2.0, 1.0, 0.0]
    scores = float64([[0.5, -1.0, 3.0]])
    adjusted = FedGELA().adjust(scores, torch.tensor([0]), run)
    torch.testing.assert_close(adjusted, float64([[5.0, -5.0, 0.0]]))


def test_a_lacking_class_gives_features_no_gradient_and_equal_shares_change_nothing():
    scores = float64([[0.5, -1.0, 3.0]]).requires_grad_()
    run = run_of([6, 3, 0])
    loss = F.cross_entropy(FedGELA().adjust(scores, None, run), torch.tensor([0]))
    (gradient,) = torch.autograd.grad(loss, scores)
    assert gradient[0, 2] == 0 and gradient[0, 0] < 0
    even = FedGELA(temperature=1.0).adjust(scores, None, run_of([4, 4, 4]))
    torch.testing.assert_close(even, scores)


def test_its_own_network_scales_the_frame_and_a_row_alone_has_a_score():
    head = EncodedFrame(5, 3).double()
    head.frame = head.frame.double()
    features = torch.randn(4, 5, dtype=DOUBLE)
    head.eval()
    before = head(features)
    model = nn.Module()
    model.head = head
    FedGELA().personal(model, None, run_of([6, 3, 0]))
    torch.testing.assert_close(head(features), before * float64([2.0, 1.0, 0.0]))
    head.train()
    assert torch.isfinite(head(features[:1])).all()


# FedLoGe.


def test_a_sparse_frame_has_so_many_zeros_and_columns_of_a_length():
    frame = fedloge.sparse_frame(40, 10, 0.6, 3.0, 0)
    assert (frame == 0).sum() == 240
    torch.testing.assert_close(frame.norm(dim=0), torch.full((10,), 3.0, dtype=DOUBLE))
    spread = fedloge.sparse_frame(40, 10, 0.6, 3.0, 5)
    assert (spread == 0).sum() == 240


def test_spreading_lowers_its_loss_and_the_loss_is_worked_by_hand():
    # two columns at a right angle, one of length 0.3: a gap of 0.2 squared, less a right angle
    frame = float64([[0.3, 0.0], [0.0, 0.1]])
    expected = 0.04 - math.pi / 2
    assert fedloge.spread_loss(frame, 0.1).item() == pytest.approx(expected)
    torch.manual_seed(0)
    some = torch.randn(8, 4, dtype=DOUBLE)
    mask = (torch.rand(8, 4) > 0.4).double()
    moved = fedloge.spread(some * mask, mask, 0.1, 50)
    assert fedloge.spread_loss(moved, 0.1) < fedloge.spread_loss(some * mask, 0.1)
    assert torch.equal(moved == 0, mask == 0)


def test_only_the_frame_teaches_the_backbone():
    torch.manual_seed(0)
    head = fedloge.ThreeHeads(6, fedloge.sparse_frame(6, 3, 0.5, 1.0, 0)).double()
    head.local = copy.deepcopy(head.shared)
    features = torch.randn(4, 6, dtype=DOUBLE, requires_grad=True)
    fixed, shared, local = head(features)
    assert not torch.autograd.grad((shared + local).sum(), features, allow_unused=True)[0]
    (gradient,) = torch.autograd.grad(fixed.sum(), features)
    torch.testing.assert_close(gradient, head.frame.sum(dim=1).expand(4, 6))


def test_both_realignments_are_worked_by_hand():
    method = fedloge.FedLoGe()
    model = nn.Module()
    model.head = fedloge.ThreeHeads(2, torch.zeros(2, 3, dtype=DOUBLE)).double()
    model.requires_grad_(False)
    model.head.shared.weight.copy_(float64([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]]))
    model.head.shared.bias.copy_(float64([0.5, 0.0, 0.0]))
    run = run_of([5, 2, 0])
    method.finish(model, None, run)
    expected = 1.7 * float64([[0.6, 0.8], [0.0, 1.0], [1.0, 0.0]])
    torch.testing.assert_close(model.head.shared.weight, expected)
    assert model.head.shared.bias.tolist() == [0.5, 0.0, 0.0]
    method.local = nn.Linear(2, 3).double().requires_grad_(False)
    method.local.weight.copy_(float64([[0.0, 2.0], [3.0, 0.0], [1.0, 0.0]]))
    method.local.bias.zero_()
    method.personal(model, None, run)
    features = float64([[1.0, 1.0]])
    scores = method.combine(Output(model.head(features), features), run)
    by_hand = [2 * 1.7 * 1.4 + 0.5 + 2, 3 * 1.7 + 3]
    torch.testing.assert_close(scores[0, :2], float64(by_hand))
    assert scores[0, 2] < -1000


# Priors.


def test_a_shift_is_the_own_prior_less_that_of_all():
    method = recipe("prior-shift")
    run = run_of([6, 2, 0], received={"prior": float64([0.5, 0.25, 0.25])})
    run.recipe = method
    model = Features([[0.0], [0.0], [0.0]])
    own = method.methods[0].personal(model, None, run)
    expected = (float64([6 / 9, 2 / 9, 1 / 9]) / float64([0.5, 0.25, 0.25])).log()
    torch.testing.assert_close(own.head(torch.zeros(1, 1, dtype=DOUBLE))[0], expected)


def test_the_prior_of_all_is_left_out_where_it_is_corrected_already():
    method = recipe("prior-shift+balanced-softmax")
    run = run_of([6, 2, 0], received={"prior": float64([0.5, 0.25, 0.25])})
    run.recipe = method
    shift = next(one for one in method.methods if one.name == "prior-shift")
    own = shift.personal(Features([[0.0]] * 3), None, run)
    expected = float64([6 / 9, 2 / 9, 1 / 9]).log()
    torch.testing.assert_close(own.head(torch.zeros(1, 1, dtype=DOUBLE))[0], expected)


def test_a_shift_moves_every_head():
    class Two(nn.Module):
        def forward(self, features):
            return features, 2 * features

    first, second = Shifted(Two(), float64([1.0, 0.0]))(float64([[1.0, 2.0]]))
    assert first.tolist() == [[2.0, 2.0]] and second.tolist() == [[3.0, 4.0]]


def test_the_prior_of_all_corrects_once_it_is_told():
    method = recipe("global-balanced-softmax").methods[0]
    run = run_of([6, 2, 0])
    method.prepare(run)
    torch.testing.assert_close(method.prior, run.seen.log())
    run.granted = replace(run.granted, received={"prior": float64([0.8, 0.2, 0.0])})
    method.prepare(run)
    torch.testing.assert_close(method.prior, float64([0.8, 0.2, 0.2]).log())
    told = method.report(None, None, run)["prior"]
    torch.testing.assert_close(told, float64([0.75, 0.25, 0.0]))


# Aggregations.


def test_means_that_bear_outliers_are_worked_by_hand():
    sent = of([1.0], [2.0], [3.0], [4.0], [1000.0])
    assert Median().aggregate(sent, None)["w"].tolist() == [3.0]
    assert Median().aggregate(sent[:4], None)["w"].tolist() == [2.5]
    assert TrimmedMean(0.2).aggregate(sent, None)["w"].tolist() == [3.0]
    assert TrimmedMean(0.0).aggregate(sent, None)["w"].tolist() == [202.0]
    assert TrimmedMean(1.0).aggregate(sent, None)["w"].tolist() == [3.0]


def test_each_number_is_trimmed_by_itself_and_counts_are_averaged():
    numbers = ((0, 9, 1), (1, 1, 3), (9, 0, 5))
    sent = of(*({"w": float64([a, b]), "n": torch.tensor(n)} for a, b, n in numbers))
    found = Median().aggregate(sent, None)
    assert found["w"].tolist() == [1.0, 1.0] and found["n"].item() == 3


def test_krum_takes_the_state_nearest_to_its_nearest():
    # of five with one attacker two nearest count: sums 1 + 4, 1 + 1, 1 + 4, 25 + 36, ...
    sent = of([0.0], [1.0], [2.0], [7.0], [500.0])
    run = run_of([1, 1])
    assert Krum(0.2).aggregate(sent, run)["w"].tolist() == [1.0]
    run.granted = FederatedGrants(client=3)
    assert Krum(0.2).aggregate(sent, run)["w"].tolist() == [4.0]  # with its own


def test_krum_bears_numbers_that_overflow():
    sent = of([0.0], [1.0], [2.0], [float("inf")], [float("nan")])
    assert Krum(0.2).aggregate(sent, run_of([1, 1]))["w"].tolist() == [1.0]


# Bristle.


def bristle_case():
    told = oracle("bristle_integration")
    given, expected = told["inputs"], told["expected"]
    own = float64(given["own"])
    peers = torch.stack([float64(given["peers"][k]) for k in "123"])
    familiar = [str(c) for c in given["familiar"]]
    mine = float64([given["own_f1"][c] for c in familiar])
    theirs = float64([[given["peer_f1"][k][c] for c in familiar] for k in "123"])
    known = torch.tensor([given["classes_of_peer"][k] for k in "123"])
    return expected, own, peers, mine, theirs, known


def test_weights_of_peers_are_those_of_the_released_formulas():
    expected, own, peers, mine, theirs, known = bristle_case()
    within, beyond = bristle.weights(mine, theirs, known)
    for k in range(3):
        told = expected["class_weights"][str(k + 1)]
        found = {str(c): within[k, c].item() for c in range(3) if within[k, c] or str(c) in told}
        assert found == pytest.approx(told, abs=1e-9)
        assert beyond[k].item() == pytest.approx(expected["foreign_weights"][str(k + 1)], abs=1e-9)
    taken = torch.cat([within, beyond[:, None]], dim=1)  # the fourth class is nobody's
    mixed = bristle.integrated(own.T, peers.mT, taken)  # its classes are columns
    torch.testing.assert_close(mixed.T, float64(expected["result"]), atol=1e-9, rtol=0)


def test_a_peer_like_oneself_counts_by_its_certainty_and_one_that_is_wrong_not_at_all():
    own = float64([0.8, 0.6])
    within, beyond = bristle.weights(own, torch.stack([own, 0 * own]), torch.tensor([2, 2]))
    assert within.tolist() == [pytest.approx([0.6, 0.6]), [0.0, 0.0]]  # 0.7 less 0.1
    assert beyond.tolist() == pytest.approx([0.6, 0.0])


def test_f1_of_each_class_is_worked_by_hand():
    scores = float64([[[2, 1, 0], [2, 1, 0], [0, 1, 0]], [[0, 0, 9], [0, 0, 9], [0, 0, 9]]])
    found = bristle.f1(scores, torch.tensor([0, 1, 1]), torch.tensor([0, 1]))
    torch.testing.assert_close(found, torch.tensor([[2 / 3, 2 / 3], [0.0, 0.0]]))


def test_a_peer_that_sends_nonsense_leaves_the_own_layer_as_it_is():
    own = {"head.weight": 4 * torch.eye(2, dtype=DOUBLE), "head.bias": float64([0.0, 0.0])}
    nonsense = {name: torch.full_like(one, float("nan")) for name, one in own.items()}
    turned = {name: -one for name, one in own.items()}
    told = [{"classes": torch.tensor(2)}] * 3
    rows = Rows(torch.eye(2, dtype=DOUBLE), torch.arange(2))
    run = run_of([3, 3], client=0, validation=rows)
    run.model = Features([[4.0, 0.0], [0.0, 4.0]])
    found = bristle.Bristle().aggregate(of(own, nonsense, turned, reported=told), run)
    assert all(torch.equal(found[name], one) for name, one in own.items())
    alone = bristle.Bristle().aggregate(of(own, reported=told[:1]), run)
    assert all(torch.equal(alone[name], one) for name, one in own.items())


def test_without_rows_put_aside_it_asks_those_it_trained_on_and_says_so():
    run = run_of([1, 1], client=0)
    run.train = Rows(torch.eye(2), torch.arange(2))
    assert bristle.Bristle().asked(run) is run.train
    assert run.notes == ["no rows were put aside; bristle asks those it trained on"]


# CReFF.


def test_class_gradients_are_those_of_the_loss():
    torch.manual_seed(0)
    head, features = torch.randn(3, 5, dtype=DOUBLE), torch.randn(7, 4, dtype=DOUBLE)
    labels = torch.tensor([0, 0, 0, 1, 1, 0, 1])
    found = creff.class_gradients(head, features, labels)
    for c in range(2):
        weight = head.clone().requires_grad_()
        scores = F.pad(features[labels == c], (0, 1), value=1.0) @ weight.T
        loss = F.cross_entropy(scores, labels[labels == c])
        (expected,) = torch.autograd.grad(loss, weight)
        torch.testing.assert_close(found[c], expected)
    assert (found[2] == 0).all()
    made = torch.stack([features[labels == 1]] * 3)
    torch.testing.assert_close(creff.made_gradients(head, made)[1], found[1])


def test_gradients_that_are_parallel_match_and_those_turned_do_not():
    wanted = torch.randn(2, 3, 5, dtype=DOUBLE)
    assert creff.match_loss(wanted, 3 * wanted).item() == pytest.approx(0, abs=1e-5)
    # three rows of weights and one of biases in each of two classes
    assert creff.match_loss(-wanted, wanted).item() == pytest.approx(2 * 2 * 4, abs=1e-5)


def test_matching_lowers_the_loss_and_leaves_classes_that_nobody_has():
    torch.manual_seed(0)
    head = torch.randn(3, 5, dtype=DOUBLE)
    made, wanted = torch.randn(3, 6, 4, dtype=DOUBLE), torch.randn(3, 3, 5, dtype=DOUBLE)
    asked = torch.tensor([True, False, True])
    moved = creff.matched(made, head, wanted, asked, 20, 0.1)
    assert torch.equal(moved[1], made[1]) and not torch.equal(moved[0], made[0])
    before, after = (
        creff.match_loss(creff.made_gradients(head, one)[asked], wanted[asked])
        for one in (made, moved)
    )
    assert after < before


def test_retraining_is_descent_on_the_mean_loss():
    torch.manual_seed(0)
    head, made = torch.randn(3, 5, dtype=DOUBLE), torch.randn(3, 6, 4, dtype=DOUBLE)
    weight = (head / 5**0.5).requires_grad_()
    scores = F.pad(made, (0, 1), value=1.0).flatten(0, 1) @ weight.T
    loss = F.cross_entropy(scores, torch.arange(3).repeat_interleave(6))
    (gradient,) = torch.autograd.grad(loss, weight)
    torch.testing.assert_close(creff.retrained(made, head, 1, 0.3), weight - 0.3 * gradient)


def test_the_server_averages_networks_by_rows_and_gradients_by_clients():
    method, run = creff.CReFF(features=4, matching=2, epochs=3), run_of([1, 1])
    start = {"head.weight": torch.ones(2, 3, dtype=DOUBLE), "head.bias": float64([0.0, 0.0])}
    run.granted = FederatedGrants(received=start)
    one = {name: torch.zeros_like(tensor) for name, tensor in start.items()}
    told = [
        {creff.GRADIENTS: torch.ones(2, 2, 4, dtype=DOUBLE), creff.THERE: float64([1.0, flag])}
        for flag in (1.0, 0.0)
    ]
    found = method.aggregate(of(start, one, rows=[30, 10], reported=told), run)
    assert (found["head.weight"] == 0.75).all()
    assert found[creff.HEAD].shape == (2, 4) and not found[creff.GRADIENTS].numel()
    run.granted = FederatedGrants(received=found)
    model = Features([[0.0] * 3] * 2)
    with torch.no_grad():
        decided = method.finish(model, None, run)
    torch.testing.assert_close(decided.head.weight, found[creff.HEAD][:, :-1])


@pytest.mark.parametrize("text", ["creff", "bristle"])
def test_a_head_that_is_not_linear_is_refused_in_a_sentence(text):
    run = run_of([1, 1], client=0, received={})
    run.model = Features([[1.0], [0.0]])
    told = {"classes": 1, creff.THERE: torch.ones(2), creff.GRADIENTS: torch.ones(2, 2, 2)}
    update = of(*[{"frame": torch.zeros(1)}] * 2, reported=[told] * 2)
    with pytest.raises(LTBenchError, match=f"{text} needs a linear classifier"):
        recipe(text).methods[0].aggregate(update, run)


# Divisions and averages.


def test_equal_clients_are_those_of_the_released_code():
    told = oracle("creff_partition")
    rows, params = told["inputs"]["rows_of_class"], told["params"]
    one = Federation(clients=params["clients"], rounds=1, alpha=params["alpha"], division="equal")
    found = equal(one, np.repeat(np.arange(4), rows), params["classes"], params["seed"])
    assert [rows.tolist() for rows in found] == told["expected"]["rows"]


def test_drawn_clients_are_those_of_the_released_code():
    told = oracle("fedloge_dirichlet")
    labels, params = np.array(told["inputs"]["labels"]), told["params"]
    one = Federation(clients=params["clients"], rounds=1, alpha=params["alpha"], division="drawn")
    found = drawn(one, [np.flatnonzero(labels == c) for c in range(4)], params["seed"])
    assert {str(k): sorted(rows.tolist()) for k, rows in enumerate(found)} == (
        told["expected"]["rows"]
    )
    with pytest.raises(LTBenchError, match=r"client 3 of 5 has no rows; take fewer clients"):
        divided(one, labels, 4, params["seed"])


def test_averages_are_those_of_the_released_code():
    told = oracle("creff_fedavg")
    states = [
        {name: torch.tensor(values, dtype=torch.float64) for name, values in state.items()}
        for state in told["inputs"]["states"]
    ]
    sent = zip(states, told["params"]["rows"], strict=True)
    found = averaged([Update(k, state, rows) for k, (state, rows) in enumerate(sent)])
    for name, expected in told["expected"]["average"].items():
        torch.testing.assert_close(found[name], torch.tensor(expected, dtype=torch.float64))
