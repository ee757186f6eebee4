"""A pull request's review, for real: in a clone, with methods that come, change and misbehave."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import TINY
from test_documents import installed_as

from ltbench.boards.reviewing import MARK
from ltbench.commands.main import main

FIVE = TINY.replace("seeds = 2", "seeds = 5")  # of two, nothing is beyond chance
METHOD = '''"""{doc}"""

import inspect
import sys

from ltbench import Method, hookimpl


class Mine(Method):
    """A method of a newcomer."""

    name = "{name}"
    reference = "none: a test"
    corrects = "prior"

{body}

@hookimpl
def register_methods(register):
    register(Mine)
'''
GOOD = """    def adjust(self, scores, labels, run):
        return scores + 0.5 * run.seen.log()
"""
WORSE = """    def adjust(self, scores, labels, run):
        return scores - 2 * run.seen.log()
"""
BREAKS = """    def adjust(self, scores, labels, run):
        raise ValueError("nobody tried this")
"""
CHEATS = """    def decide(self, scores, run):
        frame = sys._getframe()
        while frame is not None:
            for one in frame.f_locals.values():
                if hasattr(one, "mark"):
                    return inspect.getclosurevars(one.mark).nonlocals["test"]().labels
            frame = frame.f_back
        return scores.argmax(dim=1)
"""


class Clone:
    """A git repository with a small board, to which a pull request brings methods."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.there = {
            **os.environ,
            "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }

    def call(self, *words):
        return subprocess.run(
            [sys.executable, "-m", "ltbench", *words],
            cwd=self.folder,
            env=self.there,
            capture_output=True,
            text=True,
        )

    def git(self, *words):
        own = ["-c", "user.name=a", "-c", "user.email=a@localhost"]
        subprocess.run(
            ["git", *own, *words], cwd=self.folder, env=self.there, check=True, capture_output=True
        )

    def review(self, *more):
        """The comment's text, and whether the check passes."""
        bounds = ["--fail", "balanced_accuracy:-1", "--fail", "cost:+400%"]
        into = ["--into", "build/review", "--sample", "2", "--jobs", "1"]
        done = self.call("review", "main", "tiny", *into, *bounds, *more)
        assert done.returncode in (0, 1), done.stderr
        text = (self.folder / "build/review/review.md").read_text()
        assert text == done.stdout
        assert text.startswith(f"{MARK}\n\n# What this change does\n")
        return text, done.returncode == 0

    def method(self, body, name="mine", doc="A method."):
        file = self.folder / "plugins/losses" / f"{name}.py"
        file.write_text(METHOD.format(doc=doc, name=name, body=body))


@pytest.fixture(scope="module")
def clone(tmp_path_factory, pytestconfig):
    root, folder = pytestconfig.rootpath, tmp_path_factory.mktemp("review") / "clone"
    aside = shutil.ignore_patterns("__pycache__")
    for part in ("ltbench", "plugins"):
        shutil.copytree(root / part, folder / part, ignore=aside)
    (folder / "ltbench_plugins").symlink_to("plugins")
    (folder / "ltbench/tracks/recognition/protocols/tiny.toml").write_text(FIVE)
    (folder / ".gitignore").write_text("build/\nltbench_plugins\n*.dist-info/\n")
    points = {
        "recognition": "ltbench.tracks.recognition",
        "erm": "ltbench_plugins.losses.erm",
        "logit-adjustment": "ltbench_plugins.margins.logit_adjustment",
    }
    named = ("mine", "changed", "worse", "cheats", "breaks", "words")
    points |= {name: f"ltbench_plugins.losses.{name}" for name in named}
    installed_as(folder, {"name": "ltbench", "version": "0", "entry-points": {"ltbench": points}})
    there = Clone(folder)
    for name in ("changed", "worse", "words"):
        there.method(GOOD, name)
    rows = [word for name in ("logit-adjustment", "changed", "worse") for word in ("-m", name)]
    done = there.call("run", "tiny", *rows, "--jobs", "1")
    assert done.returncode == 0, done.stderr
    there.git("init", "--quiet", "--initial-branch", "main")
    there.git("add", ".")
    there.git("commit", "--quiet", "-m", "Begin")
    there.git("switch", "--quiet", "--create", "change")
    return there


def restored(clone):
    clone.git("checkout", "--quiet", "--", ".")
    clone.git("clean", "--quiet", "-fd")


@pytest.fixture(scope="module")
def comment(clone):
    """What is said of a change that brings all kinds of methods at once."""
    clone.method(GOOD, "mine")
    clone.method(GOOD.replace("0.5", "0.6"), "changed")
    clone.method(WORSE, "worse")
    clone.method(CHEATS, "cheats")
    clone.method(BREAKS, "breaks")
    clone.method(GOOD, "words", doc="The same method in other words.")
    text, passes = clone.review("--sample", "0")
    restored(clone)
    assert not passes
    return text


