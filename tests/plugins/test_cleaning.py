import random
from itertools import product

import numpy as np
import pytest
import torch
from imblearn import combine
from imblearn import under_sampling as samplers
from resampling import clouds, resampled, rows_at, shuffled
from sklearn.ensemble import RandomForestClassifier

from ltbench import Rows
from ltbench_plugins.sampling.cleaning import (
    ENN,
    SMOTEENN,
    AllKNN,
    CondensedNN,
    InstanceHardness,
    NeighbourhoodCleaning,
    OneSidedSelection,
    RepeatedENN,
    SMOTETomek,
    TomekLinks,
)
from ltbench_plugins.sampling.smote import SMOTE

CLEANING = [
    TomekLinks(),
    ENN(),
    ENN(kind="mode"),
    RepeatedENN(),
    AllKNN(),
    CondensedNN(),
    OneSidedSelection(),
    NeighbourhoodCleaning(),
    InstanceHardness(trees=5),
]
GROWING = [SMOTEENN(), SMOTETomek()]


def each(methods):
    return pytest.mark.parametrize("method", methods, ids=lambda method: method.name)


def places(method, *classes, seed=0):
    """The places of the rows that are kept of each class."""
    kept, _ = resampled(method, rows_at(*classes), seed)
    return [
        [round(place, 4) for place in kept.inputs[kept.labels == c, 0].tolist()]
        for c in range(len(classes))
    ]


def as_set(rows):
    pairs = zip(rows.inputs.flatten(1).tolist(), rows.labels.tolist(), strict=True)
    return sorted((*place, label) for place, label in pairs)


@each(CLEANING)
def test_what_is_kept_are_original_rows_in_their_order(method):
    train = shuffled(clouds((40, 15, 12)))
    kept, _ = resampled(method, train)
    assert 0 < len(kept) < len(train)
    whole = as_set(train)
    index = [(train.inputs == row).all(dim=1).nonzero().item() for row in kept.inputs]
    assert index == sorted(set(index))
    assert all(pair in whole for pair in as_set(kept))


@each(CLEANING)
def test_the_rarest_class_is_left_alone(method):
    train = shuffled(clouds((12, 40, 15)))
    kept, _ = resampled(method, train)
    assert (kept.labels == 0).sum() == 12


@each(CLEANING)
def test_several_rarest_classes_are_left_alone_alike(method):
    train = shuffled(clouds((12, 40, 12)))
    kept, _ = resampled(method, train)
    assert (kept.labels == 0).sum() == (kept.labels == 2).sum() == 12


@each(CLEANING)
def test_equally_common_classes_lose_nothing_and_the_run_says_so(method):
    train = clouds((9, 9, 9), distance=0.1)
    kept, run = resampled(method, train)
    assert torch.equal(kept.inputs, train.inputs)
    assert run.notes == ["no class is rarer than the others: nothing removed"]


@each(CLEANING)
@pytest.mark.parametrize("counts", [(30, 20, 8), (20, 20, 8), (30, 8, 8)])
def test_the_same_rows_are_kept_whatever_the_numbers_of_the_classes(method, counts):
    train = shuffled(clouds(counts))
    new_name = torch.tensor([2, 1, 0])
    kept, _ = resampled(method, train)
    renamed, _ = resampled(method, Rows(train.inputs, new_name[train.labels]))
    assert torch.equal(kept.inputs, renamed.inputs)
    assert torch.equal(new_name[kept.labels], renamed.labels)


@each(CLEANING + GROWING)
def test_no_class_ends_without_rows_however_small_it_is(method):
    chance = torch.Generator().manual_seed(0)
    for counts in [*product((1, 2, 5), repeat=2), (1, 2, 3, 4, 5), (1, 1, 9)]:
        labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        train = Rows(torch.randn(len(labels), 2, generator=chance), labels)
        kept, _ = resampled(method, train)
        assert (kept.labels.bincount(minlength=len(counts)) > 0).all(), counts


@each(CLEANING + GROWING)
def test_one_seed_gives_the_same_bytes_and_nothing_else_moves(method):
    train = clouds((40, 15, 3, 1))
    before = train.inputs.clone()
    states = torch.get_rng_state(), np.random.get_state()[1:3], random.getstate()
    first, second = resampled(method, train, seed=3)[0], resampled(method, train, seed=3)[0]
    assert torch.equal(first.inputs, second.inputs)
    assert torch.equal(train.inputs, before)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1][0])
    assert np.random.get_state()[2] == states[1][1]
    assert random.getstate() == states[2]


