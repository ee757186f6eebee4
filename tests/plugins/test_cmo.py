import pytest
import torch
from by_hand import COUNTS
from scipy.stats import chisquare

from ltbench import Batch, LTBenchError, Rows, recipe
from ltbench.contract.context import Output
from ltbench.testing.probes import probe_run
from ltbench.training.engine import objective

LABELS = torch.arange(3).repeat_interleave(torch.tensor(COUNTS))


def prepared(text="cmo(probability=1)", seed=0, progress=0.5, size=(8, 8)):
    """A run whose stored images are all as bright as their class is high."""
    method = recipe(text)
    run = probe_run(method, COUNTS, torch.float64, progress)
    run.rng.manual_seed(seed)
    images = (1.0 + LABELS.double())[:, None, None, None].expand(-1, 2, *size)
    run.train = Rows(images, LABELS)
    method.prepare(run)
    return method, run


def pasted(text="cmo(probability=1)", seed=0, n=5, progress=0.5, size=(8, 8)):
    method, run = prepared(text, seed, progress, size)
    batch = Batch(
        torch.zeros(n, 2, *size, dtype=torch.float64),
        [(torch.zeros(n, dtype=torch.int64), 1.0)],
        torch.arange(n),
    )
    return method, run, method.batch(batch, run)


def test_a_box_of_the_foreground_replaces_the_same_box_of_every_image():
    for seed in range(20):
        _, _, batch = pasted(seed=seed)
        _, (front, _) = batch.targets
        inside = batch.inputs[0, 0] > 0
        rows, columns = inside.any(1), inside.any(0)
        assert torch.equal(inside, rows[:, None] & columns)  # a rectangle ...
        for lines in (rows, columns):  # ... without gaps
            at = lines.nonzero().flatten()
            assert len(at) == 0 or at[-1] - at[0] + 1 == len(at)
        expected = (1.0 + front)[:, None, None, None] * inside
        assert torch.equal(batch.inputs, expected.double().expand_as(batch.inputs))


def test_the_labels_are_shared_by_area():
    for seed in range(20):
        _, _, batch = pasted(seed=seed)
        (_, share), (_, rest) = batch.targets
        covered = (batch.inputs[0, 0] > 0).double().mean()
        assert float(rest) == pytest.approx(float(covered), abs=1e-12)
        assert float(share) == pytest.approx(1 - float(covered), abs=1e-12)


def test_the_box_by_hand():
    method, run = prepared()

    def box(coin, area, *centre):
        draws = torch.tensor([coin, area, *centre])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "rand", lambda *size, **options: draws)
            return method.methods[0].box(torch.zeros(1, 1, 8, 8), run).nonzero()

    # side 8 * sqrt(0.25) = 4, so 2 pixels to each side of the pixel that holds the centre
    inside = box(0.0, 0.25, 0.5, 0.5)
    assert (inside.min(0).values.tolist(), inside.max(0).values.tolist()) == ([2, 2], [5, 5])
    # cut off at the border
    inside = box(0.0, 0.25, 0.0, 0.99)
    assert (inside.min(0).values.tolist(), inside.max(0).values.tolist()) == ([0, 5], [1, 7])
    assert len(box(0.0, 0.01, 0.5, 0.5)) == 0  # a side below two pixels is no box


def test_foregrounds_are_drawn_by_the_inverse_of_the_class_size():
    _, _, batch = pasted(n=3000)
    drawn = batch.targets[1][0].bincount(minlength=3)
    assert chisquare(drawn.numpy()).pvalue > 0.001


def test_alpha_0_draws_every_image_alike():
    _, _, batch = pasted("cmo(probability=1, alpha=0)", n=3000)
    drawn = batch.targets[1][0].bincount(minlength=3)
    assert chisquare(drawn.numpy(), [3000 * n / 111 for n in COUNTS]).pvalue > 0.001


def test_half_of_the_batches_are_pasted_on_by_default():
    # a box that rounds to nothing makes the share a little smaller than that of the coin
    share = sum(bool((pasted("cmo", seed, n=1)[2].inputs > 0).any()) for seed in range(400)) / 400
    assert 0.35 < share < 0.55


@pytest.mark.parametrize("progress", [0.0, 0.019, 0.99])
def test_nothing_is_pasted_outside_its_time(progress):
    for seed in range(10):
        batch = pasted(seed=seed, progress=progress)[2]
        assert not batch.inputs.any()
        assert float(batch.targets[0][1]) == 1


def test_the_loss_and_its_slope_are_split_between_both_labels():
    method, run, batch = pasted(seed=2)
    scores = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    (back, share), (front, rest) = batch.targets
    assert 0 < share < 1
    loss = objective(method, Output((scores,), scores), batch, run)
    (found,) = torch.autograd.grad(loss, scores)
    eye = torch.eye(3, dtype=torch.float64)
    target = share * eye[back] + rest * eye[front]
    torch.testing.assert_close(loss, -(target * scores.log_softmax(1)).sum(1).mean())
    torch.testing.assert_close(found, (scores.softmax(1) - target) / 5)


def test_the_images_of_the_batch_are_not_changed_in_place():
    method, run = prepared()
    x = torch.zeros(5, 2, 8, 8, dtype=torch.float64)
    method.batch(Batch(x, [(torch.zeros(5, dtype=torch.int64), 1.0)], torch.arange(5)), run)
    assert not x.any()


def test_images_may_be_oblong_and_of_one_row():
    _, _, batch = pasted(seed=1, n=1, size=(4, 10))
    assert batch.inputs.shape == (1, 2, 4, 10)


def test_rows_that_are_no_images_are_refused():
    method, run = prepared()
    batch = Batch(torch.zeros(2, 7), [(torch.tensor([0, 1]), 1.0)], torch.arange(2))
    with pytest.raises(LTBenchError, match="cmo pastes parts of images"):
        method.batch(batch, run)
