import numpy as np
import pytest
import torch
from resampling import clouds, resampled
from sklearn.linear_model import LogisticRegression

from ltbench import LTBenchError, Rows
from ltbench_plugins.sampling.train_share import TrainShare, drawn
from ltbench_plugins.sampling.undersampling import Undersampling


@pytest.mark.parametrize(
    ("p", "size", "taken"),
    [(0.5, 20, [10, 10]), (0.2, 20, [16, 4]), (0.9, 10, [1, 9]), (0.01, 10, [9, 1])],
)
def test_a_share_of_the_rows_is_of_the_rare_class(p, size, taken):
    rows, _ = resampled(TrainShare(p, size), clouds((90, 10)))
    assert rows.labels.bincount().tolist() == taken
    assert len(rows.inputs.unique(dim=0)) == size


def test_without_a_size_there_are_as_many_rows_as_of_the_rare_class_at_any_share():
    for p in (0.05, 0.3, 0.95):
        rows, _ = resampled(TrainShare(p), clouds((90, 40)))
        assert len(rows) == 40


def test_one_half_at_twice_the_rare_class_is_undersampling_row_for_row():
    train = clouds((90, 10))
    ours, _ = resampled(TrainShare(0.5, 20), train)
    balanced, _ = resampled(Undersampling(), train)
    assert torch.equal(ours.inputs, balanced.inputs)
    assert torch.equal(ours.labels, balanced.labels)


def test_the_same_seed_draws_the_same_rows_and_larger_shares_hold_the_smaller():
    train = clouds((90, 40))
    first, again, other = (resampled(TrainShare(0.2), train, seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, other.inputs)
    more, _ = resampled(TrainShare(0.6), train)
    assert torch.equal(more.inputs[more.labels == 1][:8], first.inputs[first.labels == 1])


def test_of_equal_classes_swapped_names_swap_the_share():
    train = clouds((30, 30))
    swapped = Rows(train.inputs, 1 - train.labels)
    for p in (0.2, 0.4, 0.7):
        rows, _ = resampled(TrainShare(p), train)
        other, _ = resampled(TrainShare(1 - p), swapped)
        assert rows.labels.bincount().tolist() == (1 - other.labels).bincount().tolist()
        for c in (0, 1):
            ours, theirs = rows.inputs[rows.labels == c], other.inputs[other.labels == 1 - c]
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("p", "size", "told"),
    [
        (0.5, 40, "are 20 of class 1, which has 10: a smaller size"),
        (0.1, 101, "are 91 of class 0, which has 90"),
        (1.0, 10, "leave a class without rows"),
        (0.5, 1, "leave a class without rows"),
    ],
)
def test_shares_that_cannot_be_drawn_are_refused_in_a_line(p, size, told):
    with pytest.raises(LTBenchError, match=told):
        drawn(p, size, [90, 10], 1)


def noisy_perceptron(seed, noise, n=30000, dimensions=25, share=0.05):
    """Rows to train on, with a noisy threshold of which `share` lie above it, and clean ones."""
    chance = np.random.default_rng(seed)
    teacher = chance.normal(size=dimensions) / dimensions**0.5
    x = chance.normal(size=(n, dimensions))
    field = x @ teacher
    border = np.quantile(field, 1 - share)
    told = field[: n // 2] + noise * chance.normal(size=n // 2) > border
    train = Rows(torch.from_numpy(x[: n // 2]), torch.from_numpy(told).long())
    return train, x[n // 2 :], field[n // 2 :] > border


def balanced_accuracy(p, seed, noise):
    train, x, y = noisy_perceptron(seed, noise)
    rows, _ = resampled(TrainShare(p, 600), train, seed)
    learner = LogisticRegression().fit(rows.inputs.numpy(), rows.labels.numpy())
    right = learner.predict(x) == y
    return (right[y].mean() + right[~y].mean()) / 2


def test_noisy_labels_move_the_best_share_below_one_half():
    gains = [balanced_accuracy(0.25, s, 0.3) - balanced_accuracy(0.5, s, 0.3) for s in range(3)]
    extremes = [balanced_accuracy(0.25, s, 0.3) - balanced_accuracy(0.03, s, 0.3) for s in range(3)]
    assert min(gains) > 0
    assert min(extremes) > 0
