"""What `ltbench init` says of data of one's own, and that its protocols run as they are."""

import random
import re
import tomllib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ltbench.protocols.schema import Scoring
from ltbench.protocols.writing import shot_borders, shot_groups, toml
from ltbench.registry.registry import installed
from ltbench.tracks.recognition import proposal as of_images
from ltbench.tracks.tabular import proposal as of_tables

BIRDS = {"auk": 7, "gull": 24, "skua": 4, "tern": 12}


@pytest.fixture
def photos(tmp_path):
    """Class folders of four unequal classes, of photographs of several sizes."""
    rng = np.random.default_rng(0)
    for k, (name, rows) in enumerate(BIRDS.items()):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for n in range(rows):
            pixels = rng.integers(40 * k, 40 * k + 90, (40 + n % 3, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{n}.png")
    return tmp_path / "photos"


@pytest.fixture
def census(tmp_path):
    """Words and numbers as in the data set adult, with ? for what is missing."""
    chance = random.Random(0)
    rows = [
        {
            "person id": 1000 + 7 * k,
            "age": chance.randint(17, 90),
            "workclass": chance.choice(["Private", "State-gov", "?"]),
            "hours": chance.choice([20, 40, 60, "?"]),
            "country": "Here",
            "income": "<=50K" if k % 4 else ">50K",
        }
        for k in range(160)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "census.csv", index=False)
    return tmp_path / "census.csv"


@pytest.fixture
def arrays(tmp_path):
    rng = np.random.default_rng(0)
    y = (np.arange(90) < 15).astype(int)
    np.savez(tmp_path / "two.npz", x_train=rng.normal(size=(90, 6)) + y[:, None], y_train=y)
    return tmp_path / "two.npz"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Budgets as of a slow machine."""
    monkeypatch.setattr(of_images, "FEWEST_EPOCHS", 2)
    monkeypatch.setattr(of_images, "MOST_EPOCHS", 2)


def begun(ltbench, path, name, *words):
    """What is told of data, and the protocol that is written, read as TOML."""
    done = ltbench("init", "--data", path, "--name", name, *words)
    assert done.exit_code == 0, done.output
    (command,) = re.findall(r"^  ltbench (run .*)$", done.stderr, re.MULTILINE)
    return done.stdout, command.split(), done


def the(tmp_path, name):
    return tomllib.loads((tmp_path / f"{name}.toml").read_text())


def test_unequal_classes_of_photographs_come_to_a_board_without_an_edit(ltbench, photos, tmp_path):
    told, command, _ = begun(ltbench, photos, "birds")
    assert re.search(r"gull: +24", told)
    assert "48 x 40 (" in told
    assert re.search(r"test rows: +4, cut from these", told)
    protocol = the(tmp_path, "birds")
    assert protocol["data"]["size"] == 41  # the median of their shorter sides
    assert protocol["network"]["widths"] == [16, 32, 64, 128]
    assert protocol["data"]["test_per_class"] == 1  # a third of four
    assert {"many", "medium", "few"} <= set(protocol["scoring"]["metrics"])
    done = ltbench(*command, "--seeds", 1, "--jobs", 1)
    assert done.exit_code == 0, done.output
    assert done.stdout.count("1 ok") == len(protocol["recipes"])


def test_a_table_with_question_marks_comes_to_a_board_without_an_edit(ltbench, census, tmp_path):
    told, command, _ = begun(ltbench, census, "census", "--target", "income")
    assert re.search(r">50K: +40", told)
    assert re.search(r"missing:\n +workclass: +\d+\n +hours: +\d+", told)
    assert "constant: country" in told
    table = the(tmp_path, "census")["tables"]["census"]
    assert table["missing"] == ["?"]
    assert table["drop"] == ["person id"]
    done = ltbench(*command, "--seeds", 1, "--jobs", 1)
    assert done.exit_code == 0, done.output
    assert "`smote+threshold`" in done.stdout


def test_arrays_of_two_classes_come_to_a_board_without_an_edit(ltbench, arrays, tmp_path):
    told, command, _ = begun(ltbench, arrays, "two")
    assert "rows of numbers" in told
    assert the(tmp_path, "two")["network"]["name"] == "mlp"
    done = ltbench(*command, "--seeds", 1, "--jobs", 1)
    assert done.exit_code == 0, done.output


def test_each_choice_has_a_comment_and_a_fixed_fingerprint(ltbench, photos, census, tmp_path):
    begun(ltbench, photos, "birds")
    begun(ltbench, census, "census", "--target", "income")
    for name in ("birds", "census"):
        text = (tmp_path / f"{name}.toml").read_text()
        chosen = re.findall(
            r"^(recipes|seeds|source|fingerprint|size|test_per_class|epochs|"
            r"augmentation|metrics|shot_splits|target|missing|drop) = ",
            text,
            re.M,
        )
        assert len(chosen) >= 6
        for key in chosen:
            assert re.search(rf"^#.*\n{key} = ", text, re.MULTILINE), key
        assert '"any"' not in text


def test_a_list_file_is_the_data_set_of_its_folder(ltbench, photos, tmp_path):
    lines = [f"{name}/{n}.png {k}" for k, name in enumerate(BIRDS) for n in range(BIRDS[name])]
    (photos / "train.txt").write_text("\n".join(lines))
    told, command, _ = begun(ltbench, photos / "train.txt", "listed")
    assert command[-1] == f"listed={photos}"
    (photos / "train.txt").rename(photos / "all.txt")
    done = ltbench("init", "--data", photos / "all.txt", "--name", "again")
    assert (done.exit_code, "is a list of images; call it train.txt" in done.stderr) == (2, True)


def test_parquet_is_read_as_a_table(ltbench, tmp_path):
    frame = pd.DataFrame({"a": range(60), "b": [1.5, 2.5, 0.5] * 20, "class": ["x", "y", "y"] * 20})
    frame.to_parquet(tmp_path / "t.parquet")
    told, _, _ = begun(ltbench, tmp_path / "t.parquet", "packed")
    assert "by its name" in (tmp_path / "packed.toml").read_text()
    assert re.search(r"y: +40", told)


def test_a_test_split_of_its_own_is_taken_and_leaks_are_told(ltbench, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (40, 8, 8), dtype=np.uint8)
    y = (np.arange(40) % 4 == 0).astype(int)
    x[1], x[2] = x[0], 7  # of another class; and of one value
    np.savez(tmp_path / "s.npz", x_train=x, y_train=y, x_test=x[:6], y_test=y[:6])
    told, _, _ = begun(ltbench, tmp_path / "s.npz", "split")
    assert re.search(r"test rows: +6\n", told)
    assert re.search(r"in two classes: +1; the first are rows 0 and 1, of 1 and 0", told)
    assert re.search(r"in both splits: +6", told)
    assert re.search(r"of one value: +1", told)
    assert "test_per_class" not in the(tmp_path, "split")["data"]


def test_many_rows_of_a_table_are_kept_by_their_shares(ltbench, census, tmp_path, monkeypatch):
    monkeypatch.setattr(of_tables, "MOST_ROWS", 100)
    begun(ltbench, census, "census")
    assert the(tmp_path, "census")["tables"]["census"]["rows"] == 100


def test_labels_that_look_alike_are_told(ltbench, tmp_path):
    labels = ["01", "1", " yes", "yes", "1.0"] * 12
    frame = pd.DataFrame({"a": range(60), "b": [k * k % 7 for k in range(60)], "target": labels})
    frame.to_csv(tmp_path / "l.csv", index=False)
    told, _, _ = begun(ltbench, tmp_path / "l.csv", "labels")
    assert "classes that are one number: " in told
    assert "01" in told
    assert "differed in blanks" in told


TABLE = {"a": range(60), "b": [0.5, 1.5, 2.5] * 20}


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ([k / 7 for k in range(60)], "is the number itself meant?"),
        ([*range(60)], "is the number itself meant?"),
        (["same"] * 60, "it has one class"),
        (["rare"] + ["common"] * 59, "class rare has 1 row"),
        ([f"2024-01-{1 + k % 28:02}" for k in range(60)], "holds dates, which are no classes"),
        ([f"text {k} of its own" for k in range(60)], "holds 60 different words in 60 rows"),
    ],
)
def test_a_target_that_is_none_is_refused(ltbench, tmp_path, target, told):
    pd.DataFrame({**TABLE, "target": target}).to_csv(tmp_path / "t.csv", index=False)
    done = ltbench("init", "--data", "t.csv", "--name", "mine")
    assert (done.exit_code, told in done.stderr) == (2, True), done.output
    assert not (tmp_path / "mine.toml").exists()


def test_many_whole_numbers_may_be_classes_or_amounts(ltbench, tmp_path):
    rows = {"a": [k % 11 for k in range(300)], "age": [20 + k % 25 for k in range(300)]}
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    told, _, _ = begun(ltbench, "t.csv", "mine")
    assert re.search(r"target: +age, the last column", told)
    assert "25 whole numbers are classes here; if they are amounts, name another" in told


def test_a_column_of_thousands_of_texts_is_left_out(ltbench, tmp_path):
    texts = [f"text {k} of its own" for k in range(400)]
    frame = pd.DataFrame(
        {"a": [*range(10)] * 40, "note": texts, "target": ["x", "y", "x", "x"] * 100}
    )
    frame.loc[1, "note"] = texts[0]  # else it would be left out as different in every row
    frame.to_csv(tmp_path / "t.csv", index=False)
    begun(ltbench, "t.csv", "mine")
    assert the(tmp_path, "mine")["tables"]["mine"]["drop"] == ["note"]


def test_files_that_are_not_what_their_ending_says_are_refused(ltbench, photos, arrays, tmp_path):
    (tmp_path / "image.csv").write_bytes((photos / "auk" / "0.png").read_bytes())
    (tmp_path / "arrays.csv").write_bytes(arrays.read_bytes())
    (tmp_path / "text.npz").write_text("a,b\n1,2\n")
    (tmp_path / "text.parquet").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "empty").mkdir()
    for name, told in (
        ("image.csv", "is a PNG image"),
        ("arrays.csv", "is an .npz file; call it arrays.npz"),
        ("text.npz", "is not an .npz file"),
        ("text.parquet", "it is no parquet file"),
        ("empty.csv", "is empty"),
        ("empty", "holds no class folders"),
        ("nowhere.csv", "does not exist"),
    ):
        done = ltbench("init", "--data", name, "--name", "mine")
        assert (done.exit_code, told in done.stderr) == (2, True), (name, done.output)


def test_one_class_or_one_image_in_a_class_is_refused(ltbench, photos):
    for path in sorted((photos / "skua").iterdir())[1:]:
        path.unlink()
    done = ltbench("init", "--data", photos, "--name", "birds")
    assert (done.exit_code, "class skua has one row" in done.stderr) == (2, True), done.output
    for name in ("auk", "skua", "tern"):
        (photos / name).rename(photos.parent / name)
    done = ltbench("init", "--data", photos, "--name", "birds")
    assert (done.exit_code, "has one class" in done.stderr) == (2, True), done.output


def test_names_and_targets_that_cannot_be_had_are_refused(ltbench, census, tmp_path):
    for words, told in (
        (("--name", "My Birds"), "say 'my-birds'"),
        (("--name", "digits-lt"), "there is a protocol 'digits-lt' already"),
        (("--name", "digits"), "there is a data set 'digits' already"),
        (("--name", "mine", "--target", "incom"), "--target 'incom' is no column"),
    ):
        done = ltbench("init", "--data", census, *words)
        assert (done.exit_code, told in done.stderr) == (2, True), done.output
    (tmp_path / "mine.toml").write_text("kept")
    done = ltbench("init", "--data", census, "--name", "mine")
    assert (done.exit_code, "mine.toml is there already" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("counts", "borders", "groups"),
    [
        ([500, 50, 5], (20, 100), ["many", "medium", "few"]),  # the usual ones serve
        ([40, 20, 8], (9, 39), ["many", "medium", "few"]),
        ([9, 8, 7, 3, 2, 1], (3, 7), ["many", "medium", "few"]),
        ([3, 2, 1], (2, 2), ["many", "medium", "few"]),
        ([30, 10], (11, 29), ["many", "few"]),
        ([2, 1], (2, 2), ["medium", "few"]),
        ([7, 7], (7, 7), ["medium"]),
    ],
)
def test_no_shot_group_is_empty_that_need_not_be(counts, borders, groups):
    assert shot_borders(counts) == borders
    assert shot_groups(counts, borders) == groups
    Scoring(["accuracy"], borders)  # which refuses borders that fall


@pytest.mark.parametrize("text", ['a "b"', "a\\b", "line\nbreak", "\x7f", "ü", "‹"])
def test_texts_are_read_from_toml_as_they_were(text):
    assert tomllib.loads(f"t = {toml([text, 'x'])}")["t"] == [text, "x"]


def test_every_recipe_that_may_be_proposed_is_one():
    every = {
        recipe
        for counts in ([900, 5], [900, 90], [9, 9])
        for module in (of_images, of_tables)
        for recipe in module._recipes(counts)
    }
    for recipe in sorted(every):
        installed().recipe(recipe)
