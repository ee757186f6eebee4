import io
import json
import shutil
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from ltbench import LTBenchError
from ltbench.datasets import of_files
from ltbench.datasets.files import read

CHANCE = np.random.default_rng(0)


def picture(shape=(8, 8, 3)):
    return CHANCE.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def folders(tmp_path):
    """Class folders of both splits, with their pixels."""
    pixels = {}
    for split, n in (("train", 3), ("test", 1)):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for position in range(n):
                pixels[split, name, position] = picture()
                image = Image.fromarray(pixels[split, name, position])
                image.save(tmp_path / split / name / f"{position}.png")
    return tmp_path, pixels


def test_class_folders_are_read_in_order_of_name(folders):
    path, pixels = folders
    dataset = read(path)
    assert dataset.classes == ("cat", "dog")
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    expected = torch.from_numpy(pixels["train", "dog", 1]).permute(2, 0, 1)
    assert torch.equal(dataset.train.inputs[4], expected)
    assert dataset.test.labels.tolist() == [0, 1]
    assert dataset.train.inputs.dtype == torch.uint8


def test_class_folders_may_stand_alone(folders):
    dataset = read(folders[0] / "train")
    assert len(dataset.train) == 6
    assert dataset.test is None


def test_images_are_cut_to_a_size(folders):
    Image.fromarray(picture((30, 40, 3))).save(folders[0] / "train" / "cat" / "0.png")
    assert read(folders[0], size=16).train.inputs.shape == (6, 3, 16, 16)
    with pytest.raises(LTBenchError, match="or a size must be given"):
        read(folders[0])


def test_a_list_file_names_images_and_labels(folders):
    path = folders[0]
    (path / "train.txt").write_text("train/dog/0.png 1\ntrain/cat/2.png 0\n")
    (path / "test.txt").write_text("test/cat/0.png 0\ntest/dog/0.png 1\n")
    dataset = read(path)
    assert dataset.train.labels.tolist() == [1, 0]
    expected = torch.from_numpy(folders[1]["train", "cat", 2]).permute(2, 0, 1)
    assert torch.equal(dataset.train.inputs[1], expected)


