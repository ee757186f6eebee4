import pytest
import torch

from ltbench.augmentation.siamese import (
    CHANCES,
    OPERATIONS,
    STRATEGIES,
    colour,
    crop,
    cutout,
    drawn,
    flip,
    moved,
    rotate,
    scale,
)
from ltbench.augmentation.views import Views

IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def chances(*values):
    """The chances of each image, all three alike."""
    return torch.tensor(values, dtype=torch.float64).expand(CHANCES, -1)[..., None, None, None]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("operation", [colour, crop, cutout, rotate, scale])
def test_no_strength_leaves_an_image_as_it_is(operation):
    x = IMAGES
    # one is not in the middle between 1 / 1.2 and 1.2
    chance = chances((1 - 1 / 1.2) / (1.2 - 1 / 1.2) if operation is scale else 0.5)
    if operation is cutout:  # which always takes something
        x = torch.zeros_like(x)
    torch.testing.assert_close(operation(x, chance), x, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", OPERATIONS)
def test_gradients_pass_through_every_operation(name):
    x = IMAGES.clone().requires_grad_()
    OPERATIONS[name](x, chances(0.3)).square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad != 0).any()


@pytest.mark.parametrize("name", OPERATIONS)
def test_one_chance_does_to_all_what_it_does_to_each(name):
    alike = OPERATIONS[name](IMAGES, chances(0.2))
    each = OPERATIONS[name](IMAGES, chances(0.2, 0.2, 0.2))
    alone = torch.cat([OPERATIONS[name](one, chances(0.2)) for one in IMAGES.split(1)])
    torch.testing.assert_close(alike, each)
    torch.testing.assert_close(alike, alone)


def test_an_image_moves_over_zeros():
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    # offsets of 0 out of 0..2, so one pixel down and to the right
    expected = torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, 3, 4]])
    assert torch.equal(moved(x, chances(0.0).float(), 1)[0, 0], expected)


def test_half_of_the_cases_are_mirrored():
    out = flip(IMAGES, chances(0.4, 0.6, 0.4))
    assert torch.equal(out[0], IMAGES[0].flip(2))
    assert torch.equal(out[1], IMAGES[1])


def test_a_quarter_of_the_image_is_cut_out():
    out = cutout(torch.ones(1, 1, 8, 8, dtype=torch.float64), chances(0.5))
    assert (out == 0).sum() == 16
    assert out[0, 0, 2:6, 2:6].sum() == 0


def test_brightness_moves_by_the_chance_less_a_half():
    grey = torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64)
    torch.testing.assert_close(colour(grey, chances(0.9)), grey + 0.4)


def test_an_upright_strategy_mirrors_nothing():
    assert "flip" not in STRATEGIES["siamese-upright"]
    assert set(STRATEGIES["siamese"]) == OPERATIONS.keys()


def test_every_operation_of_a_strategy_is_drawn():
    names = STRATEGIES["siamese"]
    views = {drawn(names, 1, rng(seed))(IMAGES).sum().item() for seed in range(40)}
    assert len(views) > 20


@pytest.mark.parametrize(
    "views", [Views(strategy=STRATEGIES["siamese"]), Views(padding=1, flip=True), Views(padding=1)]
)
def test_a_view_alike_is_one_and_the_same_for_all_it_is_given(views):
    for seed in range(6):
        view = views.alike(rng(seed))
        torch.testing.assert_close(view(IMAGES)[1:2], view(IMAGES[1:2]))
    seen = {views.alike(rng(seed))(IMAGES).sum().item() for seed in range(20)}
    assert len(seen) > 3


def test_plain_views_are_alike_as_they_are():
    x = torch.tensor([[0, 255]], dtype=torch.uint8)
    assert Views().alike(rng())(x).tolist() == [[0, 1]]


def test_augmented_views_differ_from_row_to_row():
    same = IMAGES[:1].expand(50, -1, -1, -1)
    views = Views(strategy=("crop",)).augmented(same, rng())
    assert len(views.flatten(1).unique(dim=0)) > 5
