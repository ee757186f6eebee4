"""Class folders and list files as people keep them."""

import os
import unicodedata

import numpy as np
import pytest
import torch
from PIL import Image

from ltbench import LTBenchError
from ltbench.datasets.files import read

CHANCE = np.random.default_rng(0)


def place(*files):
    """Saves another picture under each path; gives their pixels by path."""
    pixels = {}
    for file in files:
        os.makedirs(os.path.dirname(file), exist_ok=True)
        pixels[file] = CHANCE.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels[file]).save(file)
    return pixels


def classes(path, *names, images=2):
    return place(*(f"{path}/{name}/{k}.png" for name in names for k in range(images)))


def test_pictures_in_sub_folders_belong_to_the_class_above(tmp_path):
    paths = [f"{tmp_path}/{name}" for name in ("cat/a.png", "cat/old/b.png", "dog/2020/5/c.png")]
    pixels = place(*paths)
    dataset = read(tmp_path)
    assert dataset.train.labels.tolist() == [0, 0, 1]
    expected = np.stack([pixels[path] for path in paths])
    assert torch.equal(dataset.train.inputs, torch.from_numpy(expected).permute(0, 3, 1, 2))
    assert dataset.notes == ("2 images stand in sub-folders of the folder of their class",)


def test_links_in_a_circle_come_to_an_end(tmp_path):
    classes(tmp_path, "cat", "dog")
    (tmp_path / "cat" / "again").symlink_to(tmp_path / "cat", target_is_directory=True)
    assert len(read(tmp_path).train) == 4


def test_what_is_hidden_is_neither_class_nor_picture(tmp_path):
    classes(tmp_path, "cat", "dog", ".ipynb_checkpoints", "__MACOSX", ".Trash-1000")
    for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / "cat" / name).write_bytes(b"no picture")
    place(f"{tmp_path}/cat/.ipynb_checkpoints/0-checkpoint.png")
    dataset = read(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert len(dataset.train) == 4
    assert dataset.notes == ()


def test_endings_count_in_any_case(tmp_path):
    names = ("0.PNG", "1.Jpg", "2.JPEG", "3.tIf", "4.gif", "5.jfif")
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for ending in names:
            form = {"jpg": "JPEG", "jfif": "JPEG", "tif": "TIFF"}.get(ending[2:].lower())
            Image.new("RGB", (8, 8)).save(tmp_path / name / ending, form)
    assert len(read(tmp_path).train) == 12


def test_files_that_are_no_pictures_by_their_ending_are_told(tmp_path):
    classes(tmp_path, "cat", "dog")
    for name in ("0.json", "1.HEIC", "2"):
        (tmp_path / "dog" / name).write_bytes(b"")
    place(f"{tmp_path}/loose.png")
    assert read(tmp_path).notes == (
        "1 images stand outside of the folders of classes and are not read",
        "3 files are no pictures by their ending (.heic, .json, none)",
    )


@pytest.mark.parametrize(
    ("train", "test"), [("Train", "Test"), ("TRAIN", "test"), ("training", "Testing")]
)
def test_splits_are_known_by_their_usual_names_in_any_case(tmp_path, train, test):
    classes(tmp_path / train, "cat", "dog")
    classes(tmp_path / test, "cat", "dog", images=1)
    dataset = read(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert (len(dataset.train), len(dataset.test)) == (4, 2)


def test_a_split_that_is_not_read_is_told(tmp_path):
    for split in ("train", "val"):
        classes(tmp_path / split, "cat", "dog")
    dataset = read(tmp_path)
    assert dataset.test is None
    assert dataset.notes == ("the folder val is not read",)


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        (("test", "extra"), "has a folder test, but none called train"),
        (("train", "Training"), "which is meant"),
    ],
)
def test_splits_that_do_not_fit_are_refused_and_not_taken_for_classes(tmp_path, splits, words):
    for split in splits:
        classes(tmp_path / split, "cat", "dog")
    with pytest.raises(LTBenchError, match=words):
        read(tmp_path)


