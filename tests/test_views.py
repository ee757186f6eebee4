from dataclasses import replace

import pytest
import torch

from ltbench.augmentation.siamese import CHANCES, STRATEGIES
from ltbench.augmentation.views import Views, resized, shifted


def test_bytes_become_shares_of_255_and_are_standardised_by_channel():
    images = torch.tensor([[[[0]], [[255]]]], dtype=torch.uint8)
    assert Views().plain(images).flatten().tolist() == [0, 1]
    views = Views(mean=(0.5, 0.25), std=(0.5, 0.25))
    assert views.plain(images).flatten().tolist() == [-1, 3]


def test_what_is_no_bytes_stays_as_it_is():
    inputs = torch.randn(3, 5)
    assert Views().plain(inputs) is inputs
    assert Views().augmented(inputs, torch.Generator()) is inputs


def test_channels_come_last_in_memory_where_asked():
    images = torch.zeros(2, 3, 4, 4)
    plain = Views(channels_last=True).plain(images)
    assert plain.is_contiguous(memory_format=torch.channels_last)


def by_hand(image, padding):
    """All views that cropping out of a padded image, then flipping, can give."""
    size = image.shape[1]
    padded = torch.nn.functional.pad(image, [padding] * 4)
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            crop = padded[:, top : top + size, left : left + size]
            yield crop
            yield crop.flip(2)


def test_a_view_is_a_crop_of_the_padded_image_and_maybe_turned():
    images = torch.randint(1, 256, (200, 3, 5, 5), dtype=torch.uint8)
    views = shifted(images, 1, True, torch.Generator())
    found = set()
    for image, view in zip(images, views, strict=True):
        matches = [k for k, crop in enumerate(by_hand(image, 1)) if torch.equal(crop, view)]
        assert len(matches) == 1
        found.add(matches[0])
    assert len(found) == 18  # nine places, two directions


def test_a_resized_view_is_a_part_of_the_image_at_full_size():
    ramp = torch.arange(16, dtype=torch.float32).expand(64, 1, 16, 16) * 16
    views = resized(ramp.to(torch.uint8), torch.Generator())
    assert views.shape == ramp.shape
    assert views.min() >= 0 and views.max() <= 1
    steps = (
        views[:, 0, 8, 4:12].diff(dim=1).mean(dim=1) * 255 / 16
    )  # of the ramp, from pixel to pixel
    assert (steps < 0).any() and (steps > 0).any()  # some are turned
    assert steps.abs().max() <= 1.01  # never shrunk
    assert steps.abs().min() < 0.6  # some much enlarged


def test_views_follow_the_generator_alone():
    images = torch.randint(256, (8, 3, 6, 6), dtype=torch.uint8)
    first = shifted(images, 2, True, torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    assert torch.equal(first, shifted(images, 2, True, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, shifted(images, 2, True, torch.Generator().manual_seed(2)))


MEAN, STD = (0.1307,), (0.3081,)  # those of MNIST, in the code of distribution matching


def chances_of(seed, operations, images):
    """What a strategy draws: which operation, and its numbers for each image."""
    rng = torch.Generator().manual_seed(seed)
    which = int(torch.randint(operations, (), generator=rng))
    return which, torch.rand(CHANCES, images, 1, 1, 1, generator=rng)


@pytest.mark.parametrize("alike", [False, True])
def test_brightness_moves_by_up_to_half_a_standard_deviation(alike):
    """A flat image has no contrast or saturation to change: z = (x - mean) / std + chance - 1/2."""
    images = torch.tensor([0, 64, 255], dtype=torch.uint8).reshape(3, 1, 1, 1).expand(3, 1, 4, 4)
    views = Views(mean=MEAN, std=STD, strategy=("colour",))
    for seed in range(5):
        rng = torch.Generator().manual_seed(seed)
        seen = views.alike(rng)(images) if alike else views.augmented(images, rng)
        _, chance = chances_of(seed, 1, 1 if alike else 3)
        for k, pixel in enumerate((0, 64, 255)):
            brightness = chance[0, 0 if alike else k].item()
            expected = (pixel / 255 - 0.1307) / 0.3081 + brightness - 0.5
            assert seen[k].flatten().tolist() == pytest.approx([expected] * 16, abs=1e-5)


@pytest.mark.parametrize("name", ["crop", "cutout", "scale", "rotate"])
def test_what_an_operation_fills_in_is_the_mean_colour(name):
    """A black image, which lies at -0.42, becomes brighter where something is filled in."""
    images = torch.zeros(64, 1, 8, 8, dtype=torch.uint8)
    views = Views(mean=MEAN, std=STD, strategy=(name,))
    seen = views.augmented(images, torch.Generator().manual_seed(0))
    assert seen.min().item() == pytest.approx(-0.1307 / 0.3081, abs=1e-5)
    assert -0.2 < seen.max().item() <= 0
    if name in ("crop", "cutout"):  # the others blend
        assert set(seen.flatten().tolist()) == {seen.min().item(), 0}


def test_slopes_are_those_of_standardised_pixels():
    """A cut square has none; what stays has one over the deviation."""
    images = torch.rand(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    views = Views(mean=MEAN, std=STD, strategy=("cutout",))
    views.alike(torch.Generator().manual_seed(3))(images).sum().backward()
    found = images.grad.unique().tolist()
    assert found == [0, pytest.approx(1 / 0.3081, abs=1e-12)]


def test_without_a_mean_operations_act_on_shares_of_255():
    images = torch.full((1, 1, 4, 4), 51, dtype=torch.uint8)
    seen = Views(strategy=("colour",)).augmented(images, torch.Generator().manual_seed(1))
    _, chance = chances_of(1, 1, 1)
    assert seen[0, 0, 0, 0].item() == pytest.approx(0.2 + chance[0].item() - 0.5, abs=1e-6)


def test_crops_and_flips_come_before_standardising_bit_by_bit():
    images = torch.randint(256, (20, 3, 6, 6), dtype=torch.uint8)
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    views = Views(mean=mean, std=std, padding=4, flip=True)
    seen = views.augmented(images, torch.Generator().manual_seed(2))
    moved = shifted(images, 4, True, torch.Generator().manual_seed(2))
    assert torch.equal(seen, views.plain(moved))
    black = [-m / s for m, s in zip(mean, std, strict=True)]
    assert seen.amin(dim=(0, 2, 3)).tolist() == pytest.approx(black, abs=1e-6)
    alike = views.alike(torch.Generator().manual_seed(2))(images)
    assert alike.amin(dim=(0, 2, 3)).tolist() == pytest.approx(black, abs=1e-6)


@pytest.mark.parametrize("views", [Views(strategy=STRATEGIES["siamese"]), Views(padding=1)])
def test_an_augmented_view_keeps_the_order_in_memory_that_is_asked_for(views):
    images = torch.rand(2, 3, 4, 4)
    for seed in range(8):
        last = replace(views, channels_last=True)
        seen = last.augmented(images, torch.Generator().manual_seed(seed))
        assert seen.is_contiguous(memory_format=torch.channels_last)
        plain = views.augmented(images, torch.Generator().manual_seed(seed))
        assert torch.equal(seen, plain)
