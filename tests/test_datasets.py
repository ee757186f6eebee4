import pytest
import torch
from sklearn.datasets import load_digits

from ltbench import LTBenchError, Rows
from ltbench.datasets import Dataset, built_in


def test_digits_are_scikit_learns_in_their_order():
    dataset = built_in()["digits"]()
    source = load_digits()
    assert dataset.train.inputs.shape == (1797, 1, 8, 8)
    assert (dataset.train.inputs[:, 0].numpy() * 16 == source.images).all()
    assert dataset.train.labels.tolist() == source.target.tolist()
    assert dataset.classes == tuple("0123456789")
    assert dataset.test is None


def test_a_data_set_is_read_once():
    load = built_in()["digits"]
    assert load() is load()


def test_the_fingerprint_covers_values_labels_shapes_and_the_test_split():
    inputs, labels = torch.arange(12.0).reshape(6, 2), torch.tensor([0, 1, 0, 1, 0, 1])
    rows = Rows(inputs, labels)
    first = Dataset(rows, ("a", "b")).fingerprint
    others = [
        Dataset(Rows(inputs + 1, labels), ("a", "b")),
        Dataset(Rows(inputs, 1 - labels), ("a", "b")),
        Dataset(Rows(inputs.reshape(6, 2, 1), labels), ("a", "b")),
        Dataset(rows, ("a", "b"), test=rows),
        Dataset(Rows(inputs, labels, groups=labels), ("a", "b")),
        Dataset(Rows(inputs, labels, groups=1 - labels), ("a", "b")),
        Dataset(Rows(inputs, labels, mask=inputs > 3), ("a", "b")),
    ]
    assert first == Dataset(Rows(inputs.clone(), labels), ("a", "b")).fingerprint
    assert len({first, *(other.fingerprint for other in others)}) == 8


def test_some_classes_may_be_kept_in_the_order_in_which_they_are_named():
    rows = Rows(torch.arange(6.0)[:, None], torch.tensor([0, 1, 2, 0, 1, 2]))
    whole = Dataset(rows, ("a", "b", "c"), test=rows)
    two = whole.of_classes(("c", "a"))
    assert two.classes == ("c", "a")
    assert two.train.inputs[:, 0].tolist() == [0, 2, 3, 5]
    assert two.train.labels.tolist() == two.test.labels.tolist() == [1, 0, 1, 0]
    assert two.fingerprint == whole.fingerprint


def test_rows_of_some_classes_keep_their_groups():
    groups = torch.tensor([5, 6, 7, 8])
    whole = Dataset(
        Rows(torch.zeros(4, 1), torch.tensor([0, 1, 2, 0]), groups=groups), tuple("abc")
    )
    assert whole.of_classes(("c", "a")).train.groups.tolist() == [5, 7, 8]


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        (torch.tensor([0, 2, 2]), [1, 0, 2]),
        (torch.tensor([[1.0, 0, 1], [1, 0, 0], [0, 0, 0]]), [2, 0, 1]),
        (torch.tensor([0.5, 1.5, 2.5]), []),
    ],
)
def test_rows_of_each_class_are_told_where_there_are_classes(labels, counts):
    dataset = Dataset(Rows(torch.zeros(3, 1), labels), tuple("abc"))
    assert dataset.described()["class_counts"] == counts


def test_a_class_that_is_not_there_is_refused():
    whole = Dataset(Rows(torch.zeros(2, 1), torch.tensor([0, 1])), ("cat", "dog"))
    with pytest.raises(LTBenchError, match="unknown class 'cats'; did you mean 'cat'"):
        whole.of_classes(("cats", "dog"))
