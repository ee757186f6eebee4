"""Every step of the workflows is a target or command that is there; the scripts do their part."""

import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from ltbench.commands.main import main

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MARK = "<!-- ltbench review -->"
STDIN = re.compile(r"\$\{\w+:\+(.*?)\}(?=\s|$)")


def steps(file):
    told = yaml.safe_load(file.read_text(encoding="utf-8"))
    jobs = told["jobs"].values() if "jobs" in told else [told["runs"]]
    return [step for job in jobs for step in job["steps"]]


def runs():
    for file in (*FILES, ROOT / "action.yml"):
        for step in steps(file):
            if "run" in step:
                yield pytest.param(step["run"], id=f"{file.stem}: {step['run'][:50]}")


def targets():
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):", make, re.MULTILINE))


def known_options(words):
    """Refuses a command of ltbench, or an option of it, that is not there."""
    context = click.Context(main)
    command = main.get_command(context, words[0])
    assert command is not None, words[0]
    there = {name for one in command.params for name in one.opts}
    given = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert given <= there


@pytest.mark.parametrize("run", [*runs()])
def test_every_step_is_a_target_or_a_command_that_is_there(run):
    assert "\n" not in run.strip()  # a step does one thing, which a person can do as well
    told = STDIN.sub(r"\1", run).partition(" >> ")[0]
    first, *words = shlex.split(told)
    if first == "make":
        assert words[0] in targets()
    elif first == "ltbench":
        known_options(words)
    elif first == "python":
        assert words[:3] == ["-m", "pip", "install"]
    else:
        assert os.access(ROOT / first, os.X_OK)


def test_no_step_puts_what_others_wrote_into_a_shell():
    """It goes by the environment, where it is text; zizmor looks for the same."""
    assert [run.id for run in runs() if "${{" in run.values[0]] == []


def test_the_targets_call_commands_and_options_that_are_there():
    make = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    calls = re.findall(r"\$\(BIN\)/ltbench ([^|;>\n]*?)(?:\|\||[|;>\n])", make)
    assert len(calls) >= 7
    for call in calls:
        known_options(call.replace('"$$', '"').replace("$$", "").split())


def test_workflows_have_no_rights_but_those_they_name():
    for file in FILES:
        told = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert told["permissions"] in ({}, {"contents": "read"})


def test_what_runs_a_strangers_code_may_write_nothing():
    told = yaml.safe_load((ROOT / ".github/workflows/pull-request.yml").read_text())
    assert [job for job in told["jobs"].values() if "permissions" in job] == []
    assert "pull_request_target" not in (ROOT / ".github/workflows/pull-request.yml").read_text()


def test_what_writes_comments_runs_nothing_of_the_pull_request():
    (checkout, *_), file = steps(FILES[0].with_name("pull-request-comment.yml")), "checkout"
    assert file in checkout["uses"]
    assert "ref" not in checkout["with"]


