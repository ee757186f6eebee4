import pytest
import torch
from by_hand import COUNTS
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from ltbench.registry.registry import installed
from ltbench.testing.probes import probe_run


def built(text, model):
    recipe = installed().recipe(text)
    return recipe.build(model, probe_run(recipe, COUNTS, torch.float32))


def test_the_rate_and_the_decay_of_the_protocol_are_multiplied():
    recipe = installed().recipe("plain(lr=3, weight_decay=0.5)")
    run = probe_run(recipe, COUNTS, torch.float32)
    lr, decay = run.phase.lr, run.phase.weight_decay
    recipe.build(torch.nn.Linear(2, 3), run)
    assert run.phase.lr == 3 * lr
    assert run.phase.weight_decay == 0.5 * decay


def test_of_an_estimator_what_regularizes_it_is_multiplied():
    text = "plain(lr=3, weight_decay=4)"
    assert built(text, LogisticRegression(C=2.0)).C == 0.5
    assert built(text, RandomForestClassifier(min_samples_leaf=5)).min_samples_leaf == 20
    assert built("plain(weight_decay=0.05)", RandomForestClassifier()).min_samples_leaf == 1


def test_an_estimator_without_a_dial_is_left_alone():
    model = KNeighborsClassifier()
    before = model.get_params()
    assert built("plain(lr=3, weight_decay=4)", model).get_params() == before


def test_no_decay_at_all_is_as_little_as_can_be_said():
    assert pytest.approx(1e9) == built("plain(weight_decay=0)", LogisticRegression()).C
