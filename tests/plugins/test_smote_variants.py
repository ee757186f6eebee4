import random

import numpy as np
import pytest
import torch
from imblearn import over_sampling as samplers
from resampling import clouds, resampled, rows_at
from sklearn.svm import SVC

from ltbench import Rows
from ltbench_plugins.sampling.smote import SMOTE
from ltbench_plugins.sampling.smote_variants import SMOTENC, SVMSMOTE, KMeansSMOTE

VARIANTS = [SVMSMOTE(), KMeansSMOTE(), SMOTENC()]
each_variant = pytest.mark.parametrize("method", VARIANTS, ids=lambda method: method.name)


def with_letters(numbers, letters, labels, alphabet="ABC"):
    """A table of one number and one category, whose columns come first."""
    codes = torch.tensor([alphabet.index(letter) for letter in letters])
    return Rows(
        torch.cat([torch.eye(len(alphabet))[codes], torch.tensor(numbers)[:, None]], dim=1),
        torch.tensor(labels),
    )


def letters_of(rows, alphabet="ABC"):
    return [alphabet[code] for code in rows[:, : len(alphabet)].argmax(dim=1).tolist()]


def on_lines(new, own, low, high):
    """Whether each new row lies on the line through two own rows, from `low` to `high` of it."""
    own, new = own.double(), new.double()
    step = own[None] - own[:, None]
    length = (step**2).sum(dim=2).clamp(min=1e-12)
    found = []
    for row in new:
        place = ((row - own[:, None]) * step).sum(dim=2) / length
        nearest = own[:, None] + step * place.clamp(low, high)[..., None]
        found.append((nearest - row).norm(dim=2).min() < 1e-4)
    return all(found)


@each_variant
def test_the_original_rows_come_first_and_only_smaller_classes_grow(method):
    train = clouds((40, 15, 12), distance=1.0)
    grown, _ = resampled(method, train)
    assert torch.equal(grown.inputs[:67], train.inputs)
    assert torch.equal(grown.labels[:67], train.labels)
    sizes = grown.labels.bincount().tolist()
    assert sizes[0] == 40
    assert all(40 <= size < 40 + 8 for size in sizes[1:])


@each_variant
@pytest.mark.parametrize("few", [1, 2, 3, 4, 5])
def test_classes_of_one_to_five_rows_grow_to_the_largest(method, few):
    grown, run = resampled(method, clouds((30, few), distance=1.0))
    assert 30 <= grown.labels.bincount()[1] < 30 + 8
    wanted = method.neighbours
    expected = f"classes of {few} rows: {few - 1} of {wanted} neighbours"
    if few == 1:
        expected = "classes of 1 row: repeated"
    assert (expected in run.notes) == (few <= wanted)


@each_variant
def test_one_seed_gives_the_same_bytes_and_nothing_else_moves(method):
    train = clouds((40, 15, 3, 1), distance=1.0)
    before = train.inputs.clone()
    states = torch.get_rng_state(), np.random.get_state()[1:3], random.getstate()
    first, second = resampled(method, train, seed=3)[0], resampled(method, train, seed=3)[0]
    assert torch.equal(first.inputs, second.inputs)
    assert torch.equal(train.inputs, before)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1][0])
    assert np.random.get_state()[2] == states[1][1]
    assert random.getstate() == states[2]


@each_variant
def test_other_seeds_give_other_rows(method):
    train = clouds((40, 15), distance=1.0)
    first, second = resampled(method, train, seed=1)[0], resampled(method, train, seed=2)[0]
    assert not torch.equal(first.inputs[55:85], second.inputs[55:85])


@each_variant
def test_a_class_grows_by_the_same_rows_whatever_its_number(method):
    train = clouds((40, 15, 8), distance=1.0)
    new_name = torch.tensor([1, 2, 0])
    grown, _ = resampled(method, train)
    renamed, _ = resampled(method, Rows(train.inputs, new_name[train.labels]))
    for c in range(3):
        assert torch.equal(
            grown.inputs[grown.labels == c], renamed.inputs[renamed.labels == new_name[c]]
        )