def parquet(path, images, labels, names=None):
    import pyarrow
    from pyarrow import parquet as file

    def encoded(pixels):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return {"bytes": buffer.getvalue(), "path": None}

    table = pyarrow.table({"img": [encoded(image) for image in images], "label": labels})
    if names is not None:
        info = {"info": {"features": {"label": {"names": names}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    file.write_table(table, path)


def test_parquet_files_are_read_as_the_hub_writes_them(tmp_path):
    images = [picture((4, 4)) for _ in range(4)]
    parquet(tmp_path / "train.parquet", images, [0, 1, 1, 0], ["zero", "one"])
    parquet(tmp_path / "test.parquet", images[:2], [1, 0], ["zero", "one"])
    dataset = read(tmp_path)
    assert dataset.classes == ("zero", "one")
    assert dataset.train.inputs.shape == (4, 1, 4, 4)
    assert (dataset.train.inputs[2, 0].numpy() == images[2]).all()
    assert dataset.test.labels.tolist() == [1, 0]


def test_an_npz_file_holds_images_or_features(tmp_path):
    x, y = picture((6, 5, 5, 3)), np.array([0, 1, 0, 1, 0, 1])
    np.savez(tmp_path / "images.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    dataset = of_files(tmp_path / "images.npz")()
    assert dataset.train.inputs.shape == (6, 3, 5, 5)
    np.savez(tmp_path / "rows.npz", x_train=x.reshape(6, -1) / 255, y_train=y, classes=["a", "b"])
    dataset = of_files(tmp_path / "rows.npz")()
    assert dataset.train.inputs.dtype == torch.float32
    assert dataset.classes == ("a", "b")


def corrupt(path):
    (path / "train" / "dog" / "1.png").write_bytes(b"no image")


def oversized(path):
    Image.new("1", (8000, 8000)).save(path / "train" / "dog" / "1.png")


def class_missing(path):
    for file in (path / "test" / "dog").iterdir():
        file.unlink()
    (path / "test" / "dog").rmdir()


def class_empty(path):
    for file in (path / "test" / "dog").iterdir():
        file.unlink()


def twins(path):
    for split in ("train", "test"):
        (path / split / "Dog").mkdir()


def outside(path):
    (path / "train.txt").write_text("../secret.png 0\n")


def no_label(path):
    (path / "train.txt").write_text("train/dog/0.png\n")


def gap_in_labels(path):
    (path / "train.txt").write_text("train/dog/0.png 0\n" * 2 + "train/cat/0.png 2\n")


def label_of_test_only(path):
    (path / "train.txt").write_text("train/dog/0.png 0\ntrain/cat/0.png 1\n")
    (path / "test.txt").write_text("test/dog/0.png 2\n" * 3)


def label_beyond_the_rows(path):
    (path / "train.txt").write_text("train/dog/0.png 0\ntrain/cat/0.png 99999999999999\n")


def not_text(path):
    (path / "train.txt").write_bytes("é.png 0\n".encode("latin-1"))


def sixteen_bits(path):
    Image.fromarray(CHANCE.integers(0, 60000, (8, 8), dtype=np.uint16)).save(
        path / "train" / "dog" / "1.png"
    )


def decompression_bomb(path):
    """An image file that says it has 3.6 thousand million pixels, and holds none."""
    parts = {b"IHDR": struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0), b"IDAT": b""}
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts.items()
    ]
    file = b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
    (path / "train" / "dog" / "1.png").write_bytes(file)


def one_class(path):
    for split in ("train", "test"):
        shutil.rmtree(path / split / "cat")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (corrupt, "1.png is not an image"),
        (sixteen_bits, "1.png has more than 8 bits a channel"),
        (decompression_bomb, "1.png cannot be read as an image"),
        (not_text, "train.txt cannot be read as text"),
        (one_class, "has one class"),
        (label_beyond_the_rows, "0.png has label 99999999999999; labels are whole numbers from 0"),
        (oversized, "1.png is 8000 x 8000, which is too large"),
        (class_missing, "class dog is in one split only"),
        (class_empty, "class dog has no images in one split"),
        (twins, "two classes of one name: 'Dog' and 'dog'"),
        (outside, "train.txt, line 1: ../secret.png points outside of"),
        (no_label, "train.txt, line 1: expected a path and a label"),
        (gap_in_labels, "class 1 has no images in one split"),
        (label_of_test_only, "class 2 has no images in one split"),
    ],
)
def test_a_spoilt_folder_is_refused_with_the_file(folders, spoil, words):
    spoil(folders[0])
    with pytest.raises(LTBenchError) as refusal:
        read(folders[0])
    assert words in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros(3)}, "it needs x_train and y_train"),
        ({"x_train": np.zeros((3, 2)), "y_train": np.zeros(2, int)}, "one whole number for each"),
        ({"x_train": np.zeros((3, 2)), "y_train": np.zeros(3)}, "one whole number for each"),
        ({"x_train": np.zeros((2, 2)), "y_train": np.array([-1, 0])}, "has label -1; labels are"),
        ({"x_train": np.zeros((2, 2)), "y_train": np.array([0, 2])}, "has label 2; labels are"),
        ({"x_train": np.zeros((0, 2)), "y_train": np.zeros(0, int)}, "not an array of numbers"),
        ({"x_train": np.array(["a", "b"]), "y_train": np.arange(2)}, "not an array of numbers"),
        (
            {"x_train": np.zeros((2, 2)), "y_train": np.arange(2), "x_test": np.zeros((1, 2))},
            "y_test is not one whole number",
        ),
        ({"x_train": np.full((2, 2), np.nan), "y_train": np.arange(2)}, "not finite"),
        ({"x_train": np.array([None]), "y_train": np.arange(1)}, "cannot be read"),
        (
            {"x_train": np.zeros((2, 2)), "y_train": np.arange(2), "classes": ["a"]},
            "label 1 is out of 0..0",
        ),
        (
            {"x_train": np.zeros((2, 2)), "y_train": np.arange(2), "classes": ["a", "a"]},
            "two classes of one name",
        ),
    ],
)
def test_a_spoilt_npz_file_is_refused(tmp_path, arrays, words):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(LTBenchError) as refusal:
        read(tmp_path / "x.npz")
    assert words in str(refusal.value)


def torn_archive():
    """An .npz file with bytes cut out of its middle."""
    file = io.BytesIO()
    np.savez(file, x_train=CHANCE.random((50, 4)), y_train=np.arange(50) % 2)
    whole = file.getvalue()
    return whole[:200] + whole[900:]


@pytest.mark.parametrize(
    ("content", "words"), [(b"hello", "not an .npz file"), (torn_archive(), "cannot be read")]
)
def test_a_torn_npz_file_is_refused(tmp_path, content, words):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(LTBenchError, match=words):
        read(tmp_path / "x.npz")


def test_a_parquet_file_without_the_columns_is_refused(tmp_path):
    import pyarrow
    from pyarrow import parquet as file

    file.write_table(pyarrow.table({"x": [1]}), tmp_path / "x.parquet")
    with pytest.raises(LTBenchError, match="it needs img and label"):
        read(tmp_path / "x.parquet")
    file.write_table(pyarrow.table({"img": ["a"], "label": [0]}), tmp_path / "z.parquet")
    with pytest.raises(LTBenchError, match="the images are string; they must be bytes"):
        read(tmp_path / "z.parquet")
    (tmp_path / "y.parquet").write_bytes(b"PAR1")
    with pytest.raises(LTBenchError, match="cannot be read"):
        read(tmp_path / "y.parquet")


def test_a_path_that_is_nothing_is_refused(tmp_path):
    with pytest.raises(LTBenchError, match="neither a folder nor"):
        read(tmp_path / "none")


def test_a_linked_folder_of_images_may_stand_elsewhere(folders, tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "images").symlink_to(folders[0] / "train", target_is_directory=True)
    (lists / "train.txt").write_text("images/dog/0.png 0\nimages/cat/0.png 1\n")
    assert len(read(lists).train) == 2


def test_images_four_pixels_high_keep_their_channels(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(picture((4, 6, 3))).save(tmp_path / name / "0.png")
    assert read(tmp_path).train.inputs.shape == (2, 3, 4, 6)
