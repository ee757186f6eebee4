"""Counterfactuals: the changes by hand, who is added, and what the expert says of a corner."""

import pytest
import torch
from msgspec import structs

from ltbench import LTBenchError, Rows, Unmet, protocol, recipe
from ltbench.contract.context import Phase
from ltbench.registry.registry import installed
from ltbench.testing.probes import probe_run
from ltbench.tracks.domains.contract import DomainGrants
from ltbench.tracks.domains.cutting import seen_as
from ltbench.tracks.domains.problem import Domain
from ltbench.tracks.domains.scores import flips
from ltbench_plugins.domains.counterfactual import Counterfactual, edited

CPU = torch.device("cpu")


class Linear(torch.nn.Module):
    """Scores that are linear in four pixels: the lead of class 0 falls along (2, -1, 0.5, 0)."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(4, 2, bias=False).double()
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[2.0, -1.0, 0.5, 0.0], [0.0] * 4]))

    def features(self, x):
        return x.flatten(1)


def running(method=None):
    run = probe_run(method or Counterfactual(), (4, 1), torch.float64)
    run.model = Linear()
    return run


def test_a_change_sets_the_numbers_by_which_the_lead_falls_most():
    inputs = torch.tensor([[0.5, 0.0, 0.5, 1.0], [1.0, 0.0, 1.0, 0.0]]).double().view(2, 1, 2, 2)
    labels = torch.tensor([0, 0])
    once, flipped = edited(inputs, labels, running(), 1)
    # the lead of the first, 1.25, falls by 1, that of the other, 2.5, by 2
    assert once.flatten(1).tolist() == [[0, 0, 0.5, 1], [0, 0, 1, 0]] and not flipped.any()
    twice, flipped = edited(inputs, labels, running(), 2)
    assert twice.flatten(1).tolist() == [[0, 1, 0.5, 1], [0, 1, 1, 0]] and flipped.all()
    # a row that is flipped is changed no further
    assert torch.equal(edited(inputs, labels, running(), 4)[0], twice)


def test_a_row_that_was_wrong_before_is_none_that_flips():
    inputs = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    inputs[0, 0, 0, 1] = 1
    assert edited(inputs, torch.tensor([0]), running(), 2)[1].tolist() == [False]


def test_an_expert_tells_the_corner_from_the_object():
    grants = DomainGrants(cells=torch.ones(2, 2), corner=2)
    before = torch.zeros(4, 1, 4, 4)
    after = before.clone()
    after[0, 0, 0, 0] = 1  # within the corner alone
    after[1, 0, 3, 3] = 1  # without
    after[2, 0, 0, 0], after[2, 0, 3, 3] = 0.31, 0.69
    assert grants.annotate(before, after).tolist() == [False, True, False, True]


def entering(expert):
    method = recipe("counterfactual(edits=2)")
    run = running(method)
    inputs = torch.tensor([1.0, 0.0, 1.0, 0.0]).double().expand(5, 4).reshape(5, 1, 2, 2).clone()
    labels = torch.tensor([1, 1, 1, 1, 0])
    run.train = Rows(inputs, labels, groups=torch.tensor([0, 0, 1, 1, 1]))
    run.counts = torch.tensor([1.0, 4.0])
    run.model = method.build(run.model, run).double()
    run.granted = type("Grants", (), {"annotate": staticmethod(expert)})()
    run.phase = Phase("main", 1, 0.1, 0.0)
    return method.enter(run.train, run), run


def test_changed_rows_of_rare_classes_are_added_with_their_label_and_group():
    rows, run = entering(lambda before, after: torch.zeros(len(before), dtype=torch.bool))
    assert len(rows) == 6 and rows.labels[5] == 0 and rows.groups[5] == 1
    assert rows.inputs[5].flatten().tolist() == [0, 1, 1, 0]
    assert run.notes == ["1 rows were added in which what was planted had changed"]


def test_an_expert_who_sees_other_objects_adds_nothing():
    rows, run = entering(lambda before, after: torch.ones(len(before), dtype=torch.bool))
    assert torch.equal(rows.inputs, run.train.inputs) and torch.equal(rows.labels, run.train.labels)


def test_a_corner_is_white_and_within_the_image():
    images = torch.rand(2, 1, 8, 8)
    found = seen_as(Domain("cornered", corner=2), images)
    assert (found[:, :, :2, :2] == 1).all() and torch.equal(found[:, :, 2:], images[:, :, 2:])
    white = seen_as(Domain("cornered", corner=1), torch.zeros(1, 3, 4, 4).byte())
    assert white[0, :, 0, 0].tolist() == [255] * 3
    with pytest.raises(LTBenchError, match=r"a corner of 9 pixels does not fit images of \[8, 8\]"):
        seen_as(Domain("cornered", corner=9), images)


def test_flips_by_hand():
    predicted = torch.tensor([0, 1, 1, 0, 1, 0, 1, 1, 0]).numpy()
    groups = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2]).numpy()
    # of three pairs of domains one image of three, two and three differ
    assert flips(predicted, groups) == pytest.approx((1 / 3 + 2 / 3 + 1 / 3) / 3)
    assert flips(predicted[:8], groups[:8]) is None


def test_without_an_expert_it_is_refused_by_name():
    track, fixed = installed().track("domains"), protocol("digits-groups")
    (source,) = track.load(installed(), fixed).values()
    with pytest.raises(Unmet, match="annotator; counterfactual needs that"):
        track.run(fixed, recipe("counterfactual"), 0, source, CPU)


def test_rows_of_bytes_are_refused():
    with pytest.raises(LTBenchError, match="changes numbers of inputs, and those of these"):
        edited(torch.zeros(1, 1, 2, 2).byte(), torch.tensor([0]), running(), 1)


def test_a_cell_tells_how_often_decisions_flip():
    track, fixed = installed().track("domains"), protocol("digits-confounded")
    short = structs.replace(fixed, budget=structs.replace(fixed.budget, epochs=2))
    (source,) = track.load(installed(), short).values()
    outcome = track.run(short, recipe("counterfactual"), 0, source, CPU)
    assert outcome.measures["flips"] == flips(*(outcome.arrays[n] for n in ("predicted", "groups")))