@each_variant
def test_rows_of_bytes_are_interpolated_as_numbers_and_rounded(method):
    chance = torch.Generator().manual_seed(0)
    images = torch.randint(256, (36, 1, 3, 3), generator=chance, dtype=torch.uint8)
    labels = torch.tensor([0] * 24 + [1] * 12)
    grown, _ = resampled(method, Rows(images, labels))
    as_numbers, _ = resampled(method, Rows(images.float(), labels))
    assert grown.inputs.dtype == torch.uint8
    assert grown.inputs.shape[1:] == (1, 3, 3)
    expected = as_numbers.inputs.round().clamp(0, 255).to(torch.uint8)
    assert torch.equal(grown.inputs, expected)


@each_variant
def test_other_mistakes_are_not_taken_for_a_fallback(method):
    train = clouds((20, 8), distance=0.3)
    train.inputs[0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        resampled(method, train)


def both_ways():
    """Two classes whose support vectors step both ways."""
    return clouds((40, 20), distance=1.5)


@pytest.mark.parametrize(
    ("method", "options"),
    [(SVMSMOTE(), {}), (SVMSMOTE(3, 6), {"k_neighbors": 3, "m_neighbors": 6})],
)
def test_svm_smote_agrees_with_imbalanced_learn_where_it_fills_the_class(method, options):
    train = both_ways()
    grown, run = resampled(method, train, seed=3)
    sampler = samplers.SVMSMOTE(random_state=3, **options)
    x, y = sampler.fit_resample(train.inputs.numpy(), train.labels.numpy())
    assert torch.equal(grown.inputs, torch.from_numpy(x))
    assert torch.equal(grown.labels, torch.from_numpy(y))
    assert run.notes == []


def test_rows_of_svm_smote_lie_between_two_rows_of_their_class_or_up_to_half_as_far_before():
    train = both_ways()
    grown, _ = resampled(SVMSMOTE(), train)
    own = train.inputs[train.labels == 1]
    new = grown.inputs[len(train) :]
    assert on_lines(new, own, -0.5, 1)
    assert not on_lines(new, own, 0, 1)


def test_svm_smote_starts_from_support_vectors_alone():
    train = both_ways()
    support = SVC(gamma="scale").fit(train.inputs.numpy(), train.labels.numpy()).support_
    start = train.inputs[[i for i in support.tolist() if train.labels[i] == 1]]
    own = train.inputs[train.labels == 1].double()
    new = resampled(SVMSMOTE(), train)[0].inputs[len(train) :].double()
    for row in new:
        toward = own[None] - start[:, None].double()
        away = row - start[:, None].double()
        cross = (toward * away).sum(-1).abs() - toward.norm(dim=-1) * away.norm(dim=-1)
        assert cross[toward.norm(dim=-1) > 0].abs().min() < 1e-4


def test_a_class_that_imbalanced_learn_leaves_short_is_filled_up_and_the_run_says_so():
    train = clouds((40, 20), distance=20.0)  # no support vector has a foreign neighbour
    x, y = samplers.SVMSMOTE(random_state=1).fit_resample(
        train.inputs.numpy(), train.labels.numpy()
    )
    assert np.bincount(y)[1] < 40
    grown, run = resampled(SVMSMOTE(), train, seed=1)
    assert grown.labels.bincount().tolist() == [40, 40]
    assert run.notes == ["classes whose support vectors all step one way: filled up"]


def test_a_class_whose_support_vectors_are_all_noise_is_grown_by_smote():
    places = [float(place) for place in range(30)]
    train = rows_at(places, [5.5, 15.5, 25.5])
    grown, run = resampled(SVMSMOTE(nearby=2), train, seed=1)
    assert torch.equal(grown.inputs, resampled(SMOTE(), train, seed=1)[0].inputs)
    assert run.notes[-1] == "classes whose support vectors are all noise: grown by SMOTE"


def test_fewer_rows_than_svm_smote_looks_at_are_all_looked_at():
    grown, _ = resampled(SVMSMOTE(), rows_at([0.0, 1.0, 2.0, 3.0], [2.5, 5.0]))
    assert grown.labels.bincount().tolist() == [4, 4]


@pytest.mark.parametrize("distance", [1.5, 6.0])
def test_kmeans_smote_agrees_with_imbalanced_learn_where_every_class_has_a_cluster(distance):
    train = clouds((60, 30, 20), distance)
    grown, run = resampled(KMeansSMOTE(), train, seed=3)
    x, y = samplers.KMeansSMOTE(random_state=3).fit_resample(
        train.inputs.numpy(), train.labels.numpy()
    )
    assert torch.equal(grown.inputs, torch.from_numpy(x))
    assert torch.equal(grown.labels, torch.from_numpy(y))
    assert run.notes == []


def test_every_row_of_kmeans_smote_lies_between_two_rows_of_its_class():
    train = clouds((60, 30, 20), distance=6.0)
    grown, _ = resampled(KMeansSMOTE(), train)
    new = grown[torch.arange(len(grown)) >= len(train)]
    for c in (1, 2):
        assert on_lines(new.inputs[new.labels == c], train.inputs[train.labels == c], 0, 1)


def test_kmeans_smote_grows_a_class_only_in_the_cluster_of_which_it_has_half():
    common = [place / 20 for place in range(20)] + [100.0, 100.1]
    rare = [0.01, 0.21, 0.41, 0.61] + [100 + place / 7 for place in range(6)]
    train = rows_at(common, rare)
    grown, _ = resampled(KMeansSMOTE(clusters=2), train)
    new = grown.inputs[len(train) :]
    assert len(new) == 12
    assert new.min() >= 100


@pytest.mark.parametrize(
    ("common", "rare"),
    [
        ([place / 20 for place in range(20)], [0.11, 0.41, 0.81]),  # no cluster is half rare
        ([place / 20 for place in range(20)], [50.0, 50.0, 50.0]),  # a density of 0 / 0
    ],
)
def test_a_class_with_no_cluster_to_grow_in_is_grown_by_smote(common, rare):
    train = rows_at(common, rare)
    grown, run = resampled(KMeansSMOTE(), train, seed=1)
    assert torch.equal(grown.inputs, resampled(SMOTE(neighbours=2), train, seed=1)[0].inputs)
    assert run.notes == ["classes with no cluster to grow in: grown by SMOTE"]


def test_fewer_rows_than_clusters_are_clustered_one_by_one():
    train = rows_at([0.0, 1.0, 2.0], [9.0, 9.5])
    grown, _ = resampled(KMeansSMOTE(), train)
    assert grown.labels.bincount().tolist() == [3, 3]


def mixed(counts):
    """Two numbers among the columns of two categories, one of three values and one of two."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    chance = torch.Generator().manual_seed(0)
    numbers = torch.randn(len(labels), 2, generator=chance) + labels[:, None]
    three, two = (torch.randint(n, (len(labels),), generator=chance) for n in (3, 2))
    columns = [torch.eye(3)[three], numbers[:, :1], torch.eye(2)[two], numbers[:, 1:]]
    return Rows(torch.cat(columns, dim=1), labels), (slice(0, 3), slice(4, 6)), (three, two)


def test_categories_of_new_rows_stay_in_the_vocabulary():
    train, blocks, _ = mixed((30, 12, 3, 1))
    grown, _ = resampled(SMOTENC(), train, categorical=blocks)
    for block in blocks:
        assert torch.equal(grown.inputs[:, block].unique(), torch.tensor([0.0, 1.0]))
        assert torch.equal(grown.inputs[:, block].sum(dim=1), torch.ones(len(grown)))


def test_smote_nc_agrees_with_imbalanced_learn_on_codes():
    train, blocks, (three, two) = mixed((30, 12, 8))
    grown, run = resampled(SMOTENC(), train, seed=3, categorical=blocks)
    codes = torch.stack([train.inputs[:, 3], train.inputs[:, 6], three, two], dim=1)
    sampler = samplers.SMOTENC([2, 3], random_state=3)
    x, y = map(torch.from_numpy, sampler.fit_resample(codes.numpy(), train.labels.numpy()))
    assert torch.equal(grown.inputs[:, [3, 6]], x[:, :2])
    assert torch.equal(grown.inputs[:, :3].argmax(dim=1), x[:, 2].long())
    assert torch.equal(grown.inputs[:, 4:6].argmax(dim=1), x[:, 3].long())
    assert torch.equal(grown.labels, y)
    assert run.notes == []


def test_a_new_row_takes_the_category_most_frequent_among_the_neighbours():
    # each of the four rare rows has the other three as neighbours: A at least twice among them
    train = with_letters([50.0] * 12 + [0.0, 1.0, 2.0, 3.0], "C" * 12 + "AAAB", [0] * 12 + [1] * 4)
    grown, _ = resampled(SMOTENC(neighbours=3), train, categorical=(slice(0, 3),))
    assert letters_of(grown.inputs[16:]) == ["A"] * 8


@pytest.mark.parametrize(
    ("fourth", "letters"),
    [
        # deviation 0.41 without it: B at 0.5 is 0.65 from A at 0 and at 1, which are 1 apart
        (None, {"A", "B"}),
        # deviation 43 with it: another letter is far, so A's nearest is always A, and B's too
        (100.0, {"A"}),
    ],
)
def test_another_category_is_as_far_as_the_median_deviation_of_the_numbers(fourth, letters):
    rare = [0.0, 1.0, 0.5] + ([] if fourth is None else [fourth])
    labels = [0] * 30 + [1] * len(rare)
    train = with_letters([50.0] * 30 + rare, "C" * 30 + "AABA"[: len(rare)], labels)
    grown, _ = resampled(SMOTENC(neighbours=1), train, categorical=(slice(0, 3),))
    assert set(letters_of(grown.inputs[len(train) :])) == letters


def test_numbers_of_new_rows_lie_between_two_rows_of_their_class():
    train, blocks, _ = mixed((30, 12))
    grown, _ = resampled(SMOTENC(), train, categorical=blocks)
    numbers = grown.inputs[:, [3, 6]]
    assert on_lines(numbers[len(train) :], numbers[: len(train)][train.labels == 1], 0, 1)


def test_categories_alone_are_grown_as_smote_n_does():
    train, _, (three, two) = mixed((30, 12, 8))
    one_hot = train.inputs[:, [0, 1, 2, 4, 5]]
    blocks = (slice(0, 3), slice(3, 5))
    grown, _ = resampled(SMOTENC(), Rows(one_hot, train.labels), seed=3, categorical=blocks)
    codes = torch.stack([three, two], dim=1).numpy()
    x, y = samplers.SMOTEN(random_state=3).fit_resample(codes, train.labels.numpy())
    found = torch.stack([grown.inputs[:, block].argmax(dim=1) for block in blocks], dim=1)
    assert torch.equal(found, torch.from_numpy(x))
    assert torch.equal(grown.labels, torch.from_numpy(y))


def test_categories_alone_become_the_most_frequent_of_a_row_and_its_neighbours():
    # with three neighbours all four rare rows vote: A twice, B and C once
    letters = torch.eye(3)[[2] * 12 + [0, 0, 1, 2]]
    train = Rows(letters, torch.tensor([0] * 12 + [1] * 4))
    grown, _ = resampled(SMOTENC(neighbours=3), train, categorical=(slice(0, 3),))
    assert letters_of(grown.inputs[16:]) == ["A"] * 8


@pytest.mark.parametrize("few", [1, 2, 3, 4, 5])
def test_small_classes_with_categories_alone_grow_too(few):
    chance = torch.Generator().manual_seed(0)
    codes = torch.randint(3, (20 + few,), generator=chance)
    train = Rows(torch.eye(3)[codes], torch.tensor([0] * 20 + [1] * few))
    grown, _ = resampled(SMOTENC(), train, categorical=(slice(0, 3),))
    assert grown.labels.bincount().tolist() == [20, 20]


def test_rare_rows_whose_numbers_are_all_the_same_keep_their_categories():
    train = with_letters([5.0] * 12 + [1.0] * 4, "C" * 12 + "AAAB", [0] * 12 + [1] * 4)
    grown, _ = resampled(SMOTENC(neighbours=3), train, categorical=(slice(0, 3),))
    assert set(letters_of(grown.inputs[16:])) <= {"A", "B"}
    assert grown.inputs[16:, 3].tolist() == [1.0] * 8


def test_without_categories_smote_nc_is_smote_and_the_run_says_so():
    train = clouds((40, 15, 3), distance=1.0)
    grown, run = resampled(SMOTENC(), train, seed=3)
    expected, smote = resampled(SMOTE(), train, seed=3)
    assert torch.equal(grown.inputs, expected.inputs)
    assert "no categorical columns: the same as smote" in run.notes
    assert set(run.notes) - set(smote.notes) == {"no categorical columns: the same as smote"}
