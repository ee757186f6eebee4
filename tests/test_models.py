import pytest
import torch

from ltbench import LTBenchError
from ltbench.models import build, own
from ltbench.models.heads import CosineHead


def test_networks_are_known_by_their_files():
    assert own() == [
        *("convnet", "imagenet_resnet", "linear", "mapped", "mlp", "resnet", "scenenet"),
        *("sequence_convnet", "torchvision_model", "vgg"),
    ]


def test_a_network_is_features_and_head():
    model = build("mlp", (1, 8, 8), 10, {"widths": [16, 12], "batch_norm": True})
    x = torch.randn(5, 1, 8, 8)
    assert model.features(x).shape == (5, 12)
    assert torch.equal(model(x), model.head(model.features(x)))
    kinds = [type(layer).__name__ for part in (model.trunk, model.branch) for layer in part]
    assert kinds == ["Flatten", *["Linear", "BatchNorm1d", "ReLU"] * 2]


@pytest.mark.parametrize(
    ("name", "options", "shape", "width"),
    [
        ("mlp", {"widths": [16, 12]}, (1, 8, 8), 12),
        ("mapped", {}, (12,), 12),
        ("convnet", {"widths": [8, 8, 16]}, (1, 28, 28), 16 * 9),
        ("resnet", {"depth": 8}, (3, 32, 32), 64),
        ("imagenet_resnet", {"depth": 18}, (3, 64, 64), 512),
        ("vgg", {"depth": 11, "narrower": 8}, (3, 32, 32), 64),
        ("sequence_convnet", {"widths": [8, 16]}, (3, 20), 16),
    ],
)
def test_a_branch_may_be_grown_again_narrower(name, options, shape, width):
    model = build(name, shape, 10, options)
    x = torch.randn(2, *shape)
    assert model.features(x).shape == (2, width)
    branch, narrower = model.new_branch(0.5)
    assert narrower == width // 2
    assert branch(model.trunk(x)).shape == (2, narrower)


def test_resnet_32_is_the_published_one():
    model = build("resnet", (3, 32, 32), 10, {"depth": 32})
    assert sum(parameter.numel() for parameter in model.parameters()) == 464154
    with pytest.raises(LTBenchError, match="depth 31 is not 6 n"):
        build("resnet", (3, 32, 32), 10, {"depth": 31})


def test_a_shortcut_takes_every_other_pixel_and_pads_channels_with_zeros():
    from ltbench.models.resnet import Block

    block = Block(4, 8, stride=2).eval()
    torch.nn.init.zeros_(block.bn2.weight)
    x = torch.rand(1, 4, 6, 6)
    out = block(x)
    assert torch.equal(out[:, 2:6], x[:, :, ::2, ::2])
    assert not out[:, :2].any()
    assert not out[:, 6:].any()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("mpl", {"widths": [8]}, "did you mean 'mlp'"),
        ("mlp", {}, "network mlp: key widths is missing"),
        ("mlp", {"widths": []}, "expected"),
        ("mlp", {"widths": ["a"]}, "expected int, got str"),
        ("mlp", {"width": [8]}, "did you mean 'widths'"),
    ],
)
def test_a_wrong_network_is_refused(name, options, words):
    with pytest.raises(LTBenchError) as refusal:
        build(name, (4,), 2, options)
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "options"),
    [("convnet", {"widths": [4]}), ("resnet", {"depth": 8}), ("imagenet_resnet", {"depth": 18})],
)
def test_rows_that_are_no_images_are_refused(name, options):
    with pytest.raises(LTBenchError, match=r"rows of \[5\] are none"):
        build(name, (5,), 3, options)


def test_a_cosine_head_does_not_see_lengths():
    head = CosineHead(4, 3, scale=5.0)
    features = torch.randn(6, 4)
    torch.testing.assert_close(head(features), head(features * 7))
    assert head(features).abs().max() <= 5
    torch.testing.assert_close(head.weight.norm(dim=1), torch.ones(3))


def test_a_convnet_may_normalise_each_image_by_itself():
    model = build("convnet", (1, 8, 8), 3, {"widths": [4, 4], "norm": "instance"}).train()
    x = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(model.features(x)[:1], model.features(x[:1]))
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())


def test_a_linear_network_is_its_head_alone():
    model, x = build("linear", (3, 2), 4, {}), torch.randn(5, 3, 2)
    assert torch.equal(model.features(x), x.flatten(1))
    assert torch.equal(model(x), model.head(x.flatten(1)))
    assert sum(parameter.numel() for parameter in model.parameters()) == 4 * (6 + 1)
    branch, width = model.new_branch(0.5)
    assert width == 6 and torch.equal(branch(model.trunk(x)), x.flatten(1))
    with pytest.raises(LTBenchError, match="network linear: unknown key 'widths'"):
        build("linear", (6,), 4, {"widths": [2]})


def test_a_linear_map_begins_as_the_one_that_changes_nothing():
    model, x = build("mapped", (3, 2), 4, {"scale": 5.0}), torch.randn(6, 3, 2)
    assert torch.equal(model.features(x), x.flatten(1))
    unit = torch.nn.functional.normalize
    expected = 5 * unit(x.flatten(1)) @ unit(model.head.weight).T
    torch.testing.assert_close(model(x), expected)
    assert model.branch[0].reset_parameters() is None
    assert torch.equal(model.features(x), x.flatten(1))


def test_a_network_over_time_takes_any_length_and_averages_over_it():
    model = build("sequence_convnet", (3, 20), 4, {"widths": [8, 16], "reach": 5}).eval()
    x = torch.randn(2, 3, 20)
    assert model(x).shape == (2, 4) and model(x[:, :, :7]).shape == (2, 4)
    by_hand = model.branch[:-2](model.trunk(x)).mean(dim=2)
    assert torch.allclose(model.features(x), by_hand, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "reach", "words"),
    [
        ((3, 8, 8), 3, r"takes rows \[channels, steps\], and these are \[3, 8, 8\]"),
        ((3, 8), 4, "odd"),
    ],
)
def test_what_a_network_over_time_does_not_take_is_told(shape, reach, words):
    with pytest.raises(LTBenchError, match=words):
        build("sequence_convnet", shape, 4, {"widths": [8], "reach": reach})
