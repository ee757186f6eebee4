import numpy as np
import pytest

from ltbench import LTBenchError
from ltbench.protocols.imbalance import class_counts, long_tailed, with_label_noise

CIFAR10 = np.arange(50000) * 7 % 10
CIFAR100 = np.arange(50000) * 7 % 100


@pytest.mark.parametrize(
    ("classes", "factor", "total", "smallest"),
    [
        (10, 10, 20431, 500),
        (10, 20, 17023, 250),
        (10, 50, 13996, 100),
        (10, 100, 12406, 50),
        (10, 200, 11203, 25),
        (100, 10, 19573, 50),
        (100, 20, 15907, 25),
        (100, 50, 12608, 10),
        (100, 100, 10847, 5),
        (100, 200, 9502, 2),
    ],
)
def test_the_published_totals_of_cifar_lt_come_out(classes, factor, total, smallest):
    counts = class_counts("exponential", 50000 // classes, factor, classes)
    assert (sum(counts), counts[-1]) == (total, smallest)


def test_the_published_counts_of_cifar10_lt_100_come_out():
    counts = class_counts("exponential", 5000, 100, 10)
    assert counts == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_the_profiles_of_multi_domain_imbalance_come_out():
    """Its get_img_num_per_cls, run with 1,000 rows at most and a tenth of that at least."""
    falling = [1000, 774, 599, 464, 359, 278, 215, 166, 129, 100]
    assert class_counts("exponential", 1000, 10, 10) == falling
    assert class_counts("step", 1000, 10, 10) == [1000] * 5 + [100] * 5


def test_a_step_has_two_levels():
    assert class_counts("step", 5000, 100, 10) == [5000] * 5 + [50] * 5
    assert class_counts("step", 500, 10, 5) == [500] * 2 + [50] * 3


def test_a_line_falls_by_equal_amounts_to_the_factor():
    assert class_counts("linear", 5000, 10, 10) == list(range(5000, 499, -500))


def test_a_factor_of_1_is_balanced():
    for profile in ("exponential", "step", "linear"):
        assert class_counts(profile, 7, 1, 4) == [7] * 4


@pytest.mark.parametrize("profile", ["exponential", "linear"])
def test_one_class_has_all_rows_and_two_are_the_ends_of_the_profile(profile):
    assert class_counts(profile, 100, 10, 1) == [100]
    assert class_counts(profile, 100, 10, 2) == [100, 10]


def test_a_factor_that_empties_a_class_is_refused_with_the_largest_that_does_not():
    with pytest.raises(LTBenchError, match="leaves class 7 .* can be at most 124"):
        class_counts("exponential", 124, 1000, 10)
    assert class_counts("exponential", 124, 124, 10)[-1] == 1
    with pytest.raises(LTBenchError, match="can be at most 48"):  # 49 * (1 / 49) is below 1
        class_counts("exponential", 49, 49, 10)


@pytest.mark.parametrize("labels", [CIFAR10, CIFAR100])
def test_rows_are_those_of_the_rule_of_the_field(labels):
    """The rule: one legacy generator, seed 0, shuffles class after class; each keeps its start."""
    counts = class_counts("exponential", 50000 // (labels.max() + 1), 100, labels.max() + 1)
    state = np.random.get_state()
    np.random.seed(0)
    expected = []
    for c, count in enumerate(counts):
        rows = np.where(labels == c)[0]
        np.random.shuffle(rows)
        expected.extend(rows[:count])
    np.random.set_state(state)
    assert long_tailed(labels, counts).tolist() == expected


def test_a_harder_set_is_part_of_an_easier_one():
    easy = long_tailed(CIFAR10, class_counts("exponential", 5000, 10, 10))
    hard = long_tailed(CIFAR10, class_counts("exponential", 5000, 100, 10))
    assert set(hard) < set(easy)
    assert (CIFAR10[hard] == np.sort(CIFAR10[hard])).all()


def test_the_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()
    long_tailed(CIFAR10, [10] * 10)
    assert (np.random.get_state()[1] == before).all()


def test_a_class_with_too_few_rows_is_refused():
    with pytest.raises(LTBenchError, match="class 0 has 5000 rows, but 6000"):
        long_tailed(CIFAR10, [6000] + [1] * 9)


def test_label_noise_replaces_a_share_by_each_other_class_alike():
    labels = np.arange(40000) % 4
    noisy = with_label_noise(labels, 4, 0.3, seed=1)
    assert abs((noisy != labels).mean() - 0.3) < 0.01
    shifts = np.bincount((noisy - labels) % 4, minlength=4)[1:]
    assert shifts.std() / shifts.mean() < 0.05
    assert (noisy == with_label_noise(labels, 4, 0.3, seed=1)).all()
    assert (with_label_noise(labels, 4, 0.0, seed=1) == labels).all()


def test_a_wrong_label_lies_as_many_classes_on_as_is_drawn():
    # RandomState(0) draws 0.55 0.72 0.60 0.54 0.42 0.65 and, of 1 to 3, the shifts 1 3 1 1 1 3
    noisy = with_label_noise(np.array([0, 1, 2, 3, 0, 1]), 4, 0.56, seed=0)
    assert noisy.tolist() == [1, 1, 2, 0, 1, 1]


def test_a_step_may_have_any_share_of_small_classes():
    assert class_counts("step", 100, 10, 10, minority=0.2) == [100] * 8 + [10] * 2
    assert class_counts("step", 100, 10, 10, minority=0.9) == [100] + [10] * 9
