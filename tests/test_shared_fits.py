"""Plain learners are fitted once, and what decides by them otherwise has the bits of one alone."""

import json
import sys
import textwrap

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.validation import check_is_fitted

from ltbench.api import run
from ltbench.registry.registry import installed
from ltbench.results.records import arrays_of
from ltbench.tracks.tabular import shared_fits
from ltbench.tracks.tabular.shared_fits import Later

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")

SMALL = """
name = "small"
version = 1
track = "tabular"
description = "A table, for tests."
recipes = ["erm"]
seeds = 1

[tables.wine]
source = "scikit-learn/wine"
fingerprint = "1570c9b303c0563f"
factor = 5

[learners]
logistic = {}
tree = {min_samples_leaf = 5}
forest = {n_estimators = 3}
knn = {}
mlp = {steps = 8}

[scoring]
folds = 2

[compute]
threads = 1
"""
RECIPES = (
    *("erm", "threshold", "posthoc-logit-adjustment", "la-tau", "group-thresholds", "crt"),
    *("threshold(metric='g_mean')", "posthoc-logit-adjustment(tau=0.5)", "peeks"),
)
METHODS = """
    import torch
    from ltbench import Method, hookimpl

    class Peeks(Method):
        name = "peeks"
        models = frozenset({"network", "estimator"})

        def finish(self, model, validation, run):
            if hasattr(model, "classes_"):  # more than what is kept of an estimator
                run.note(f"classes {model.classes_.tolist()} {model.__class__.__name__}")
                run.note(f"says {model.predict(run.train.inputs[:3].numpy()).tolist()}")
            return model

    class Doubles(Method):
        name = "doubles"
        def weight(self, labels, run):
            return torch.where(labels == 0, 2.0, 1.0)

    @hookimpl
    def register_methods(register):
        register(Peeks)
        register(Doubles)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache folder of the test's own, where fits stand."""
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fits"


@pytest.fixture
def go(tmp_path):
    """Runs the cells of one seed, in a results folder of its own; gives records by recipe."""
    small, methods, log = (tmp_path / name for name in ("small.toml", "methods.py", "log.jsonl"))
    small.write_text(SMALL)
    methods.write_text(textwrap.dedent(METHODS))

    def call(recipes, results, **options):
        log.unlink(missing_ok=True)
        options = {"seeds": 1, "jobs": 1, "plugins": [methods], **options}
        told = {"results": tmp_path / results, "observe": [f"json={log}"]}
        found = run(small, recipes, **told, **options)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        call.told = [line["text"] for line in lines if line["event"] == "note"]
        return {record.recipe: record for record in found}

    call.arrays = lambda record, results: arrays_of(tmp_path / results, record)
    return call


def numbers(record):
    """All that sharing must leave as it is."""
    parts = record.details["parts"]
    told = {
        name: (part["status"], part.get("notes"), part.get("reason"), part.get("metrics"))
        for name, part in parts.items()
    }
    passes = {name: part["timing"] and part["timing"]["passes"] for name, part in parts.items()}
    return record.measures, record.status, record.notes, told, passes


def same(go, one, other):
    (first, found), (second, again) = one, other
    assert found.keys() == again.keys()
    for recipe, record in found.items():
        assert numbers(record) == numbers(again[recipe]), recipe
        arrays = go.arrays(record, first), go.arrays(again[recipe], second)
        assert arrays[0].keys() == arrays[1].keys()
        assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0]), recipe
    return True


def test_recipes_that_differ_after_the_fit_share_it_and_end_in_the_bits_of_cells_alone(go, folder):
    alone = go(RECIPES, "alone", sharing=False)
    assert not folder.exists() and not any(record.stage for record in alone.values())
    shared = go(RECIPES, "shared")
    assert same(go, ("alone", alone), ("shared", shared))
    unshared = [recipe for recipe, record in shared.items() if not record.stage]
    assert unshared == ["class-weights", "erm"]  # the first fits for all
    keys = {path.stem for path in folder.glob("*.pt")}
    assert len(keys) == 10 and set(shared["threshold"].stage.split(",")) == keys
    assert len(shared["la-tau"].stage.split(",")) == 2  # it acts on networks alone, in two folds


def test_whoever_comes_first_fits_for_those_after(go):
    alone = go(RECIPES, "alone", sharing=False)
    first = go(["la-tau"], "shared")
    assert not first["la-tau"].stage or not first["erm"].stage
    for recipe in reversed(RECIPES):
        again = go([recipe], "shared")[recipe]
        assert numbers(again) == numbers(alone[recipe])


def test_what_acts_before_the_fit_or_in_it_is_fitted_as_ever(go, folder):
    recipes = ["class-weights", "doubles", "random-oversampling", "smote+threshold"]
    known = [one for one in recipes if one.partition("+")[0] in (*installed().methods(), "doubles")]
    alone, shared = go(known, "alone", sharing=False), go(known, "shared")
    assert same(go, ("alone", alone), ("shared", shared))
    assert {recipe for recipe, record in shared.items() if record.stage} <= {"erm", "threshold"}


def test_what_cannot_be_read_is_told_of_and_fitted_anew(go, folder):
    whole = go(["erm"], "whole")
    for path in folder.glob("*.pt"):
        path.write_bytes(path.read_bytes()[:-10])
    again = go(["erm"], "again")
    assert same(go, ("whole", whole), ("again", again))
    assert all("is not used: it is damaged" in line for line in go.told)


def test_fits_that_lack_some_are_filled_by_fitting(go, monkeypatch):
    whole = go(["erm", "threshold"], "whole", sharing=False)
    kept = shared_fits.Fits.__init__

    def forgetful(self, key, found, made=None, folds=None):
        kept(self, key, found, {} if found else made or {}, folds or {})

    monkeypatch.setattr(shared_fits.Fits, "__init__", forgetful)
    assert same(go, ("whole", whole), ("again", go(["erm", "threshold"], "again")))


def test_a_cell_is_charged_for_what_another_fitted(go):
    shared = go(["erm", "threshold"], "shared")
    for name, part in shared["threshold"].details["parts"].items():
        plain = shared["erm"].details["parts"][name]["timing"]
        assert part["timing"]["reference_work"] in (plain["reference_work"], pytest.approx(0.0))
        # held-out scores take as many fits again as there are folds
        assert part["timing"]["seconds"] > plain["seconds"]


X, Y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])


@pytest.fixture
def later():
    tree, fits = DecisionTreeClassifier(random_state=0), []

    def fit():
        fits.append(tree.fit(X, Y))

    made = Later(tree, fit)
    return made, fits


def test_what_stands_for_a_fitted_model_passes_for_it_and_is_fitted_when_needed(later):
    made, fits = later
    assert isinstance(made, DecisionTreeClassifier) and is_classifier(made)
    made.threshold_offsets = 1
    assert (made.threshold_offsets, getattr(made, "la_tau", None)) == (1, None)
    assert not fits
    check_is_fitted(made)
    assert made.classes_.tolist() == [0, 1] and made.predict(X).tolist() == Y.tolist()
    assert made.tree_.node_count == 3 and len(fits) == 1


def test_what_is_changed_before_a_fit_was_needed_is_changed_after_it(later):
    made, fits = later
    made.set_params(max_depth=1)
    assert len(fits) == 1 and made.tree_.node_count == 3


def test_a_copy_of_what_stands_for_a_model_can_be_fitted(later):
    made, _ = later
    again = clone(made).fit(X, 1 - Y)
    assert type(again) is DecisionTreeClassifier
    assert again.predict(X).tolist() == (1 - Y).tolist()
