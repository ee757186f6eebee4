"""Folders, variables and names of a user's machine."""

import json
import os
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltbench import LTBenchError
from ltbench.datasets import (
    PACKAGES,
    cache_folder,
    data_folder,
    folders_with_data,
    packaged,
    places_of_data,
)
from ltbench.datasets.files import read
from ltbench.registry.registry import Registry

FOLDERS = {"LTBENCH_DATA": data_folder, "LTBENCH_CACHE": cache_folder}


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("empty", ["", " ", "\t"])
def test_an_empty_variable_is_none(monkeypatch, tmp_path, name, empty):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(name, raising=False)
    unset = FOLDERS[name]()
    monkeypatch.setenv(name, empty)
    assert FOLDERS[name]() == unset
    assert unset.is_absolute()
    assert not unset.is_relative_to(tmp_path)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_variable_may_begin_at_home(monkeypatch, tmp_path, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(name, "~/there")
    assert FOLDERS[name]() == tmp_path / "there"


@pytest.mark.parametrize("home", [None, ""])
def test_a_user_without_a_home_has_a_folder_all_the_same(monkeypatch, home):
    for name in (*FOLDERS, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if home is None:
        monkeypatch.delenv("HOME", raising=False)

        def nobody(number):
            raise KeyError(number)

        monkeypatch.setattr("pwd.getpwuid", nobody)
    else:
        monkeypatch.setenv("HOME", home)
    for folder in (cache_folder(), data_folder()):
        assert folder.is_relative_to(tempfile.gettempdir())


def test_commands_write_nothing_into_the_folder_they_are_called_in(tmp_path):
    env = {**os.environ, "LTBENCH_CACHE": "", "LTBENCH_DATA": "", "HOME": "", "XDG_CACHE_HOME": ""}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.txt").touch()
    done = subprocess.run(
        [sys.executable, "-m", "ltbench", "list", "datasets"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "mine" not in done.stdout.split()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_data_folder_that_cannot_be_read_holds_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.txt").touch()
    assert folders_with_data() == [tmp_path / "mine"]

    def closed(path):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("os.listdir", closed)
        assert folders_with_data() == []


def pictures(folder, *classes, shape=(8, 8, 3)):
    random = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for k in range(3):
            image = Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8))
            image.save(folder / name / f"{k}.png")


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_a_data_set_is_found_by_its_name_in_either_form(monkeypatch, tmp_path, stored):
    names = {form: unicodedata.normalize(form, "café") for form in ("NFC", "NFD")}
    pictures(tmp_path / names[stored] / "train", "a", "b")
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    registry = Registry(data={unicodedata.normalize(stored, "ñandú"): tmp_path / names[stored]})
    for form, name in names.items():
        assert len(registry.dataset(name)().train) == 6
        assert len(registry.dataset(unicodedata.normalize(form, "ñandú"))().train) == 6


def test_classes_are_chosen_by_name_in_either_form(tmp_path):
    pictures(tmp_path, "ça", "b", "é")
    dataset = read(tmp_path)
    for form in ("NFC", "NFD"):
        kept = dataset.of_classes([unicodedata.normalize(form, name) for name in ("é", "ça")])
        assert kept.classes == ("é", "ça")
        assert kept.train.labels.tolist() == [1, 1, 1, 0, 0, 0]
    with pytest.raises(LTBenchError, match="unknown class 'e'"):
        dataset.of_classes(["e", "b"])


def test_info_tells_of_a_data_set_named_in_another_encoding(ltbench, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    pictures(folder, os.fsdecode(b"na\xefve"), "b")
    plain = ltbench("info", "pics", "--data", f"pics={folder}")
    assert plain.exit_code == 0
    assert "classes:         b, naïve" in plain.stdout
    told = json.loads(ltbench("info", "pics", "--data", f"pics={folder}", "--json").stdout)
    assert told["classes"] == ["b", "naïve"]
    named = ltbench("info", os.fsdecode(b"p\xe9"), "--data", os.fsdecode(b"p\xe9=") + str(folder))
    assert named.exit_code == 0
    assert "name:            pé" in named.stdout


def test_info_cuts_images_to_a_size(ltbench, tmp_path):
    pictures(tmp_path / "pics", "a")
    pictures(tmp_path / "pics", "b", shape=(9, 12, 3))
    refused = ltbench("info", "pics", "--data", "pics=pics")
    assert refused.exit_code == 2
    assert "--size for ltbench info" in refused.stderr
    done = ltbench("info", "pics", "--data", "pics=pics", "--size", 8, "--json")
    assert json.loads(done.stdout)["shape"] == [3, 8, 8]
    for words, told in (
        (("digits", "--size", 8), "digits is read at its own size"),
        (("erm", "--size", 8), "--size 8 is for a data set; erm is none"),
        (("digits", "--size", 0), "0 is not in the range"),
    ):
        done = ltbench("info", *words)
        assert done.exit_code == 2
        assert told in done.stderr


def test_paths_on_the_command_line_may_begin_at_home(ltbench, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    words = ("-m", "erm", "--seeds", 1, "--jobs", 1, "--results=~/there", "--log-json=~/log")
    (tmp_path / "home").mkdir()
    assert ltbench("run", tiny, *words).exit_code == 0
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["log", "there"]
    assert ltbench("merge", "~/there", "--into=~/whole").exit_code == 0
    assert ltbench("leaderboard", tiny, "--results=~/whole").exit_code == 0
    pictures(tmp_path / "home" / "pics", "a", "b")
    assert ltbench("info", "pics", "--data=pics=~/pics").exit_code == 0
    assert not Path("~").exists()


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_ships_is_among_the_places_of_data(package, tmp_path, monkeypatch):
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("raise RuntimeError('it is never imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, package, raising=False)
    assert packaged(package) == tmp_path / package / PACKAGES[package]
    assert packaged(package) in places_of_data()
