import random

import numpy as np
import pytest
import torch
from imblearn import under_sampling as samplers
from resampling import clouds, resampled, rows_at, shuffled

from ltbench import Rows
from ltbench_plugins.sampling.prototypes import ClusterCentroids, NearMiss, VQUndersampling

NEAR = [NearMiss(), NearMiss(version=2), NearMiss(version=3)]
METHODS = [*NEAR, ClusterCentroids(), ClusterCentroids(voting="hard"), VQUndersampling()]


def each(methods):
    names = [f"{m.name}-{'-'.join(map(str, vars(m).values()))}" for m in methods]
    return pytest.mark.parametrize("method", methods, ids=names)


def as_set(rows):
    pairs = zip(rows.inputs.flatten(1).tolist(), rows.labels.tolist(), strict=True)
    return sorted((*place, label) for place, label in pairs)


@each(METHODS)
@pytest.mark.parametrize("counts", [(30, 20, 8), (20, 20, 8), (30, 8, 8)])
def test_the_same_rows_come_out_whatever_the_numbers_of_the_classes(method, counts):
    train = shuffled(clouds(counts))
    new_name = torch.tensor([2, 1, 0])
    out, _ = resampled(method, train)
    renamed, _ = resampled(method, Rows(train.inputs, new_name[train.labels]))
    assert torch.equal(out.inputs, renamed.inputs)
    assert torch.equal(new_name[out.labels], renamed.labels)


@each(METHODS)
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


@each(METHODS)
def test_rows_of_bytes_are_measured_as_numbers_and_means_of_them_rounded(method):
    chance = torch.Generator().manual_seed(0)
    images = torch.randint(256, (36, 1, 3, 3), generator=chance, dtype=torch.uint8)
    labels = torch.tensor([0] * 24 + [1] * 12)
    out, _ = resampled(method, Rows(images, labels))
    as_numbers, _ = resampled(method, Rows(images.float(), labels))
    assert out.inputs.dtype == torch.uint8
    assert torch.equal(out.inputs, as_numbers.inputs.round().to(torch.uint8))


@each(METHODS)
@pytest.mark.parametrize("few", [1, 2, 3, 4, 5])
def test_a_rarest_class_of_one_to_five_rows_is_enough(method, few):
    out, _ = resampled(method, clouds((20, few, few + 1), distance=0.5))
    counts = out.labels.bincount(minlength=3)
    assert (counts > 0).all()
    assert counts.max() <= few


@each([*NEAR, ClusterCentroids(), ClusterCentroids("hard")])
def test_equally_common_classes_lose_nothing_and_the_run_says_so(method):
    train = clouds((9, 9), distance=0.1)
    out, run = resampled(method, train)
    assert torch.equal(out.inputs, train.inputs)
    assert run.notes == ["no class is rarer than the others: nothing removed"]


@each(NEAR)
def test_nearmiss_keeps_original_rows_in_their_order(method):
    train = shuffled(clouds((40, 15, 8)))
    kept, _ = resampled(method, train)
    index = [(train.inputs == row).all(dim=1).nonzero().item() for row in kept.inputs]
    assert index == sorted(set(index))
    assert torch.equal(train.labels[index], kept.labels)
    assert (kept.labels == 2).sum() == 8


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize(("neighbours", "candidates"), [(3, 3), (2, 5)])
def test_nearmiss_agrees_with_imbalanced_learn(version, neighbours, candidates):
    train = shuffled(clouds((40, 15, 8)))
    kept, run = resampled(NearMiss(version, neighbours, candidates), train)
    sampler = samplers.NearMiss(
        version=version, n_neighbors=neighbours, n_neighbors_ver3=candidates
    )
    x, y = sampler.fit_resample(train.inputs.numpy(), train.labels.numpy())
    assert as_set(kept) == as_set(Rows(torch.from_numpy(x), torch.from_numpy(y)))
    assert run.notes == []


@pytest.mark.parametrize(
    ("method", "kept"),
    [
        # mean distance to the two nearest rare rows: 3.5, 9, 24.5, 6.5 and 13.5
        (NearMiss(neighbours=2), [4.0, 9.5, -6.0]),
        # distance to the farthest: 26, 20.5, 40, 36 and 16
        (NearMiss(version=2, neighbours=1), [4.0, 9.5, 14.0]),
        # all but 9.5 are of the two nearest to a rare row, and 3, 10, 6 and 13 from their nearest
        (NearMiss(version=3, neighbours=1, candidates=2), [40.0, -6.0, 14.0]),
    ],
)
def test_nearmiss_chooses_by_the_distance_to_rare_rows(method, kept):
    train = rows_at([4.0, 9.5, 40.0, -6.0, 14.0], [0.0, 1.0, 30.0])
    out, _ = resampled(method, train)
    assert out.inputs[:, 0].tolist() == [*kept, 0.0, 1.0, 30.0]


