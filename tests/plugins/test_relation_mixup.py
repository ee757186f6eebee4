"""Relation mixup: whom a class is blended with, and the mean of who is taken for whom."""

import pytest
import torch

from ltbench import Batch, Rows, recipe
from ltbench.contract.context import Output
from ltbench.testing.probes import probe_run
from ltbench_plugins.sampling.relation_mixup import momentum, partners

COUNTS = (6, 3, 2)
RELATIONS = torch.tensor([[0.9, 0.1, 0.0], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2]], dtype=torch.float64)


def test_frequent_classes_are_blended_by_column_and_rare_ones_by_row():
    found = partners(RELATIONS, torch.tensor(COUNTS))  # the mean of the diagonal is 0.567
    expected = [[0.0, 0.3, 0.5], [0.1, 0.0, 0.3], [0.5, 0.3, 0.0]]
    assert torch.equal(found, torch.tensor(expected, dtype=torch.float64))


def test_a_class_that_is_never_confused_is_blended_with_itself():
    found = partners(torch.eye(3, dtype=torch.float64), torch.tensor(COUNTS))
    assert torch.equal(found, torch.eye(3, dtype=torch.float64))
    # nor is one blended with a class that has no rows
    found = partners(RELATIONS, torch.tensor([6, 3, 0]))
    assert found[:, 2].tolist() == [0, 0, 0]


def test_permuted_classes_have_permuted_partners():
    order = torch.tensor([2, 0, 1])
    counts = torch.tensor(COUNTS)
    there = partners(RELATIONS[order][:, order], counts[order])
    assert torch.equal(there, partners(RELATIONS, counts)[order][:, order])


def test_the_momentum_rises_to_the_half_of_training():
    told = [momentum(torch.tensor(at, dtype=torch.float64)).item() for at in (0, 0.25, 0.5, 1.0)]
    assert told == pytest.approx([0.5, 0.5 + 0.49 / 8, 0.99, 0.99])


def running(progress=0.25):
    method = recipe("relation-mixup")
    network = torch.nn.Module()
    network.head = torch.nn.Linear(4, 3)
    run = probe_run(method, COUNTS, torch.float64, progress=progress, network=network)
    return method, run


def test_relations_are_a_mean_of_the_labels_with_the_larger_share():
    method, run = running()
    run.model.relations.copy_(RELATIONS)
    own, other = torch.tensor([0, 0, 1]), torch.tensor([1, 2, 0])
    scores = torch.eye(3, dtype=torch.float64)[[0, 1, 1]]
    batch = Batch(torch.zeros(3, 4), [(own, 0.7), (other, 0.3)], torch.arange(3))
    assert method.extra(Output((scores,), scores), batch, run) is None
    kept = 0.5 + 0.49 / 8
    seen = torch.tensor([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    assert torch.allclose(run.model.relations[:2], kept * RELATIONS[:2] + (1 - kept) * seen)
    assert torch.equal(run.model.relations[2], RELATIONS[2])  # no row of it was there
    run.model.relations.copy_(RELATIONS)
    batch = Batch(torch.zeros(3, 4), [(own, 0.3), (other, 0.7)], torch.arange(3))
    method.extra(Output((scores,), scores), batch, run)
    seen = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)  # of class 0, the last row alone
    assert torch.allclose(run.model.relations[0], kept * RELATIONS[0] + (1 - kept) * seen)


def test_inputs_and_labels_are_blended_with_rows_of_those_classes():
    method, run = running()
    labels = torch.tensor([0] * 6 + [1] * 3 + [2] * 2)[torch.randperm(11)]
    run.train = Rows(labels[:, None].double() * 10 + torch.zeros(11, 4), labels)
    method.prepare(run)
    run.model.relations.copy_(torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]))
    own = torch.tensor([0, 1, 2, 2])
    inputs = own[:, None].double() * 10 + torch.zeros(4, 4)
    batch = method.batch(Batch(inputs, [(own, 1.0)], torch.arange(4)), run)
    (first, share), (second, rest) = batch.targets
    assert torch.equal(first, own) and second.tolist() == [1, 2, 0, 0]
    assert float(share + rest) == 1
    assert torch.allclose(batch.inputs, share * inputs + rest * second[:, None].double() * 10)
