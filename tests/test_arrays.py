"""An .npz file of images or features, in the layouts that common writers make."""

import numpy as np
import pytest
import torch

from ltbench import LTBenchError
from ltbench.datasets.files import read

CHANCE = np.random.default_rng(0)
IMAGES = CHANCE.integers(0, 256, (6, 5, 5, 3), dtype=np.uint8)
LABELS = np.array([0, 1] * 3)


def saved(tmp_path, name="x.npz", **arrays):
    np.savez(tmp_path / "saved.npz", **arrays)
    return read((tmp_path / "saved.npz").rename(tmp_path / name))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ("x_train", "y_train"),
        ("X_train", "Y_train"),
        ("Xtrain", "ytrain"),
        ("train_x", "train_y"),
        ("train_images", "train_labels"),
        ("train_data", "train_targets"),
        ("X", "y"),
        ("images", "labels"),
        ("data", "targets"),
    ],
)
def test_arrays_are_known_by_their_usual_names(tmp_path, x, y):
    dataset = saved(tmp_path, **{x: IMAGES, y: LABELS})
    assert torch.equal(dataset.train.inputs, torch.from_numpy(IMAGES).permute(0, 3, 1, 2))
    assert dataset.train.labels.tolist() == LABELS.tolist()
    assert dataset.notes == ()


def test_arrays_that_are_not_read_are_told_and_need_not_be_readable(tmp_path):
    words = np.array(["a", None], dtype=object)
    parts = {"train_images": IMAGES, "train_labels": LABELS[:, None], "val_images": IMAGES}
    dataset = saved(tmp_path, "x.NPZ", **parts, names=words)
    assert dataset.train.labels.tolist() == LABELS.tolist()
    assert dataset.notes == ("not read: val_images, names",)


@pytest.mark.parametrize(
    "labels",
    [
        LABELS[:, None],
        LABELS.astype(np.uint8),
        np.eye(2)[LABELS],
        np.eye(2, dtype=bool)[LABELS],
    ],
    ids=["column", "bytes", "one-hot", "one-hot of truths"],
)
def test_labels_are_numbers_in_a_column_or_one_hot(tmp_path, labels):
    dataset = saved(tmp_path, x_train=IMAGES, y_train=labels, x_test=IMAGES, y_test=labels)
    assert dataset.train.labels.tolist() == dataset.test.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("labels", [np.eye(2)[LABELS] * 0.5, np.ones((6, 2)), np.zeros((6, 2, 1))])
def test_rows_of_numbers_that_are_not_one_hot_are_no_labels(tmp_path, labels):
    with pytest.raises(LTBenchError, match="y_train is not one whole number for each of x_train"):
        saved(tmp_path, x_train=IMAGES, y_train=labels)


@pytest.mark.parametrize("encode", [str, str.encode], ids=["text", "bytes"])
def test_labels_and_names_of_classes_may_be_words(tmp_path, encode):
    words = np.array(
        [encode(("dög", "cat")[k]) if encode is str else ("dog", "cat")[k].encode() for k in LABELS]
    )
    dataset = saved(tmp_path, x_train=IMAGES, y_train=words, x_test=IMAGES[:2], y_test=words[:2])
    assert dataset.classes in (("cat", "dög"), ("cat", "dog"))
    assert dataset.train.labels.tolist() == (1 - LABELS).tolist()
    named = saved(tmp_path, "y.npz", x_train=IMAGES, y_train=LABELS, classes=np.array([b"a", b"b"]))
    assert named.classes == ("a", "b")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 7, 7), (1, 7, 7)),
        ((6, 3, 7, 7), (3, 7, 7)),
        ((6, 7, 7, 3), (3, 7, 7)),
        ((6, 7, 9, 1), (1, 7, 9)),
        ((6, 4, 7, 9), (4, 7, 9)),
        ((6, 4, 4, 3), (3, 4, 4)),
        ((6, 3, 4, 4), (3, 4, 4)),
        ((6, 1, 3, 3), (1, 3, 3)),
        ((6, 3, 3, 1), (1, 3, 3)),
        ((6, 7, 7, 2), (2, 7, 7)),
        ((6, 2, 7, 7), (2, 7, 7)),
        ((6, 7, 7, 12), (12, 7, 7)),
        ((6, 30), (30,)),
    ],
)
def test_channels_stand_first_or_last(tmp_path, shape, expected):
    x = CHANCE.integers(0, 256, shape, dtype=np.uint8)
    inputs = saved(tmp_path, x_train=x, y_train=LABELS).train.inputs
    assert tuple(inputs.shape[1:]) == expected
    moved = x if x.shape[1:] == expected or x.ndim < 4 else np.moveaxis(x, 3, 1)
    assert (inputs.numpy().ravel() == moved.ravel()).all()


@pytest.mark.parametrize("shape", [(6, 3, 3, 3), (6, 3, 9, 3), (6, 7, 9, 12), (6, 5, 5, 5)])
def test_channels_that_may_stand_either_way_are_refused(tmp_path, shape):
    with pytest.raises(LTBenchError, match="does not tell where its channels stand"):
        saved(tmp_path, x_train=np.zeros(shape), y_train=LABELS)


@pytest.mark.parametrize("shape", [(6,), (6, 2, 5, 5, 3), (6, 0)])
def test_arrays_of_another_kind_are_refused(tmp_path, shape):
    with pytest.raises(LTBenchError, match="x_train is not an array of numbers"):
        saved(tmp_path, x_train=np.zeros(shape), y_train=LABELS)


def test_numbers_beyond_single_precision_are_refused(tmp_path):
    with pytest.raises(LTBenchError, match="x_train holds values that are not finite"):
        saved(tmp_path, x_train=np.full((6, 2), 1e300), y_train=LABELS)
