import math

import pytest
import torch
from of_incremental import float64
from released_incremental import SEED_COVARIANCES, SEED_FEATURES, SEED_MEANS, SEED_PREDICTED

from ltbench_plugins.incremental.seed import BayesHead, divergence, gaussians, positive, shares

FEATURES = float64(SEED_FEATURES)  # [N, E, D]
MEANS = [float64(one) for one in SEED_MEANS]
COVARIANCES = [float64(one) for one in SEED_COVARIANCES]


def density(x, mean, covariance):
    """The logarithm of a Gaussian's density, without what all classes share."""
    gap = x - mean
    return -(gap @ covariance.inverse() @ gap).item() / 2 - covariance.det().log().item() / 2


def test_predictions_are_those_of_the_released_code_and_shares_are_as_written():
    head = BayesHead(MEANS, COVARIANCES, 3.0)
    scores = head(FEATURES.flatten(1))
    assert scores.argmax(1).tolist() == SEED_PREDICTED
    for row, found in zip(FEATURES, scores.exp(), strict=True):
        told = [0.0] * 4
        for k, first in ((0, 0), (1, 2)):
            logs = [
                density(row[k], mean, covariance) / 3
                for mean, covariance in zip(MEANS[k], COVARIANCES[k], strict=True)
            ]
            whole = sum(map(math.exp, logs))
            for c, one in enumerate(logs, first):
                told[c] += math.exp(one) / whole / (1 if c < 2 else 2)
        torch.testing.assert_close(found, float64(told), rtol=0, atol=1e-9)


def test_one_expert_gives_shares_that_sum_to_one():
    factors = torch.linalg.cholesky(COVARIANCES[0])[None]
    known = torch.ones(1, 4, dtype=torch.bool)
    found = shares(FEATURES[:, :1], MEANS[0][None], factors, known, 3.0)
    torch.testing.assert_close(found.sum(1), torch.ones(5).double())


def test_divergence_is_the_mean_over_ordered_pairs():
    pairs = []
    for n in range(4):
        for o in range(4):
            first, second = COVARIANCES[0][n], COVARIANCES[0][o]
            gap = MEANS[0][o] - MEANS[0][n]
            inverse, volume = second.inverse(), (second.det() / first.det()).log()
            pairs.append(((inverse @ first).trace() + gap @ inverse @ gap - 2 + volume) / 2)
    found = divergence(MEANS[0], COVARIANCES[0])
    assert found.item() == pytest.approx(torch.stack(pairs).mean().item(), abs=1e-6)
    assert divergence(MEANS[0][:1], COVARIANCES[0][:1]).item() == pytest.approx(0, abs=1e-9)


def test_gaussians_are_sample_moments_and_shrink_to_a_sphere():
    chance = torch.Generator().manual_seed(0)
    rows = torch.randn(7, 2, generator=chance).double()
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    means, spread = gaussians(rows, labels, 3, 0.0)
    torch.testing.assert_close(means[0], rows[:4].mean(0))
    torch.testing.assert_close(spread[0], rows[:4].T.cov())
    _, round_ = gaussians(rows, labels, 3, 1.0)
    torch.testing.assert_close(round_[0], torch.eye(2).double() * rows[:4].var(0).mean())
    usual = (rows[:4].var(0).mean() + rows[4:6].var(0).mean()) / 2
    torch.testing.assert_close(spread[2], torch.eye(2).double() * usual)  # of one row


def test_a_singular_covariance_gets_as_little_as_it_needs():
    sound, flat = torch.eye(2).double(), float64([[1.0, 1.0], [1.0, 1.0]])
    found = positive(torch.stack([sound, flat]))
    assert torch.equal(found[0], sound)
    assert 0 < (found[1] - flat)[0, 0] <= 1e-7
    torch.linalg.cholesky(found)
