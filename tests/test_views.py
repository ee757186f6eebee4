import torch

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
