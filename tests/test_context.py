"""Rows that an index chooses stand for a copy of them, without being one."""

import pickle
from dataclasses import replace

import pytest
import torch

from ltbench import Rows
from ltbench.contract.context import Chosen

CPU = torch.device("cpu")


@pytest.fixture
def rows():
    labels = torch.arange(600) % 3
    mask = torch.arange(600)[:, None] % 2 == 0
    inputs = torch.arange(2400).reshape(600, 2, 2)
    return Rows(inputs, labels, groups=labels + 1, mask=mask, categorical=(slice(0, 1),))


INDEX = torch.arange(599, -1, -2)


def same(one, other):
    held, found = one.beside(), other.beside()
    return (
        torch.equal(one.inputs, other.inputs)
        and torch.equal(one.labels, other.labels)
        and held.keys() == found.keys()
        and all(torch.equal(held[name], found[name]) for name in held)
        and one.categorical == other.categorical
    )


def test_chosen_rows_are_those_of_a_copy(rows):
    copy, chosen, again = rows[INDEX], Chosen.out_of(rows, INDEX), torch.tensor([5, 5, 0])
    assert len(chosen) == 300
    assert chosen.shape == (2, 2)
    assert torch.equal(chosen.inputs_at(again), copy.inputs[again])
    assert same(chosen[again], copy[again])
    assert same(chosen[chosen.labels == 1], copy[copy.labels == 1])
    assert torch.equal(torch.cat(list(chosen.portions())), copy.inputs)
    assert not chosen.copied
    assert same(chosen, copy)
    assert chosen.copied
    assert same(chosen[again], copy[again])
    assert same(pickle.loads(pickle.dumps(chosen)), copy)


def test_their_labels_may_be_their_own(rows):
    chosen = Chosen.out_of(rows, INDEX, torch.full((300,), 7))
    assert set(chosen[torch.arange(9)].labels.tolist()) == {7}
    assert same(replace(chosen, labels=rows.labels[INDEX]), rows[INDEX])


def test_nothing_is_copied_for_the_device_that_they_are_on(rows):
    chosen = Chosen.out_of(rows, INDEX)
    assert chosen.to(CPU) is chosen
    assert chosen.to(torch.device("meta")).inputs.device.type == "meta"


def test_what_is_written_to_their_inputs_is_theirs_alone(rows):
    chosen, before = Chosen.out_of(rows, INDEX), rows.inputs.clone()
    chosen.inputs.zero_()
    index = torch.arange(4)
    assert not chosen.inputs_at(index).any()
    assert not chosen[index].inputs.any()
    assert not next(chosen.portions()).any()
    assert torch.equal(rows.inputs, before)
