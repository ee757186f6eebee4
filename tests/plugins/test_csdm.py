"""The characteristic functions are worked out in plain numbers, and the limits are known ones."""

import cmath
import math
from types import SimpleNamespace

import pytest
import torch

from ltbench import LTBenchError, Rows, recipe
from ltbench.testing.task import rows_of
from ltbench.tracks.distillation.checks import BUDGET, COUNTS, distilled
from ltbench_plugins.distillation import csdm
from ltbench_plugins.distillation.csdm import frequencies, gaps, size

REAL = [[0.2, 0.5], [1.0, -0.3], [0.4, 0.4]]
LABELS = [0, 1, 0]
MADE = [[[0.1, 0.7], [0.3, 0.0]], [[0.9, 0.2], [-0.5, 0.6]]]
T = [[1.0, 0.5], [-0.7, 2.0], [3.0, -1.0]]


def float64(values):
    return torch.tensor(values, dtype=torch.float64)


def gaps_of(real=REAL, made=MADE, t=T):
    return gaps(float64(real), torch.tensor(LABELS), float64(made), float64(t))


def function(rows, t):
    """The empirical characteristic function of rows at a frequency."""
    waves = [cmath.exp(1j * sum(a * b for a, b in zip(t, row, strict=True))) for row in rows]
    return sum(waves) / len(rows)


def by_hand(c, t):
    real = function([row for row, y in zip(REAL, LABELS, strict=True) if y == c], t)
    return real, function(MADE[c], t)


def test_the_gaps_are_those_of_the_characteristic_functions():
    amplitude, phase = gaps_of()
    for c in (0, 1):
        for j, t in enumerate(T):
            f, g = by_hand(c, t)
            turned = 2 * abs(f) * abs(g) * (1 - math.cos(cmath.phase(f) - cmath.phase(g)))
            assert amplitude[c, j].item() == pytest.approx((abs(f) - abs(g)) ** 2, abs=1e-12)
            assert phase[c, j].item() == pytest.approx(turned, abs=1e-12)


def test_amplitude_and_phase_add_up_to_the_whole_gap():
    amplitude, phase = gaps_of()
    for c in (0, 1):
        for j, t in enumerate(T):
            f, g = by_hand(c, t)
            assert (amplitude + phase)[c, j].item() == pytest.approx(abs(f - g) ** 2, abs=1e-6)
    assert (phase > -1e-6).all()


def loss(method, real, labels, made, counts, seed=0):
    run = SimpleNamespace(counts=float64(counts), rng=torch.Generator().manual_seed(seed))
    return recipe(method).methods[0].distance(float64(real), torch.tensor(labels), made, run)


def test_the_loss_is_twice_the_weighed_mean_of_the_gaps(monkeypatch):
    monkeypatch.setattr(csdm, "frequencies", lambda *given: float64(T))
    total = 0.0
    for c, share in ((0, 0.9), (1, 0.1)):
        rows = [row for row, y in zip(REAL, LABELS, strict=True) if y == c]
        for t in T:
            f, g = (function([unit(row) for row in of], t) for of in (rows, MADE[c]))
            amplitude = (abs(f) - abs(g)) ** 2
            total += 2 * (share * amplitude + (1 - share) * (abs(f - g) ** 2 - amplitude))
    found = loss("csdm", REAL, LABELS, float64(MADE), (20, 2))
    assert found.item() == pytest.approx(total / 6, abs=1e-9)


def test_calibration_weighs_as_class_by_class_300_distances_beside_one_cross_entropy():
    """In released code a class's images see 300 d_c, then the mean cross-entropy of the class.

    Here they see the mean of d over classes, so a 300th of the mean cross-entropy.
    """
    weight = [[0.5, -0.2], [0.1, 0.9], [-0.7, 0.3]]
    images = [[0.1, 0.7], [0.3, 0.0], [0.9, 0.2], [-0.5, 0.6], [0.4, 0.4], [1.0, -0.3]]
    labels = [0, 0, 1, 1, 2, 2]
    expert = torch.nn.Linear(2, 3, bias=False, dtype=torch.float64)
    with torch.no_grad():
        expert.weight.copy_(float64(weight))
    pixels = float64(images).requires_grad_()
    run = SimpleNamespace(
        num_classes=3,
        passes=0,
        rng=torch.Generator(),
        views=SimpleNamespace(alike=lambda rng: lambda x: x),
        through=lambda network, x: x,
    )
    optimizer = torch.optim.SGD([pixels], lr=1.0)
    method = recipe("ncfm").methods[0]
    method.refine(pixels, torch.tensor(labels), SimpleNamespace(head=expert), optimizer, run)
    steps = (float64(images) - pixels.detach()).tolist()
    for x, y, step in zip(images, labels, steps, strict=True):
        powers = [math.exp(sum(a * b for a, b in zip(row, x, strict=True))) for row in weight]
        off = [power / sum(powers) - (c == y) for c, power in enumerate(powers)]
        of_class = [sum(off[c] * weight[c][d] for c in range(3)) / 2 for d in range(2)]
        # a class's own cross-entropy over 300, where its distance is one of three in a mean
        assert step == pytest.approx([slope / 300 / 3 for slope in of_class], abs=1e-15)
    assert run.passes == 6


def unit(row):
    return [x / math.hypot(*row) for x in row]


