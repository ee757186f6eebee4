"""Parquet files of pictures, in the layouts that common writers make."""

import io
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from ltbench import LTBenchError
from ltbench.datasets import folders_with_data
from ltbench.datasets.files import read

pa = pytest.importorskip("pyarrow")

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 6, 6, 3), dtype=np.uint8)
LABELS = [0, 1] * 4
NAMES = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}


def encoded(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


IMAGES = [encoded(pixels) for pixels in PIXELS]


def write(path, images=IMAGES, labels=LABELS, metadata=None, image="img", label="label"):
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({image: images, label: labels})
    if metadata is not None:
        table = table.replace_schema_metadata({"huggingface": metadata})
    parquet.write_table(table, path)


def is_whole(dataset, classes=("0", "1")):
    expected = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)
    return (
        torch.equal(dataset.train.inputs, expected)
        and dataset.train.labels.tolist() == LABELS
        and dataset.classes == classes
    )


@pytest.mark.parametrize(
    "images",
    [
        pa.array(IMAGES),
        pa.array(IMAGES, pa.large_binary()),
        pa.array(IMAGES, pa.binary_view()),
        pa.array(IMAGES).dictionary_encode(),
        pa.array([{"bytes": image, "path": None} for image in IMAGES]),
        pa.array([{"path": "a.png", "bytes": image} for image in IMAGES]),
        pa.chunked_array([IMAGES[:3], IMAGES[3:]]),
    ],
    ids=["bytes", "large", "views", "dictionary", "struct", "path-and-bytes", "chunks"],
)
def test_bytes_are_read_whatever_type_holds_them(tmp_path, images):
    write(tmp_path / "train.parquet", images)
    assert is_whole(read(tmp_path))


def test_a_row_may_name_its_file_in_place_of_bytes(tmp_path):
    (tmp_path / "pics").mkdir()
    for k, image in enumerate(IMAGES):
        (tmp_path / "pics" / f"{k}.png").write_bytes(image)
    rows = [{"bytes": None, "path": f"pics/{k}.png"} for k in range(8)]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    write(tmp_path / "train.parquet", pa.array(rows, kind))
    assert is_whole(read(tmp_path))
    for path in ("../secret.png", "/etc/passwd", "", None):
        write(
            tmp_path / "train.parquet", pa.array([*rows[:7], {"bytes": None, "path": path}], kind)
        )
        with pytest.raises(LTBenchError, match="row 7 holds no image"):
            read(tmp_path)


@pytest.mark.parametrize("image", ["img", "image"])
@pytest.mark.parametrize("label", ["label", "labels", "fine_label"])
def test_columns_are_known_by_their_usual_names(tmp_path, image, label):
    write(tmp_path / "train.parquet", image=image, label=label)
    assert is_whole(read(tmp_path))


@pytest.mark.parametrize("below", ["", "data/", "plain_text/"])
@pytest.mark.parametrize(
    "names",
    [
        ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet"),
        ("train-00000-of-00002-a1b2c3.parquet", "train-00001-of-00002-d4e5f6.parquet"),
        ("train/0000.parquet", "train/0001.parquet"),
    ],
)
def test_shards_are_read_in_order_where_a_hub_puts_them(tmp_path, monkeypatch, below, names):
    folder = tmp_path / "pics"
    for name, part in zip(names, (slice(0, 5), slice(5, 8)), strict=True):
        write(folder / below / name, IMAGES[part], LABELS[part])
    test = names[0].replace("train", "test").replace("of-00002", "of-00001")
    write(folder / below / test, IMAGES[:2], [1, 0])
    dataset = read(folder)
    assert is_whole(dataset)
    assert dataset.test.labels.tolist() == [1, 0]
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    assert folders_with_data() == [folder]


@pytest.mark.parametrize(
    "names",
    [
        ["train-00000-of-00002.parquet"],
        ["train-00001-of-00002.parquet"],
        ["train-00000-of-00002.parquet", "train-00000-of-00001.parquet"],
        ["train.parquet", "train-00000-of-00001.parquet"],
    ],
)
def test_shards_that_are_not_whole_are_refused(tmp_path, names):
    for name in names:
        write(tmp_path / "data" / name)
    with pytest.raises(LTBenchError, match="the parts of train are not whole"):
        read(tmp_path)