def test_nearmiss_3_keeps_fewer_rows_where_candidates_are_few_and_the_run_says_so():
    train = rows_at([4.0, 9.5, 40.0, -6.0, 14.0], [0.0, 1.0, 30.0])
    out, run = resampled(NearMiss(version=3, candidates=1), train)
    assert out.inputs[out.labels == 0, 0].tolist() == [4.0, 40.0]
    assert run.notes == ["classes with too few candidates: fewer rows than the rarest class"]


@each(NEAR)
def test_a_rarest_class_of_fewer_rows_than_neighbours_is_named(method):
    _, run = resampled(method, clouds((20, 2)))
    assert "rarest class of 2 rows: 2 of 3 neighbours" in run.notes


@pytest.mark.parametrize(("voting", "kept"), [("soft", [1.0, 12.0]), ("hard", [1.0, 11.0])])
def test_means_of_clusters_or_the_rows_nearest_to_them_stand_for_a_common_class(voting, kept):
    train = rows_at([0.0, 1.0, 2.0, 10.0, 11.0, 15.0], [5.0, 6.0])
    out, _ = resampled(ClusterCentroids(voting), train)
    assert out.inputs[:2, 0].tolist() == [5.0, 6.0]
    assert sorted(out.inputs[2:, 0].tolist()) == pytest.approx(kept)
    assert out.labels.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("voting", ["soft", "hard"])
def test_cluster_centroids_agree_with_imbalanced_learn_on_classes_named_from_the_rarest(voting):
    train = clouds((10, 20, 40))
    out, run = resampled(ClusterCentroids(voting), train, seed=3)
    x, y = samplers.ClusterCentroids(random_state=3, voting=voting).fit_resample(
        train.inputs.numpy(), train.labels.numpy()
    )
    assert torch.equal(out.inputs, torch.from_numpy(x))
    assert torch.equal(out.labels, torch.from_numpy(y))
    assert run.notes == []


def test_the_rows_of_the_rarest_class_come_first_and_as_they_are():
    train = shuffled(clouds((40, 8, 20)))
    out, _ = resampled(ClusterCentroids(), train)
    assert torch.equal(out.inputs[:8], train.inputs[train.labels == 1])
    assert out.labels.bincount().tolist() == [8, 8, 8]


@each([ClusterCentroids(), ClusterCentroids("hard"), VQUndersampling(budget=1)])
def test_a_class_of_equal_rows_is_its_own_mean_as_often_as_is_asked_for(method):
    train = rows_at([3.0] * 10, [5.0, 6.0, 7.0])
    out, _ = resampled(method, train)
    assert out.inputs[out.labels == 0, 0].tolist() == [3.0] * 3


@each([ClusterCentroids(), ClusterCentroids("hard")])
def test_means_that_are_the_same_are_named(method):
    _, run = resampled(method, rows_at([3.0] * 10, [5.0, 6.0, 7.0]))
    assert run.notes == ["classes some of whose means are the same"]


def test_each_class_becomes_half_as_many_means_as_the_rarest_has_rows():
    train = rows_at([0.0, 1.0, 2.0, 10.0, 11.0, 15.0], [5.0, 5.5, 8.0, 8.5])
    out, run = resampled(VQUndersampling(), train)
    assert sorted(out.inputs[out.labels == 0, 0].tolist()) == pytest.approx([1.0, 12.0])
    assert sorted(out.inputs[out.labels == 1, 0].tolist()) == pytest.approx([5.25, 8.25])
    assert run.notes == []


@pytest.mark.parametrize(
    ("budget", "each_has"), [(0.5, 4), (1.0, 9), (0.3, 3), (0.01, 1), (0.0, 1)]
)
def test_every_class_has_an_equal_number_of_prototypes(budget, each_has):
    out, _ = resampled(VQUndersampling(budget), shuffled(clouds((40, 9, 20))))
    assert out.labels.bincount().tolist() == [each_has] * 3


def test_each_prototype_is_the_mean_of_the_rows_nearest_to_it():
    train = clouds((60, 12))
    out, _ = resampled(VQUndersampling(), Rows(train.inputs.double(), train.labels))
    for c in (0, 1):
        own, prototypes = train.inputs[train.labels == c].double(), out.inputs[out.labels == c]
        cluster = torch.cdist(own, prototypes).argmin(dim=1)
        means = torch.stack([own[cluster == k].mean(dim=0) for k in range(len(prototypes))])
        torch.testing.assert_close(means, prototypes)


def test_with_the_whole_budget_the_rarest_class_stays_as_it_is():
    train = clouds((40, 9))
    out, _ = resampled(VQUndersampling(budget=1), train)
    assert torch.equal(out.inputs[out.labels == 1], train.inputs[40:])


def test_fewer_different_rows_than_prototypes_are_repeated_and_the_run_says_so():
    train = rows_at([3.0] * 5 + [4.0] * 5, [5.0, 6.0, 7.0])
    out, run = resampled(VQUndersampling(budget=1), train)
    assert sorted(set(out.inputs[out.labels == 0, 0].tolist())) == [3.0, 4.0]
    assert out.labels.bincount().tolist() == [3, 3]
    assert run.notes == ["classes with fewer different rows than prototypes: prototypes repeated"]
