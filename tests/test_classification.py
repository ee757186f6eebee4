from dataclasses import replace

import msgspec
import pytest
import torch

from ltbench import LTBenchError, protocol
from ltbench.contract.context import Rows
from ltbench.datasets import Dataset, built_in
from ltbench.tracks import classification
from ltbench.tracks.classification import begin, split, time_plain

CPU = torch.device("cpu")
DIGITS = built_in()["digits"]()


def changed(protocol, table, **keys):
    inner = msgspec.structs.replace(getattr(protocol, table), **keys)
    return msgspec.structs.replace(protocol, **{table: inner})


@pytest.fixture
def fixed(tiny):
    return protocol(tiny)


def numbered():
    """The digits, each row's pixels replaced by its number, so that rows can be told apart."""
    numbers = torch.arange(float(len(DIGITS.train))).reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    return Dataset(Rows(numbers, DIGITS.train.labels), DIGITS.classes)


def numbers(rows):
    return set(rows.inputs[:, 0, 0, 0].tolist())


@pytest.fixture
def parted(fixed):
    data = numbered()
    return lambda seed=0, **keys: split(
        changed(fixed, "data", fingerprint=data.fingerprint, **keys), data, seed
    )


def test_training_and_test_rows_are_different_rows(parted):
    parts = parted()
    assert not numbers(parts.train) & numbers(parts.test())
    assert parts.test().labels.bincount().tolist() == [20] * 10
    assert sorted(parts.class_counts, reverse=True) == [30, 23, 17, 13, 10, 8, 6, 5, 3, 3]
    assert parts.train.labels.bincount(minlength=10).tolist() == parts.class_counts


def test_the_seed_chooses_the_class_order_and_the_rows(parted):
    assert parted(0).class_counts != parted(1).class_counts
    assert numbers(parted(0).test()) != numbers(parted(1).test())
    assert numbers(parted(0).train) == numbers(parted(0).train)


def test_a_fixed_order_and_draw_are_the_same_for_every_seed(fixed):
    held = changed(fixed, "imbalance", class_order="label", draw="fixed")
    parts = [split(held, DIGITS, seed) for seed in (0, 1)]
    assert parts[0].class_counts == [30, 23, 17, 13, 10, 8, 6, 5, 3, 3]
    assert torch.equal(parts[0].train.inputs, parts[1].train.inputs)


def test_validation_rows_are_cut_from_the_training_rows(parted):
    whole, cut = parted(), parted(validation_share=0.3)
    assert numbers(cut.validation) | numbers(cut.train) == numbers(whole.train)
    assert not numbers(cut.validation) & numbers(cut.train)
    assert numbers(cut.test()) == numbers(whole.test())
    left = [n - int(0.3 * n) for n in whole.class_counts]
    assert cut.class_counts == left
    assert whole.validation is None


@pytest.mark.parametrize(
    ("table", "keys", "words"),
    [
        ("data", {"fingerprint": "0" * 16}, "has fingerprint c10b9250e22f3a67, but tiny is fixed"),
        ("data", {"test_per_class": None}, "has no test split"),
        ("data", {"test_per_class": 170}, "has 178 rows; tiny asks for"),
        ("imbalance", {"n_max": 500}, "rows; tiny asks for 299 to train on"),
        ("imbalance", {"factor": 100.0}, "leaves class 7 without rows"),
    ],
)
def test_a_protocol_that_does_not_fit_the_data_is_refused(fixed, table, keys, words):
    with pytest.raises(LTBenchError) as refusal:
        split(changed(fixed, table, **keys), DIGITS, 0)
    assert words in str(refusal.value)


def test_a_source_with_its_own_test_split_keeps_it(fixed):
    data = Dataset(DIGITS.train, DIGITS.classes, test=DIGITS.train)
    own = changed(fixed, "data", fingerprint=data.fingerprint, test_per_class=None)
    assert split(own, data, 0).test() is DIGITS.train


def test_groups_go_with_the_rows_into_every_part(fixed):
    data = numbered()
    groups = torch.arange(len(data.train))
    data = Dataset(replace(data.train, groups=groups), data.classes)
    told = changed(
        fixed,
        "data",
        fingerprint=data.fingerprint,
        validation_share=0.3,
        label_noise=0.4,
    )
    parts = split(told, data, 0)
    for rows in (parts.train, parts.validation, parts.test()):
        assert torch.equal(rows.groups.float(), rows.inputs[:, 0, 0, 0])


def test_noisy_labels_are_those_of_training_rows_alone(parted):
    clean, noisy = parted(), parted(label_noise=0.4)
    assert torch.equal(clean.train.inputs, noisy.train.inputs)
    assert 0.2 < (clean.train.labels != noisy.train.labels).float().mean() < 0.6
    assert noisy.class_counts == clean.class_counts  # what shot groups go by
    assert torch.equal(clean.test().labels, noisy.test().labels)


def test_a_source_taken_as_it_is_gives_up_its_test_rows_first(fixed):
    whole = changed(
        fixed, "imbalance", profile="source", n_max=None, factor=None, class_order="label"
    )
    parts = split(whole, DIGITS, 0)
    assert parts.class_counts == [n - 20 for n in DIGITS.train.labels.bincount().tolist()]


def test_methods_share_network_and_order_at_one_seed(fixed):
    parts = split(fixed, DIGITS, 0)
    first, second = (begin(fixed, parts, 0, CPU).model for _ in range(2))
    other = begin(fixed, parts, 1, CPU).model
    assert torch.equal(first.head.weight, second.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)


@pytest.mark.parametrize("steps", [3, 24, None])
def test_plain_training_takes_its_start_and_as_many_steps_as_the_budget(fixed, monkeypatch, steps):
    spent = [0.0]

    def train(method, rows, run, batch_size):  # 3 s to begin, half a second each step
        spent[0] += 3 + run.phase.epochs * 0.5 * -(-len(rows) // batch_size)

    class Clock:
        def __init__(self, device):
            self.work = spent[0]

        def __enter__(self):
            return self

        def __exit__(self, *given):
            self.work = spent[0] - self.work

    monkeypatch.setattr(classification, "train", train)
    monkeypatch.setattr(classification, "Clock", Clock)
    parts = split(fixed, DIGITS, 0)
    # 118 rows are eight steps of up to sixteen, eight times
    assert time_plain(fixed, parts, 0, CPU, steps) == pytest.approx(3 + 0.5 * 64)