GH = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$*" in
*pulls*) printf '%s' "$NUMBER" ;;
*--paginate*) printf '%s' "$EARLIER" ;;
*) for word; do case $word in body=@*) cat "${word#body=@}" > "$CALLS.body" ;; esac; done ;;
esac
"""


@pytest.fixture
def comment(tmp_path):
    """Calls .ci/comment with a `gh` that writes down what it is asked; gives the calls."""
    bin, review, calls = tmp_path / "bin", tmp_path / "review.md", tmp_path / "calls"
    bin.mkdir()
    (bin / "gh").write_text(GH)
    (bin / "gh").chmod(stat.S_IRWXU)

    def call(text, number="7", earlier=""):
        review.write_text(text)
        calls.unlink(missing_ok=True)
        there = {
            **os.environ,
            "PATH": f"{bin}:{os.environ['PATH']}",
            "CALLS": str(calls),
            "NUMBER": number,
            "EARLIER": earlier,
            "GITHUB_REPOSITORY": "here/ltbench",
            "OWNER": "someone",
            "BRANCH": "mine; rm -rf /",
            "COMMIT": "abc123",
        }
        done = subprocess.run(
            [ROOT / ".ci/comment", review], env=there, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return calls.read_text().splitlines() if calls.exists() else []

    return call


def test_a_review_is_posted_once_and_then_updated_in_place(comment, tmp_path):
    asked, looked, posted = comment(f"{MARK}\nall is well\n")
    assert "head=someone:mine; rm -rf /" in asked
    assert "issues/7/comments" in looked
    assert posted.startswith("api -X POST repos/here/ltbench/issues/7/comments ")
    assert (tmp_path / "calls.body").read_text() == f"{MARK}\nall is well\n"
    *_, updated = comment(f"{MARK}\nnow it fails\n", earlier="41")
    assert updated.startswith("api -X PATCH repos/here/ltbench/issues/comments/41 ")


def test_a_comment_is_cut_to_what_github_takes(comment, tmp_path):
    comment(f"{MARK}\n" + 70_000 * "a")
    assert (tmp_path / "calls.body").stat().st_size == 60_000


@pytest.mark.parametrize("text", ["", "hello\n", f"hello\n{MARK}\n"])
def test_what_is_no_review_is_not_posted(comment, text):
    assert comment(text) == []


@pytest.mark.parametrize("number", ["", "7 8", "../../x"])
def test_nothing_is_posted_where_no_pull_request_is_at_the_commit(comment, number):
    (asked,) = comment(f"{MARK}\nall is well\n", number=number)
    assert "pulls" in asked


@pytest.fixture
def proposing(tmp_path):
    """A clone with a remote and a committed board, the board run again, and stand-ins for tools."""
    bin, calls = tmp_path / "bin", tmp_path / "calls"
    clone, remote = tmp_path / "clone", tmp_path / "remote"
    bin.mkdir()
    (bin / "gh").write_text(GH)
    (bin / "gh").chmod(stat.S_IRWXU)
    for folder, text in (("leaderboards", "old"), ("build/boards", "new")):
        place = clone / folder / "tiny" / "records" / "erm"
        place.mkdir(parents=True)
        (place / "seed-0.json").write_text(text)
    own = clone / "leaderboards/tiny/records/mine"
    own.mkdir()
    (own / "seed-0.json").write_text("mine")
    (clone / ".ci").mkdir()
    (clone / ".ci/propose").write_bytes((ROOT / ".ci/propose").read_bytes())
    (clone / ".ci/propose").chmod(stat.S_IRWXU)
    (clone / ".venv/bin").mkdir(parents=True)
    (clone / ".venv/bin/ltbench").write_text("#!/bin/sh\n")
    (clone / ".venv/bin/ltbench").chmod(stat.S_IRWXU)
    (clone / ".gitignore").write_text("build/\n.venv/\n")
    (clone / "build/moved.md").write_text("it moved\n")
    there = {**os.environ, "PATH": f"{bin}:{os.environ['PATH']}", "CALLS": str(calls)}
    there |= {"GIT_CONFIG_GLOBAL": os.devnull, "NUMBER": "", "EARLIER": ""}

    def git(*words, at=clone):
        return subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@localhost", *words],
            cwd=at,
            env=there,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    git("init", "--quiet", "--bare", str(remote), at=tmp_path)
    git("init", "--quiet")
    git("remote", "add", "origin", str(remote))
    git("add", ".")
    git("commit", "--quiet", "-m", "Begin")

    def propose():
        done = subprocess.run(
            [".ci/propose", "build/boards", "build/moved.md"],
            cwd=clone,
            env=there,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return calls.read_text() if calls.exists() else ""

    return clone, git, propose


def test_where_nothing_moved_no_pull_request_is_opened(proposing):
    _, git, propose = proposing
    assert propose() == ""
    assert git("branch", "--all").split()[1:] == git("branch").split()[1:]


def test_what_moved_is_proposed_and_other_rows_stay(proposing):
    clone, git, propose = proposing
    (clone / "build/moved.md.failed").touch()
    assert "pr create --head leaderboards-" in propose()
    (branch,) = [name for name in git("ls-remote", "origin").split() if "leaderboards-" in name]
    git("fetch", "--quiet", "origin", branch)
    assert git("show", "FETCH_HEAD:leaderboards/tiny/records/erm/seed-0.json") == "new"
    assert git("show", "FETCH_HEAD:leaderboards/tiny/records/mine/seed-0.json") == "mine"


def test_what_was_run_again_is_proposed_where_nothing_moved(proposing):
    clone, git, propose = proposing
    told = clone / "leaderboards/tiny/verified/erm"
    told.mkdir(parents=True)
    (told / "seed-0.ci.json").write_text("same")
    assert "pr create" in propose()
    (branch,) = [name for name in git("ls-remote", "origin").split() if "leaderboards-" in name]
    git("fetch", "--quiet", "origin", branch)
    assert git("show", "FETCH_HEAD:leaderboards/tiny/records/erm/seed-0.json") == "old"
    assert git("show", "FETCH_HEAD:leaderboards/tiny/verified/erm/seed-0.ci.json") == "same"
