"""Boards that an installed ltbench brings along, and one's own rows among them."""

import json
import tarfile

import pytest

import ltbench as public
from ltbench.boards import shipped

METHOD = """
from ltbench import Method, hookimpl


class Mine(Method):
    name = "NAME"

    def adjust(self, scores, labels, run):
        return scores + CHANGE


@hookimpl
def register_methods(register):
    register(Mine)
"""


def method(folder, name="mine", change="0"):
    path = folder / f"{name}.py"
    path.write_text(METHOD.replace("NAME", name).replace("CHANGE", change))
    return path


@pytest.fixture
def published(tmp_path, tiny, monkeypatch):
    """The board of `erm`, `theirs` and `focal`, as if it had come along; gives its table."""
    theirs, place = tmp_path / "made", tmp_path / "archives"
    recipes = ["erm", "theirs", "focal"]
    plugin = method(tmp_path, "theirs")
    public.run(tiny, recipes, 2, results=theirs, jobs=1, plugins=[plugin])
    place.mkdir()
    with tarfile.open(place / "tiny.tar.xz", "w:xz") as archive:
        for path in sorted((theirs / "tiny").rglob("*.json")):
            archive.add(path, path.relative_to(theirs))
    monkeypatch.setattr(shipped, "archives", lambda: place)
    shipped.unpacked.cache_clear()
    yield theirs
    shipped.unpacked.cache_clear()


def rows(text):
    lines = text.splitlines()
    return {line.split("`")[1] for line in lines if line.startswith("|") and "`" in line}


def test_without_records_of_ones_own_the_published_board_is_shown(published, tiny, ltbench):
    shown = ltbench("leaderboard", tiny)
    assert shown.exit_code == 0, shown.output
    assert rows(shown.stdout) == {"erm", "theirs", "focal"}
    assert shown.stdout == ltbench("leaderboard", tiny, "--results", published).stdout.replace(
        "made", "leaderboards"
    )
    assert shown.stderr == ""
    every = ltbench("leaderboard", "--all")
    assert every.exit_code == 2
    assert "unknown protocol 'tiny'" in every.stderr  # it is asked for by name, as none of ours
    told = ltbench("leaderboard", tiny, "--own")
    assert (told.exit_code, "holds no records" in told.stderr) == (2, True)
    told = ltbench("leaderboard", tiny, "--results", "nowhere")
    assert (told.exit_code, "nowhere/tiny holds no records" in told.stderr) == (2, True)


def test_ones_own_row_stands_among_published_ones(published, tiny, ltbench, tmp_path):
    mine = method(tmp_path)
    done = ltbench("run", tiny, "-m", "mine", "--plugin", mine, "--jobs", 1, "--seeds", 2)
    assert rows(done.stdout) == {"erm", "mine"}
    assert "ltbench leaderboard tiny shows it among published rows" in done.stderr
    shown = ltbench("leaderboard", tiny, "--plugin", mine)
    assert rows(shown.stdout) == {"erm", "mine", "theirs", "focal"}
    assert shown.stderr == (
        "among published rows: mine; shown as published, not as run here: erm; --own shows "
        "yours alone\n"
    )
    assert rows(ltbench("leaderboard", tiny, "--own").stdout) == {"erm", "mine"}
    frame = public.leaderboard(tiny, results=tmp_path / "leaderboards")
    assert set(frame["recipe"]) == {"erm", "mine", "theirs", "focal"}
    alone = public.leaderboard(tiny, results=tmp_path / "leaderboards", own=True)
    assert set(alone["recipe"]) == {"erm", "mine"}
    ltbench("leaderboard", tiny, "--write")
    table = (tmp_path / "leaderboards" / "tiny" / "table.md").read_text()
    assert rows(table) == {"erm", "mine"}


def test_a_method_whose_code_is_another_takes_the_place_of_the_published_row(
    published, tiny, ltbench, tmp_path
):
    changed = method(tmp_path, "theirs", "torch.arange(10).to(scores)").read_text()
    (tmp_path / "theirs.py").write_text(f"import torch\n{changed}")
    ltbench("run", tiny, "-m", "theirs", "--plugin", tmp_path / "theirs.py", "--seeds", 2)
    shown = ltbench("leaderboard", tiny, "--format", "json")
    assert "among published rows: theirs; shown as published, not as run here: erm" in shown.stderr
    mean = {
        row["recipe"]: row["measures"]["balanced_accuracy"]["mean"]
        for row in json.loads(shown.stdout)["rows"]
    }
    own = public.leaderboard(tiny, results=tmp_path / "leaderboards", own=True)
    assert mean["theirs"] == own.set_index("recipe").loc["theirs", "balanced_accuracy"]


def test_records_of_other_code_or_another_device_are_told_of(published, tiny, ltbench, tmp_path):
    mine = method(tmp_path)
    ltbench("run", tiny, "-m", "mine", "--plugin", mine, "--seeds", 2)
    for path in (tmp_path / "leaderboards").rglob("*.json"):
        record = shipped.records.read(path)
        here = shipped.records.structs.replace(
            record, environment={**record.environment, "code": "another"}
        )
        path.write_bytes(shipped.records.encoded(here.sealed()))
    shown = " ".join(ltbench("leaderboard", tiny).stdout.split())
    told = shown.partition("records are not all of one kind: ltbench's own code: ")[2]
    assert "another (2)" in told.partition(".")[0]


def test_published_records_of_another_problem_stay_out(published, tiny, ltbench, tmp_path):
    tiny.write_text(tiny.read_text().replace("epochs = 8", "epochs = 7"))
    ltbench("run", tiny, "-m", "erm", "--seeds", 2)
    shown = ltbench("leaderboard", tiny)
    assert (rows(shown.stdout), shown.stderr) == ({"erm"}, "")