def mmd(real, made, kernel):
    """The squared maximum mean discrepancy, biased, of two lists of rows."""
    pairs = [(real, real, 1), (made, made, 1), (real, made, -2)]
    return sum(
        sign * sum(kernel(a, b) for a in one for b in other) / (len(one) * len(other))
        for one, other, sign in pairs
    )


def squared(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


KERNELS = {
    "gaussian": lambda a, b: math.exp(-squared(a, b) / 2),
    "laplace": lambda a, b: math.exp(-sum(abs(x - y) for x, y in zip(a, b, strict=True))),
    "exponential": lambda a, b: math.exp(-math.sqrt(squared(a, b))),
    "matern": lambda a, b: (
        (1 + math.sqrt(3 * squared(a, b))) * math.exp(-math.sqrt(3 * squared(a, b)))
    ),
    "rational-quadratic": lambda a, b: (1 + squared(a, b) / (2 * 1.5)) ** -1.5,
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_with_many_frequencies_the_gap_is_the_discrepancy_under_the_kernel(kernel):
    chance = torch.Generator().manual_seed(0)
    real, made = (torch.randn(n, 6, generator=chance).double() + m for n, m in ((8, 0), (5, 0.7)))
    t = frequencies(kernel, 20_000, real, 1.5, chance)
    amplitude, phase = gaps(real, torch.zeros(8, dtype=torch.int64), made[None], t)
    expected = mmd(real.tolist(), made.tolist(), KERNELS[kernel])
    assert (amplitude + phase).mean().item() == pytest.approx(expected, abs=0.01)


def test_no_gap_is_left_between_equal_rows():
    made = [[REAL[0], REAL[2]], [REAL[1], REAL[1]]]
    amplitude, phase = gaps_of(made=made)
    assert amplitude.abs().max() < 1e-12
    assert phase.abs().max() < 1e-12


def test_a_shift_of_the_features_moves_the_phase_alone():
    before, after = gaps_of(), gaps_of(made=(float64(MADE) + float64([0.4, -0.2])).tolist())
    torch.testing.assert_close(before[0], after[0], rtol=0, atol=1e-12)
    assert (before[1] - after[1]).abs().max() > 0.01


def test_one_image_a_class_has_no_slope_in_the_amplitude():
    made = float64(MADE)[:, :1].requires_grad_()
    amplitude, phase = gaps(float64(REAL), torch.tensor(LABELS), made, float64(T))
    (slope,) = torch.autograd.grad(amplitude.sum(), made, retain_graph=True)
    assert slope.abs().max() < 1e-9
    (slope,) = torch.autograd.grad(phase.sum(), made)
    assert slope.abs().max() > 0.01


def shares(text, counts):
    return recipe(text).methods[0].amplitude_share(SimpleNamespace(counts=float64(counts)))


def test_the_amplitude_counts_the_more_the_larger_the_class():
    # log 10 / log 100 is a half
    torch.testing.assert_close(shares("csdm", (100, 10, 1)), float64([0.9, 0.5, 0.1]))
    turned = shares("csdm(direction='tail-amplitude')", (100, 10, 1))
    torch.testing.assert_close(turned, float64([0.1, 0.5, 0.9]))
    torch.testing.assert_close(shares("csdm(head=0.7)", (7, 7)), float64([0.4, 0.4]))
    assert size(float64([50, 9, 3])).diff().lt(0).all()


@pytest.fixture(scope="module")
def rows():
    return rows_of(COUNTS)


def test_uniform_weights_are_sdd_to_the_bit(rows):
    sdd, uniform = (distilled(recipe(text), rows) for text in ("sdd", "csdm(direction='uniform')"))
    assert torch.equal(sdd.inputs, uniform.inputs)
    other = distilled(recipe("csdm"), rows)
    assert not torch.equal(sdd.inputs, other.inputs)


@pytest.mark.parametrize(
    "text",
    [
        "csdm(kernel='laplace')",
        "csdm(kernel='matern', bandwidth='median')",
        "csdm(kernel='exponential', bandwidth=0.5)",
        "csdm(kernel='rational-quadratic', shape=1.0)",
        "csdm(root=True)",
        "csdm(calibration=True, balanced_pool=True)",
    ],
)
def test_every_variant_learns_something_else(rows, text):
    plain, other = (distilled(recipe(t), rows) for t in ("csdm", text))
    assert torch.isfinite(other.inputs).all()
    assert not torch.equal(plain.inputs, other.inputs)


def test_one_image_a_class_is_said_or_refused():
    from msgspec.structs import replace

    one = replace(BUDGET, ipc=1)
    with pytest.raises(LTBenchError, match="one image a class has no slope in the amplitude"):
        distilled(recipe("csdm(head=1.0)"), rows_of(COUNTS), one)
    assert isinstance(distilled(recipe("csdm"), rows_of(COUNTS), one), Rows)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("csdm(kernel='sinc')", "kernel='sinc' is refused: invalid enum value"),
        ("csdm(frequencies=0)", "frequencies=0 is refused: expected int >= 1"),
        ("csdm(bandwidth=0.0)", "bandwidth=0.0 is refused: expected float > 0"),
        ("csdm(bandwidth='mean')", "bandwidth='mean' is refused"),
        ("csdm(head=1.5)", "head=1.5 is refused: expected float <= 1"),
        ("csdm(direction='tail')", "direction='tail' is refused"),
    ],
)
def test_wrong_parameters_are_refused_in_a_line(text, words):
    with pytest.raises(LTBenchError) as refusal:
        recipe(text)
    assert words in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
