import numpy as np
import pytest
from sklearn.ensemble import AdaBoostClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier
from test_balanced_bags import (
    FEW,
    FOUR,
    TREE,
    TWO,
    Recorder,
    assert_repeatable,
    clouds,
    fitted,
    gain,
    run_of,
)

from ltbench import LTBenchError
from ltbench.errors import Unmet
from ltbench_plugins.tables.balanced_ensembles import (
    BalancedBagging,
    BalancedRandomForest,
    EasyEnsemble,
)

FOREST = RandomForestClassifier(30, random_state=0)
METHODS = [(EasyEnsemble, TREE), (BalancedBagging, TREE), (BalancedRandomForest, FOREST)]
BAGS = [EasyEnsemble, BalancedBagging]


def recorders(method, counts):
    """The members of an ensemble, which keep the bags they were given."""
    model = fitted(method, Recorder(), counts)
    return [pipeline.named_steps["classifier"] for pipeline in model.estimators_]


@pytest.mark.parametrize(("method", "base"), METHODS)
@pytest.mark.parametrize("counts", [TWO, FOUR, *FEW])
def test_clones_and_pickles_predict_the_same_for_all_classes(method, base, counts):
    assert_repeatable(method(), base, counts)


@pytest.mark.parametrize(("method", "base"), METHODS)
@pytest.mark.parametrize("counts", [TWO, FOUR])
def test_rare_classes_gain(method, base, counts):
    assert gain(method(), base, counts) > 0.02


@pytest.mark.parametrize("method", BAGS)
def test_each_of_ten_bags_is_balanced(method):
    bags = [np.bincount(member.y_).tolist() for member in recorders(method(), FOUR)]
    assert bags == [[10, 10, 10, 10]] * 10


def test_easy_ensemble_keeps_the_rarest_class_whole_and_draws_others_without_replacement():
    X, y = clouds(TWO)
    for member in recorders(EasyEnsemble(), TWO):
        rare = member.X_[member.y_ == 0]
        np.testing.assert_array_equal(np.sort(rare, axis=0), np.sort(X[y == 0], axis=0))
        assert len(np.unique(member.X_, axis=0)) == 40


def test_balanced_bagging_bootstraps_every_class():
    X, y = clouds((20, 20))
    for member in recorders(BalancedBagging(), (20, 20)):
        for c in (0, 1):
            own = member.X_[member.y_ == c]
            assert len(np.unique(own, axis=0)) < 20
            assert all((X[y == c] == row).all(axis=1).any() for row in own)


@pytest.mark.parametrize("method", BAGS)
def test_members_differ_in_their_seeds(method):
    assert len({member.random_state for member in recorders(method(), TWO)}) == 10


@pytest.mark.parametrize("method", BAGS)
def test_weights_of_rows_are_refused_in_a_sentence(method):
    with pytest.raises(LTBenchError, match="weighs no rows; under-bagging does"):
        fitted(method(), TREE, TWO, sample_weight=np.ones(sum(TWO)))


@pytest.mark.parametrize("method", BAGS)
def test_bags_too_small_for_the_neighbours_of_a_learner_get_fewer_and_the_run_says_so(method):
    run = run_of((30, 2))
    method().build(KNeighborsClassifier(), run).fit(*clouds((30, 2))).predict_proba(
        np.zeros((1, 4))
    )
    assert run.notes == ["bags of 4 rows: 2 of 5 neighbours"]


def test_members_of_easy_ensemble_are_the_base_learner_itself():
    model = fitted(EasyEnsemble(members=3), LogisticRegression(), TWO)
    assert [type(p.named_steps["classifier"]) for p in model.estimators_] == [
        LogisticRegression
    ] * 3


def test_easy_ensemble_boosts_the_base_learner_on_each_bag_where_asked():
    base = DecisionTreeClassifier(max_depth=1)
    model = fitted(EasyEnsemble(members=2, boosts=4), base, TWO)
    for pipeline in model.estimators_:
        boosted = pipeline.named_steps["classifier"]
        assert isinstance(boosted, AdaBoostClassifier)
        assert [tree.max_depth for tree in boosted.estimators_] == [1] * 4


def test_easy_ensemble_does_not_boost_a_learner_that_weighs_no_rows():
    with pytest.raises(Unmet, match="which KNeighborsClassifier cannot; use boosts=1$"):
        EasyEnsemble(boosts=2).build(KNeighborsClassifier(), run_of(TWO))


def test_a_bag_on_which_adaboost_fails_is_told_in_a_sentence():
    X, y = np.zeros((40, 1)), np.array([0, 1] * 20)
    model = EasyEnsemble(boosts=2).build(DecisionTreeClassifier(max_depth=1), run_of((20, 20)))
    with pytest.raises(LTBenchError, match="AdaBoost fails on a bag; use boosts=1"):
        model.fit(X, y)


def test_each_tree_of_the_balanced_forest_sees_as_many_rows_of_each_class_as_the_rarest_has():
    model = fitted(BalancedRandomForest(), FOREST, FOUR)
    _, y = clouds(FOUR)
    bags = [np.bincount(y[sampler.sample_indices_]).tolist() for sampler in model.samplers_]
    assert bags == [[10, 10, 10, 10]] * 30


def test_the_balanced_forest_keeps_the_parameters_of_the_forest():
    forest = RandomForestClassifier(7, max_depth=2, min_samples_leaf=3, criterion="entropy")
    model = BalancedRandomForest().build(forest, run_of(TWO))
    kept = model.get_params()
    assert {name: kept[name] for name in ("n_estimators", "max_depth", "min_samples_leaf")} == {
        "n_estimators": 7,
        "max_depth": 2,
        "min_samples_leaf": 3,
    }
    assert kept["criterion"] == "entropy" and not kept["bootstrap"] and kept["replacement"]


def test_the_balanced_forest_refuses_any_other_learner():
    with pytest.raises(
        Unmet,
        match="^balanced-random-forest takes the place of a random forest; "
        "the learner here is LogisticRegression$",
    ):
        BalancedRandomForest().build(LogisticRegression(), run_of(TWO))


def test_the_balanced_forest_weighs_rows():
    forest = RandomForestClassifier(30, max_depth=2, random_state=0)
    weight = np.where(clouds(TWO)[1] == 0, 1.0, 100.0)
    X, _ = clouds((50, 50), seed=1)
    plain = fitted(BalancedRandomForest(), forest, TWO)
    weighed = fitted(BalancedRandomForest(), forest, TWO, sample_weight=weight)
    assert weighed.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean() + 0.05
