import pytest
import torch

from ltbench import LTBenchError, Rows, recipe
from ltbench.testing.probes import probe_run
from ltbench_plugins.sampling.bagan import BAGAN, Decoder, Encoder, drawn, fitted

COUNTS = (40, 8, 1)
LABELS = torch.arange(3).repeat_interleave(torch.tensor(COUNTS))


def stripes(dtype=torch.float32, size=(8, 8)):
    """Images of class c, bright in the rows 2c and 2c + 1."""
    images = torch.full((len(LABELS), 1, *size), 10.0)
    for c in range(3):
        images[c == LABELS, :, 2 * c : 2 * c + 2] = 200.0
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    return Rows((images + 20 * noise).to(dtype), LABELS)


def resampled(train, seed=0, steps=20):
    method = recipe(f"bagan(steps={steps}, latent=10, width=4)")
    run = probe_run(method, COUNTS, torch.float32)
    run.seed = seed
    return method.resample(train, run)


def test_every_class_grows_to_the_largest_and_the_rows_come_first():
    train = stripes()
    grown = resampled(train)
    assert grown.labels.bincount().tolist() == [40] * 3
    assert torch.equal(grown.inputs[: len(train)], train.inputs)
    assert torch.equal(grown.labels[: len(train)], train.labels)


def test_a_class_without_rows_gets_no_images():
    train = stripes()
    moved = Rows(train.inputs, torch.tensor([0, 2, 3])[train.labels])
    grown, plain = resampled(moved), resampled(train)
    assert grown.labels.bincount().tolist() == [40, 0, 40, 40]
    assert torch.equal(grown.inputs, plain.inputs)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_new_images_keep_the_kind_and_the_range_of_the_stored_ones(dtype):
    train = stripes(dtype)
    grown = resampled(train)
    assert grown.inputs.dtype == dtype
    assert grown.inputs.min() >= train.inputs.min()
    assert grown.inputs.max() <= train.inputs.max()


def test_new_images_look_like_their_class():
    train = stripes()
    grown = resampled(train, steps=150)
    new, labels = grown.inputs[len(train) :], grown.labels[len(train) :]
    means = torch.stack([train.inputs[c == LABELS].mean(0) for c in range(3)])
    nearest = torch.cdist(new.flatten(1), means.flatten(1)).argmin(1)
    assert (nearest == labels)[labels == 1].float().mean() > 0.7


def test_the_seed_decides_what_is_made():
    first, again, other = (resampled(stripes(), seed).inputs for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (2, 9, 6)])
def test_images_of_any_size_come_back_in_that_size(shape):
    images = torch.zeros(2, *shape)
    codes = Encoder(shape, 4, 10)(images)
    assert codes.shape == (2, 10)
    assert Decoder(shape, 4, 10)(codes).shape == images.shape


def test_a_gaussian_leans_on_the_common_covariance_by_hand():
    codes = torch.tensor([[0.0], [2.0], [5.0]], dtype=torch.float64)
    means, factors = fitted(codes, torch.tensor([0, 0, 1]), 2, shrinkage=1.0)
    assert means.flatten().tolist() == [1, 5]
    # squares of 2 and 0 about the means, 2/3 a row in common
    expected = [(2 + 2 / 3) / 3, (0 + 2 / 3) / 2]
    assert (factors @ factors.mT).flatten().tolist() == pytest.approx(expected)


def test_codes_are_drawn_with_mean_and_covariance_of_their_class():
    means = torch.tensor([[0.0, 0.0], [3.0, -1.0]], dtype=torch.float64)
    factors = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [1.0, 0.5]]]).double()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        codes = drawn((means, factors), torch.ones(20000, dtype=torch.int64))
    torch.testing.assert_close(codes.mean(0), means[1], rtol=0, atol=0.06)
    torch.testing.assert_close(codes.T.cov(), factors[1] @ factors[1].T, rtol=0, atol=0.15)


def test_it_takes_exactly_the_steps_asked_for():
    batches = list(BAGAN(steps=7, batch_size=16).batches(40, torch.device("cpu")))
    assert [len(batch) for batch in batches] == [16, 16, 8, 16, 16, 8, 16]


def test_images_of_one_value_are_handled():
    train = Rows(torch.full((len(LABELS), 1, 8, 8), 3.0), LABELS)
    assert torch.isfinite(resampled(train, steps=2).inputs).all()


def test_rows_that_are_no_images_are_refused():
    with pytest.raises(LTBenchError, match="bagan makes images"):
        resampled(Rows(torch.zeros(len(LABELS), 5), LABELS))