def test_a_class_may_be_called_test(tmp_path):
    classes(tmp_path, "control", "test")
    assert read(tmp_path).classes == ("control", "test")


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_classes_are_the_same_however_their_accents_are_composed(tmp_path, forms):
    for split, form in zip(("train", "test"), forms, strict=True):
        classes(tmp_path / split, *(unicodedata.normalize(form, n) for n in ("café", "dog", "ça")))
    dataset = read(tmp_path)
    assert dataset.classes == ("café", "dog", "ça")
    assert dataset.test.labels.bincount().tolist() == [2, 2, 2]


def test_a_copy_whose_names_are_composed_otherwise_is_the_same_data_set(tmp_path):
    names = ("ñ.png", "nz.png", "é.png", "f.png")
    for folder, form in (("linux", "NFC"), ("mac", "NFD")):
        random = np.random.default_rng(1)
        for name in ("a", "b"):
            (tmp_path / folder / name).mkdir(parents=True)
            for file in names:
                pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                file = unicodedata.normalize(form, file)
                Image.fromarray(pixels).save(tmp_path / folder / name / file)
    assert read(tmp_path / "linux").fingerprint == read(tmp_path / "mac").fingerprint


def test_two_folders_that_differ_in_their_accents_alone_are_told_apart_in_the_refusal(tmp_path):
    classes(tmp_path, *(unicodedata.normalize(form, "café") for form in ("NFC", "NFD")))
    with pytest.raises(LTBenchError, match="of one name: 'caf\\\\xe9' and 'cafe\\\\u0301'"):
        read(tmp_path)


def test_a_class_folder_named_in_another_encoding_is_read(tmp_path):
    for folder in (b"caf\xe9", b"dog"):
        classes(tmp_path, os.fsdecode(folder))
    dataset = read(tmp_path)
    assert dataset.classes == ("café", "dog")
    (tmp_path / os.fsdecode(b"caf\xe9") / "9.png").write_bytes(b"none")
    with pytest.raises(LTBenchError, match="/café/9.png is not an image"):
        read(tmp_path)


def test_a_folder_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    def closed(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", closed)
    with pytest.raises(LTBenchError, match="cannot be read: Permission denied"):
        read(tmp_path)


def listed(tmp_path, text, encoding="utf-8", name="train.txt"):
    pixels = classes(tmp_path / "pics", "cat", "dög")
    (tmp_path / name).write_bytes(text.encode(encoding))
    return read(tmp_path), pixels


@pytest.mark.parametrize(
    "text",
    [
        "pics/dög/1.png 1\npics/cat/0.png 0\n\n",
        "pics/dög/1.png\t1\r\npics/cat/0.png\t0\r\n",
        "pics/dög/1.png,1\npics/cat/0.png, 0\n",
        "./pics/dög/1.png  1  \npics//cat/0.png 0",
        "pics\\dög\\1.png 1\npics\\cat\\0.png 0",
        "\ufeffpics/dög/1.png 1\npics/cat/0.png 0",
        unicodedata.normalize("NFD", "pics/dög/1.png 1\npics/cat/0.png 0"),
    ],
    ids=["plain", "tabs", "commas", "blanks", "backslashes", "mark", "decomposed"],
)
def test_list_files_are_read_however_they_were_written(tmp_path, text):
    dataset, pixels = listed(tmp_path, text)
    assert dataset.train.labels.tolist() == [1, 0]
    first = torch.from_numpy(pixels[f"{tmp_path}/pics/dög/1.png"]).permute(2, 0, 1)
    assert torch.equal(dataset.train.inputs[0], first)


def test_a_list_file_may_be_called_in_any_case(tmp_path):
    dataset, _ = listed(tmp_path, "pics/dög/1.png 1\npics/cat/0.png 0\n", name="Train.TXT")
    assert len(dataset.train) == 2


@pytest.mark.parametrize("line", ["pics/cat/0.png", "pics/cat/0.png cat", "pics/cat/0.png -1", "0"])
def test_a_line_without_a_path_and_a_number_is_refused(tmp_path, line):
    with pytest.raises(LTBenchError, match="line 2: expected a path and a label"):
        listed(tmp_path, f"pics/dög/1.png 1\n{line}\n")
