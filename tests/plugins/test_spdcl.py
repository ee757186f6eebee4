import pytest
import torch
from torch import nn

from ltbench import Rows, recipe
from ltbench.testing import probe_loss
from ltbench.testing.probes import probe_run
from ltbench.tracks.language.contract import LanguageGrants

COUNTS = (4, 2, 1)
LABELS = torch.tensor([0, 1, 0, 2, 0, 1, 0])
RIGHT = (0.9, 0.2, 0.3, 0.4, 0.7, 0.6, 0.5)  # p_y of each row


class Given(nn.Module):
    """A network that puts out its inputs."""

    head = nn.Identity()

    def features(self, x):
        return x


def weights(text="spdcl", progress=0.0, right=RIGHT, labels=LABELS, counts=COUNTS, hard=None):
    method = recipe(text)
    run = probe_run(method, counts, torch.float64, progress)
    p = torch.tensor(right, dtype=torch.float64)
    shares = ((1 - p) / 2)[:, None].repeat(1, 3)
    shares[range(len(p)), labels] = p
    run.model, run.train = Given(), Rows(shares.log(), labels)
    if hard is not None:
        run.granted = LanguageGrants(difficulty=torch.tensor(hard))
    return method.sampling_weights(labels, run)


def test_the_draw_by_hand():
    # p_y is 0.6 in the mean of class 0, 0.4 of class 1 and of class 2: a pace of 7/15
    pace = 7 / 15
    found = weights()
    # the easiest 2 of 4 rows, 1 of 2, and 1 of 1
    expected = [4 ** (1 - pace) / 2, 0, 0, 1, 4 ** (1 - pace) / 2, 2 ** (1 - pace), 0]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def test_how_hard_texts_read_counts_half():
    pace = 7 / 15
    # means of class 0 are 0.5, 0.65, 0.25 and 0.35, those of class 1 are 0.4 and 0.7
    hard = [0.9, 0.0, 0.6, 0.5, 0.2, 1.0, 0.2]
    found = weights(hard=hard)
    assert found.tolist() == pytest.approx(
        [0, 2 ** (1 - pace), 0, 1, 4 ** (1 - pace) / 2, 0, 4 ** (1 - pace) / 2], abs=1e-12
    )
    assert torch.equal(weights("spdcl(linguistic=False)", hard=hard), weights())


def test_texts_that_are_equally_hard_change_nothing():
    for progress in (0.0, 0.5, 0.75, 1.0):
        assert torch.equal(weights(progress=progress, hard=[0.5] * 7), weights(progress=progress))


def test_the_pace_is_never_behind_the_training():
    found = weights(progress=0.75)
    # 3 of 4 rows, 2 of 2, and 1 of 1
    common, middle = 4**0.25 / 3, 2**0.25 / 2
    expected = [common, middle, 0, 1, common, middle, common]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def test_the_pace_is_at_least_the_start():
    hopeless = [0.01] * 7
    found = weights("spdcl(start=0.5)", right=hopeless)
    assert LABELS.bincount(found).tolist() == pytest.approx([4**0.5, 2**0.5, 1])
    assert LABELS[found > 0].bincount().tolist() == [2, 1, 1]


def test_a_network_that_has_learnt_all_is_shown_all_rows_of_balanced_classes():
    found = weights(right=[1 - 1e-12] * 7)
    torch.testing.assert_close(found, (1 / LABELS.bincount().double())[LABELS])


def test_the_end_of_the_training_is_oversampling():
    assert torch.equal(weights(progress=1.0), (1 / LABELS.bincount())[LABELS].double())


def test_equally_easy_rows_still_fill_each_class():
    found = weights(right=[0.4] * 7)
    assert LABELS[found > 0].bincount().tolist() == [2, 1, 1]


def test_the_classes_grow_more_equal_as_the_pace_rises():
    drawn = [LABELS.bincount(weights(progress=p)) for p in (0.5, 0.7, 0.9)]
    largest = [float(d.max() / d.sum()) for d in drawn]
    assert largest == sorted(largest, reverse=True)
    assert largest[0] > largest[-1] > 1 / 3


def test_the_loss_is_plain_cross_entropy():
    scores = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    loss = probe_loss("spdcl", scores, LABELS, COUNTS)
    plain = nn.functional.cross_entropy(scores, LABELS)
    torch.testing.assert_close(loss, plain)
    (slope,) = torch.autograd.grad(loss, scores)
    torch.testing.assert_close(slope, torch.autograd.grad(plain, scores)[0])