@each(CLEANING + GROWING)
def test_rows_of_bytes_are_measured_as_numbers(method):
    chance = torch.Generator().manual_seed(0)
    images = torch.randint(256, (36, 1, 3, 3), generator=chance, dtype=torch.uint8)
    labels = torch.tensor([0] * 24 + [1] * 12)
    kept, _ = resampled(method, Rows(images, labels))
    as_numbers, _ = resampled(method, Rows(images.float(), labels))
    assert kept.inputs.dtype == torch.uint8
    assert torch.equal(kept.inputs, as_numbers.inputs.round().to(torch.uint8))


@pytest.mark.parametrize(
    ("method", "sampler"),
    [
        (TomekLinks(), samplers.TomekLinks()),
        (ENN(), samplers.EditedNearestNeighbours()),
        (ENN(5, "mode"), samplers.EditedNearestNeighbours(n_neighbors=5, kind_sel="mode")),
        (RepeatedENN(), samplers.RepeatedEditedNearestNeighbours()),
        (
            RepeatedENN(2, "mode", rounds=2),
            samplers.RepeatedEditedNearestNeighbours(n_neighbors=2, kind_sel="mode", max_iter=2),
        ),
        (AllKNN(), samplers.AllKNN()),
        (AllKNN(5, "mode"), samplers.AllKNN(n_neighbors=5, kind_sel="mode")),
        (OneSidedSelection(), samplers.OneSidedSelection(random_state=3)),
        (NeighbourhoodCleaning(), samplers.NeighbourhoodCleaningRule()),
        (NeighbourhoodCleaning(5), samplers.NeighbourhoodCleaningRule(n_neighbors=5)),
        (
            InstanceHardness(trees=5, folds=4),
            samplers.InstanceHardnessThreshold(
                estimator=RandomForestClassifier(5, random_state=3), random_state=3, cv=4
            ),
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
@pytest.mark.parametrize("distance", [1.0, 2.0])
def test_they_agree_with_imbalanced_learn_on_classes_named_from_the_rarest(
    method, sampler, distance
):
    train = shuffled(clouds((20, 40, 80), distance))
    kept, run = resampled(method, train, seed=3)
    x, y = sampler.fit_resample(train.inputs.numpy(), train.labels.numpy())
    assert as_set(kept) == as_set(Rows(torch.from_numpy(x), torch.from_numpy(y)))
    assert run.notes == []


def test_the_common_row_of_a_tomek_link_is_removed():
    # 2 and 2.3 are each other's nearest, and so are 8 and 9.5; 20's nearest is 9.5, not in return
    common, rare = places(TomekLinks(), [0.0, 1.0, 2.0, 8.0], [2.3, 9.5, 20.0])
    assert common == [0.0, 1.0]
    assert rare == [2.3, 9.5, 20.0]


@each([TomekLinks(), OneSidedSelection()])
def test_a_class_whose_rows_are_all_in_links_keeps_them_and_the_run_says_so(method):
    train = rows_at([0.0, 10.0], [0.1, 10.1, 50.0, 50.2], [49.0])
    kept, run = resampled(method, train)
    assert (kept.labels == 0).sum() == 2
    assert run.notes == ["classes that would lose all rows: original rows kept"]


@pytest.mark.parametrize(
    ("method", "kept"),
    [
        # of the three nearest of 3 and 2 one is foreign, of those of 10 all
        (ENN(), [0.0, 1.0]),
        (ENN(kind="mode"), [0.0, 1.0, 2.0, 3.0]),
        # the nearest alone: foreign for 3 and 10
        (ENN(neighbours=1), [0.0, 1.0, 2.0]),
    ],
)
def test_enn_removes_rows_with_a_foreign_neighbour_or_with_most_of_them_foreign(method, kept):
    common, rare = places(method, [0.0, 1.0, 2.0, 3.0, 10.0], [3.4, 11.0, 12.0, 13.0])
    assert common == kept
    assert rare == [3.4, 11.0, 12.0, 13.0]


LINE = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [6.4, 20.0]


@pytest.mark.parametrize(
    ("method", "kept"),
    [
        (ENN(), LINE[0][:5]),  # 6.4 is among the three nearest of 6 and 5
        (RepeatedENN(rounds=1), LINE[0][:5]),
        (RepeatedENN(), LINE[0][:4]),  # then of 4, and of no other
        (AllKNN(neighbours=1), LINE[0][:6]),  # it is the nearest of 6
        (AllKNN(neighbours=2), LINE[0][:5]),  # then among the two nearest of 5
        (AllKNN(), LINE[0][:4]),  # then among the three nearest of 4
    ],
)
def test_each_round_sees_what_the_earlier_ones_left(method, kept):
    assert places(method, *LINE) == [kept, LINE[1]]


@each([RepeatedENN(), AllKNN()])
def test_rounds_stop_once_a_class_is_smaller_than_the_rarest(method):
    common = [0.0, 1.0, 2.0, 3.0, 4.0]
    # 4 and 3 go, which leaves fewer than the four rare rows; another round would take 2
    kept, _ = places(method, common, [4.4, 90.0, 91.0, 92.0])
    assert kept == [0.0, 1.0, 2.0]


@each([ENN(), RepeatedENN(), NeighbourhoodCleaning()])
def test_fewer_rows_than_neighbours_are_all_looked_at_and_the_run_says_so(method):
    _, run = resampled(method, rows_at([0.0, 1.0], [5.0]))
    assert "3 rows: 2 of 3 neighbours" in run.notes


@each([ENN(), RepeatedENN(), AllKNN()])
def test_a_class_that_enn_would_empty_keeps_its_rows_and_the_run_says_so(method):
    kept, run = resampled(method, rows_at([0.0, 10.0], [0.1, 0.2, 0.3, 10.1, 10.2, 10.3], [50.0]))
    assert (kept.labels == 0).sum() == 2
    assert "classes that would lose all rows: original rows kept" in run.notes


CONDENSED = [0.5, 1.0, 2.0, 3.1, 10.0], [4.0, 30.0]


@pytest.mark.parametrize(
    ("first", "kept"),
    [
        # nearest rare rows are 3.5, 3, 2, 0.9 and 6 away
        (0.5, [0.5, 3.1, 10.0]),  # 3.1 is 2.6 from 0.5; 10 is 6.9 from 3.1
        (1.0, [1.0, 3.1, 10.0]),
        (2.0, [2.0, 3.1, 10.0]),  # 3.1 is 1.1 from 2
        (3.1, [3.1, 10.0]),
        (10.0, [0.5, 3.1, 10.0]),  # 0.5 is 9.5 from 10; 1 and 2 are near it
    ],
)
def test_condensing_keeps_the_rows_that_those_kept_before_do_not_tell(first, kept):
    place = CONDENSED[0].index(first)
    seed = next(s for s in range(100) if np.random.RandomState(s).randint(5) == place)
    assert places(CondensedNN(), *CONDENSED, seed=seed) == [kept, CONDENSED[1]]


def test_a_row_as_near_to_the_rarest_class_as_to_those_kept_is_kept():
    seed = next(s for s in range(100) if np.random.RandomState(s).randint(3) == 0)
    assert places(CondensedNN(), [0.0, 2.0, -1.0], [4.0], seed=seed)[0] == [0.0, 2.0]


@pytest.mark.parametrize("seed", range(5))
def test_condensing_agrees_with_imbalanced_learn_where_the_common_class_comes_first(seed):
    train = clouds((60, 20))
    kept, _ = resampled(CondensedNN(), train, seed)
    sampler = samplers.CondensedNearestNeighbour(random_state=seed)
    x, y = sampler.fit_resample(train.inputs.numpy(), train.labels.numpy())
    assert as_set(kept) == as_set(Rows(torch.from_numpy(x), torch.from_numpy(y)))


def test_condensing_does_not_depend_on_where_in_the_table_a_class_stands():
    train = clouds((60, 20))
    other_way = Rows(train.inputs.roll(20, 0), train.labels.roll(20, 0))
    assert as_set(resampled(CondensedNN(), train)[0]) == as_set(
        resampled(CondensedNN(), other_way)[0]
    )


def test_one_sided_selection_keeps_no_tomek_link_and_no_row_that_its_first_one_tells():
    # from 0 on: 1 and 2 are nearer to it than to 4.4 and go; 4 and 9 are kept, 4 in a link
    seed = next(s for s in range(100) if np.random.RandomState(s).randint(5) == 0)
    kept = places(OneSidedSelection(), [0.0, 1.0, 2.0, 4.0, 9.0], [4.4, 30.0], seed=seed)
    assert kept == [[0.0, 9.0], [4.4, 30.0]]


def test_neighbourhood_cleaning_removes_the_rows_that_outvote_a_rare_one_too():
    # no row of the common class is outvoted, but 5.1 is by 5 and 5.3, and 4.5 is its third nearest
    common = [0.0, 1.0, 4.5, 5.0, 5.3, 9.0, 10.0, 11.0]
    assert places(ENN(kind="mode"), common, [5.1, 50.0, 51.0, 52.0])[0] == common
    kept, rare = places(NeighbourhoodCleaning(), common, [5.1, 50.0, 51.0, 52.0])
    assert kept == [0.0, 1.0, 9.0, 10.0, 11.0]
    assert rare == [5.1, 50.0, 51.0, 52.0]


def test_the_hardest_rows_of_a_class_go():
    train = rows_at(
        [place / 9 for place in range(30)] + [10.05, 10.15], [10 + p / 10 for p in range(10)]
    )
    kept, _ = resampled(InstanceHardness(trees=20), train)
    assert (kept.labels == 1).sum() == 10
    assert 10 <= (kept.labels == 0).sum() <= 30
    assert kept.inputs[kept.labels == 0].max() < 10


def test_fewer_rows_than_folds_take_fewer_folds_and_the_run_says_so():
    _, run = resampled(InstanceHardness(trees=5), rows_at([0.0, 1.0, 2.0], [5.0]))
    assert run.notes == ["largest class of 3 rows: 3 of 5 folds"]


@pytest.mark.parametrize(
    ("method", "sampler"),
    [
        (SMOTEENN(), combine.SMOTEENN(random_state=3)),
        (
            SMOTEENN(nearby=5, kind="mode"),
            combine.SMOTEENN(
                enn=samplers.EditedNearestNeighbours(
                    n_neighbors=5, kind_sel="mode", sampling_strategy="all"
                ),
                random_state=3,
            ),
        ),
        (SMOTETomek(), combine.SMOTETomek(random_state=3)),
    ],
    ids=["smote-enn", "smote-enn-mode", "smote-tomek"],
)
def test_smote_and_cleaning_agree_with_imbalanced_learn(method, sampler):
    train = clouds((80, 40, 20))
    kept, run = resampled(method, train, seed=3)
    x, y = sampler.fit_resample(train.inputs.numpy(), train.labels.numpy())
    assert as_set(kept) == as_set(Rows(torch.from_numpy(x), torch.from_numpy(y)))
    assert run.notes == []


@each(GROWING)
def test_cleaning_after_smote_keeps_some_of_its_rows_in_their_order(method):
    train = shuffled(clouds((80, 40, 20)))
    kept, _ = resampled(method, train)
    grown, _ = resampled(SMOTE(), train)
    assert len(kept) < len(grown)
    places = [(grown.inputs == row).all(dim=1).nonzero().min().item() for row in kept.inputs]
    assert places == sorted(places)
    assert places[-1] >= len(train)


def links(rows):
    """The pairs of rows of two classes that are each other's nearest."""
    distance = torch.cdist(rows.inputs.double(), rows.inputs.double()).fill_diagonal_(torch.inf)
    nearest = distance.argmin(dim=1)
    return [
        (a, b)
        for a, b in enumerate(nearest.tolist())
        if a < b and nearest[b] == a and rows.labels[a] != rows.labels[b]
    ]


def test_smote_tomek_leaves_neither_row_of_any_link_that_smote_made():
    train = clouds((80, 40, 20))
    grown, _ = resampled(SMOTE(), train)
    linked = [row for pair in links(grown) for row in pair]
    assert len(linked) > 4
    rest = [row for row in range(len(grown)) if row not in linked]
    assert torch.equal(resampled(SMOTETomek(), train)[0].inputs, grown.inputs[rest])


def test_smote_tomek_leaves_no_links_where_none_arise_by_the_removal():
    kept, _ = resampled(SMOTETomek(), clouds((40, 20), distance=3.0))
    assert links(kept) == []


def test_the_removal_of_links_may_give_rise_to_another():
    # without 1.4 and 1.6, rows 0 and 3 are each other's nearest
    train = rows_at([0.0, 1.4, -50.0], [1.6, 3.0, 90.0])
    kept, _ = resampled(SMOTETomek(), train)
    assert kept.inputs[:, 0].tolist() == [0.0, -50.0, 3.0, 90.0]
    assert links(kept) == [(0, 2)]


@each(GROWING)
def test_a_class_that_cleaning_would_empty_keeps_its_original_rows_after_smote(method):
    # with three rows a class every row has a foreign one among its three nearest; and each row,
    # also the one that SMOTE makes, gets one of the other class on top of it as link
    made, _ = resampled(SMOTE(), rows_at([0.1, 10.1, 50.0], [0.0, 10.0]))
    train = rows_at([0.1, 10.1, made.inputs[-1].item() + 0.01], [0.0, 10.0])
    kept, run = resampled(method, train)
    assert torch.equal(kept.inputs, train.inputs)
    assert "classes that would lose all rows: original rows kept" in run.notes


@each(GROWING)
@pytest.mark.parametrize("few", [1, 2, 3, 4, 5])
def test_classes_of_one_to_five_rows_go_through_smote_and_cleaning(method, few):
    train = clouds((30, few), distance=5.0)
    kept, run = resampled(method, train)
    assert kept.labels.bincount()[1] > few
    expected = f"classes of {few} rows: {few - 1} of 5 neighbours"
    assert run.notes == [expected if few > 1 else "classes of 1 row: repeated"]