def test_a_part_that_is_not_read_is_told(tmp_path):
    for split in ("train", "validation"):
        write(tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    dataset = read(tmp_path)
    assert is_whole(dataset)
    assert dataset.notes == ("the part validation is not read",)


def test_of_several_configurations_one_must_be_named(tmp_path):
    for name in ("fine", "coarse"):
        write(tmp_path / name / "train-00000-of-00001.parquet")
    with pytest.raises(LTBenchError, match="holds several data sets: coarse, fine; name the"):
        read(tmp_path)
    assert is_whole(read(tmp_path / "fine"))


def test_ten_shards_and_more_stand_in_the_order_of_their_numbers(tmp_path):
    for k in range(12):
        write(tmp_path / f"train-{k}-of-12.parquet", [IMAGES[k % 8]], [k % 2])
    assert read(tmp_path).train.labels.tolist() == [0, 1] * 6


def test_a_folder_that_a_cluster_wrote_as_one_file_is_read(tmp_path):
    for k, part in enumerate((slice(0, 5), slice(5, 8))):
        write(tmp_path / "train.parquet" / f"part-{k}.snappy.parquet", IMAGES[part], LABELS[part])
    (tmp_path / "train.parquet" / "_SUCCESS").touch()
    (tmp_path / "train.parquet" / ".part-0.crc").touch()
    assert is_whole(read(tmp_path))
    assert is_whole(read(tmp_path / "train.parquet"))


@pytest.mark.parametrize(
    "kind", [None, pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_labels_may_be_words(tmp_path, kind):
    words = ["dog", "cafe\u0301"] * 4
    write(tmp_path / "train.parquet", labels=pa.array(words, kind))
    write(tmp_path / "test.parquet", IMAGES[:2], ["café", "dog"])
    dataset = read(tmp_path)
    assert dataset.classes == ("café", "dog")
    assert dataset.train.labels.tolist() == [1, 0] * 4
    assert dataset.test.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    "labels",
    [
        pa.array(LABELS, pa.int8()),
        pa.array(LABELS, pa.uint64()),
        pa.array(LABELS).dictionary_encode(),
    ],
)
def test_labels_are_whole_numbers_of_any_width(tmp_path, labels):
    write(tmp_path / "train.parquet", labels=labels)
    assert is_whole(read(tmp_path))


@pytest.mark.parametrize(
    ("labels", "row"),
    [
        ([0, 1, 0, 1, 0, 1, 0, None], 7),
        ([0, 1, 0, 1, 0, 1, 0, -1], 7),
        ([0, 1, 0, 1, 0, 1, 0, 9], 7),
        ([0.0, 1.0] * 4, 0),
        ([True, False] * 4, 0),
        ([[0], [1]] * 4, 0),
        (["cat", None] * 4, 0),
    ],
)
def test_a_label_that_is_none_is_refused_with_its_row(tmp_path, labels, row):
    write(tmp_path / "train.parquet", labels=labels)
    with pytest.raises(LTBenchError, match=f"row {row} has label .*; labels are whole numbers"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("told", "classes"),
    [
        (NAMES, ("cat", "dog")),
        ({"info": {"features": {"label": {"names": {"1": "dog", "0": "cat"}}}}}, ("cat", "dog")),
        ({"info": {"features": {"label": {"names": ["ca", "ca"]}}}}, ("ca (0)", "ca (1)")),
        ({"info": {"features": {"label": {"names": [7, 9]}}}}, ("7", "9")),
        ({"info": {"features": {"label": {"names": ["cafe\u0301", "b"]}}}}, ("café", "b")),
        ({"info": {"features": {"label": [{"names": ["cat", "dog"]}]}}}, ("0", "1")),
        ({"info": {"features": {"label": {"names": None}}}}, ("0", "1")),
        ({"info": {"features": {"label": {"names": {"a": "cat"}}}}}, ("0", "1")),
        ({"info": {"features": {"label": None}}}, ("0", "1")),
        ({"info": {"features": [1]}}, ("0", "1")),
        ({"info": None}, ("0", "1")),
        ([1], ("0", "1")),
        (None, ("0", "1")),
        ("text", ("0", "1")),
    ],
)
def test_names_of_classes_are_taken_where_the_metadata_tell_them(tmp_path, told, classes):
    write(tmp_path / "train.parquet", metadata=json.dumps(told))
    assert is_whole(read(tmp_path), classes)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ("{", "its metadata cannot be read"),
        (b"\xff", "its metadata cannot be read"),
        ("[" * 100_000, "its metadata cannot be read"),
        (
            json.dumps({"info": {"features": {"label": {"names": [None, {}]}}}}),
            "its names of classes are no words",
        ),
    ],
)
def test_metadata_that_say_nothing_are_told(tmp_path, metadata, words):
    write(tmp_path / "train.parquet", metadata=metadata)
    dataset = read(tmp_path)
    assert is_whole(dataset)
    assert dataset.notes == (f"train.parquet: {words}, so classes are called by number",)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["cat"], "label 1 is out of 0..0"),
        (["cat", "dog", "cow"], "class cow has no images in one split"),
    ],
)
def test_names_that_do_not_fit_the_labels_are_refused(tmp_path, names, words):
    told = {"info": {"features": {"label": {"names": names}}}}
    write(tmp_path / "train.parquet", metadata=json.dumps(told))
    with pytest.raises(LTBenchError, match=words):
        read(tmp_path)


def test_files_that_call_their_classes_otherwise_are_not_put_together(tmp_path):
    write(tmp_path / "train.parquet", metadata=json.dumps(NAMES))
    other = json.dumps(NAMES).replace('"cat", "dog"', '"dog", "cat"')
    write(tmp_path / "test.parquet", metadata=other)
    with pytest.raises(LTBenchError, match="test.parquet names the classes otherwise than train"):
        read(tmp_path)


def test_the_folders_around_a_file_add_no_columns(tmp_path):
    write(tmp_path / "label=3" / "img=x" / "train.parquet")
    assert is_whole(read(tmp_path / "label=3" / "img=x"))


def test_a_file_in_a_folder_of_another_encoding_is_read(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    write(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").rename(folder / "train.parquet")
    assert is_whole(read(folder))
