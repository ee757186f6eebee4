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
                if hasattr(one, "test") and hasattr(one, "class_counts") and callable(one.test):
                    return one.test().labels
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
        "mine": "ltbench_plugins.losses.mine",
        "changed": "ltbench_plugins.losses.changed",
    }
    installed_as(folder, {"name": "ltbench", "version": "0", "entry-points": {"ltbench": points}})
    there = Clone(folder)
    there.method(GOOD, "changed")
    rows = ["-m", "erm", "-m", "logit-adjustment", "-m", "changed"]
    done = there.call("run", "tiny", *rows, "--jobs", "1")
    assert done.returncode == 0, done.stderr
    there.git("init", "--quiet", "--initial-branch", "main")
    there.git("add", ".")
    there.git("commit", "--quiet", "-m", "Begin")
    there.git("switch", "--quiet", "--create", "change")
    return there


@pytest.fixture(autouse=True)
def afterwards(clone):
    yield
    clone.git("checkout", "--quiet", "--", ".")
    clone.git("clean", "--quiet", "-fd")


def test_a_new_method_is_checked_and_its_row_shown_beside_the_others(clone):
    clone.method(GOOD)
    text, passes = clone.review()
    assert passes
    assert "Nothing fails." in text
    assert "- `mine`: ok, " in text
    assert "## Rows on tiny\n\n|   rank | recipe" in text
    assert "| `mine` " in text and "| `erm` " in text
    assert "## What moved on tiny\n\nNew: `mine`.\n\n3 rows are as before, to the bit." in text
    assert text.count(": the same bits") == 2
    assert "no entry point" not in text


def test_a_changed_method_is_set_against_what_it_was(clone):
    clone.method(GOOD.replace("0.5", "0.6"), "changed")
    text, passes = clone.review()
    assert passes
    assert "- `changed`: ok, " in text
    (row,) = [line for line in text.splitlines() if line.startswith("| `changed` ")]
    assert "beyond" not in row and " of 1,000 |" in row
    assert "2 rows are as before, to the bit." in text


def test_a_method_that_got_worse_fails_and_is_told_by_how_much(clone):
    clone.method(WORSE, "changed")
    text, passes = clone.review("--sample", "0")
    assert not passes
    assert "- changed on tiny is beyond balanced_accuracy:-1" in text
    assert "**beyond balanced_accuracy:-1**" in text


def test_a_method_that_cheats_fails_the_decoy(clone):
    clone.method(CHEATS)
    text, passes = clone.review("--sample", "0")
    assert not passes
    assert "- mine fails 1 check" in text
    assert "decoys change nothing: expected the same decisions" in text


def test_a_method_that_breaks_fails_with_its_reason(clone):
    clone.method(BREAKS)
    text, passes = clone.review("--sample", "0")
    assert not passes
    assert "- mine on tiny: 5 failed" in text
    assert "- `mine`: **FAILED**, " in text
    assert "nobody tried this" in text


def test_what_is_not_registered_or_cannot_be_imported_is_told(clone):
    clone.method(GOOD, "changed", doc="The same method in other words.")
    clone.method(GOOD, "unknown")
    (clone.folder / "plugins/losses/mine.py").write_text("import nothing_of_this_name\n")
    text, passes = clone.review("--sample", "0")
    assert not passes
    assert "- `plugins/losses/unknown.py`: **no entry point names it**" in text
    assert "plugin 'mine' of ltbench left out: " in text
    assert "`changed`" not in text  # its code says what it said
    assert "## Rows" not in text


def test_a_protocol_that_changes_loses_its_records(clone):
    file = clone.folder / "ltbench/tracks/recognition/protocols/tiny.toml"
    file.write_text(FIVE.replace("epochs = 8", "epochs = 9"))
    text, passes = clone.review("--sample", "0")
    assert not passes
    assert "15 records of tiny no longer count; run it again" in text


def test_records_that_were_made_up_are_run_again_and_named(clone):
    done = clone.call(
        *("run", "tiny", "-m", "logit-adjustment(tau=2)", "--jobs", "1", "--results", "build/own")
    )
    assert done.returncode == 0, done.stderr
    there = clone.folder / "leaderboards/tiny/records"
    own = clone.folder / "build/own/tiny/records/logit-adjustment(tau=2)"
    code = (
        "import sys\nfrom pathlib import Path\nfrom msgspec import structs\n"
        "from ltbench.results.records import arrays_of, read, write\n"
        "for file in Path(sys.argv[1]).glob('*.json'):\n"
        "    record = read(file)\n"
        "    arrays = arrays_of(Path('build/own'), record)\n"
        "    better = {**record.measures, 'few': 1.0}\n"
        "    write(Path('leaderboards'), structs.replace(record, measures=better), arrays)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(own)], cwd=clone.folder, env=clone.there, check=True
    )
    assert (there / "logit-adjustment(tau=2)").is_dir()
    text, passes = clone.review()
    shutil.rmtree(clone.folder / "build")
    assert not passes
    assert "of tiny gives something else when it is run again" in text
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