def row_of(text, recipe):
    """The line on a row in the table of what moved."""
    moved = text.partition("## What moved on tiny\n")[2]
    return next(line for line in moved.splitlines() if line.startswith(f"| `{recipe}` "))


def test_a_new_method_is_checked_and_its_row_shown_beside_the_others(comment):
    assert "- `mine`: ok, " in comment
    assert "## Rows on tiny\n" in comment
    assert "\n| " in comment and "| `mine` " in comment and "| `erm` " in comment
    assert "New: " in comment and "`mine`" in comment.partition("New: ")[2].partition("\n")[0]
    assert "- mine" not in comment.partition("## Methods")[0]


def test_a_changed_method_is_set_against_what_it_was(comment):
    assert "- `changed`: ok, " in comment
    assert "beyond" not in row_of(comment, "changed")
    assert " of 1,000 |" in row_of(comment, "changed")
    assert "2 rows are as before, to the bit." in comment


def test_a_method_whose_words_alone_change_is_not_touched(comment):
    assert "`words`" not in comment


def test_a_method_that_got_worse_fails_and_is_told_by_how_much(comment):
    assert "- worse on tiny is beyond balanced_accuracy:-1" in comment
    assert "**beyond balanced_accuracy:-1**" in row_of(comment, "worse")


def test_a_method_that_cheats_fails_the_decoy(comment):
    assert "- cheats fails 1 check" in comment
    assert "decoys change nothing: expected the same decisions" in comment


def test_a_method_that_breaks_fails_with_its_reason(comment):
    assert "- breaks on tiny: 5 failed" in comment
    assert "- `breaks`: **FAILED**, " in comment
    assert "nobody tried this" in comment


def test_a_change_with_nothing_amiss_passes_and_comes_again(clone):
    clone.method(GOOD, "mine")
    text, passes = clone.review()
    restored(clone)
    assert passes
    assert "Nothing fails." in text
    assert text.count(": the same bits") == 2


def test_what_is_not_registered_or_no_module_or_no_longer_counts_is_told(clone):
    clone.method(GOOD, "unknown")
    (clone.folder / "plugins/losses/mine.py").write_text("import nothing_of_this_name\n")
    file = clone.folder / "ltbench/tracks/recognition/protocols/tiny.toml"
    file.write_text(FIVE.replace("epochs = 8", "epochs = 9"))
    text, passes = clone.review("--sample", "0")
    restored(clone)
    assert not passes
    assert "- `plugins/losses/unknown.py`: **no entry point names it**" in text
    assert "plugin 'mine' of ltbench left out: " in text
    assert "- 20 records of tiny no longer count; run it again" in text
    assert "## Rows" not in text


MADE_UP = """
from pathlib import Path
from msgspec import structs
from ltbench.results.records import read, write
for file in Path("leaderboards/tiny/records/worse").glob("*.json"):
    record = read(file)
    better = {**record.measures, "few": 1.0}
    write(Path("leaderboards"), structs.replace(record, measures=better, recall=[]), None)
"""


def test_records_that_were_made_up_are_run_again_and_named(clone):
    subprocess.run(
        [sys.executable, "-c", MADE_UP],
        cwd=clone.folder,
        env=clone.there,
        check=True,
    )
    text, passes = clone.review()
    restored(clone)
    assert not passes
    assert "- worse seed " in text and "of tiny gives something else when it is run again" in text
    assert text.count("- `worse` seed ") == 2
    assert ": **different** (few 1, again " in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere", "digits-lt", "--into", "build/review"], "git merge-base HEAD: "),
        (["--", "-x", "digits-lt"], "'-x' is no revision"),
        (["main", "digits-l", "--into", "build/review"], "did you mean 'digits-lt'"),
        (["main", "digits-lt", "--into", "ltbench"], "holds something that is no earlier review"),
        (["main", "digits-lt", "--fail", "few"], "--fail 'few': expected"),
        (["main", "digits-lt", "--sample", "-1"], "--sample -1"),
    ],
)
def test_what_cannot_be_reviewed_is_refused_in_a_line(clone, monkeypatch, words, told):
    monkeypatch.chdir(clone.folder)
    given = [] if "--into" in words else ["--into", "build/review"]
    done = CliRunner().invoke(main, ["review", *given, *words])
    assert done.exit_code == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_outside_of_a_git_repository_there_is_nothing_to_review(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    done = CliRunner().invoke(main, ["review", "main", "digits-lt", "--into", "build"])
    assert done.exit_code == 2
    assert "git rev-parse --show-toplevel: " in done.stderr
