"""The shell lines of the documents: each is understood, and what takes seconds is done."""

import re
import shlex
from pathlib import Path

import click
import pytest

from ltbench import recipe
from ltbench.commands.main import main
from ltbench.registry.registry import installed

ROOT = Path(__file__).parent.parent


def lines(program):
    """The lines of all shell blocks that begin with a program, as words."""
    found = set()
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            found |= set(re.findall(rf"^{program} .*", block, re.MULTILINE))
    return sorted({tuple(shlex.split(line, comments=True)[1:]) for line in found})


def understood(words):
    """The parameters that a command makes of words; raises for what it does not know."""
    command = main.get_command(click.Context(main), words[0])
    assert command is not None, words
    return command.make_context(f"ltbench {words[0]}", list(words[1:])).params


TOLD = lines("ltbench")
OWN = {"mine", "power-weights"}  # which the reader writes
WITHOUT = re.compile(r"digits|tabular-embedded")  # protocols that need no download
ELSEWHERE = {"--executor", "--address", "cuda"}  # a cluster, a GPU
SHOWING = {"info", "leaderboard", "list", "plot", "plugins", "show", "status"}


def test_there_are_shell_lines_to_hold():
    assert len(TOLD) > 40


@pytest.mark.parametrize("words", TOLD, ids=" ".join)
def test_a_shell_line_has_options_recipes_and_protocols_that_are_there(words):
    told = understood(words)
    for one in set(told.get("recipes") or ()) - OWN:
        recipe(one)
    given = told.get("protocol") or told.get("protocols") or ()
    for one in [given] if isinstance(given, str) else given:
        assert one.endswith(".toml") or one in installed().protocols()


def done_here(words):
    asks = " ".join(words)
    if words[0] == "run":
        return WITHOUT.search(words[1]) and not (ELSEWHERE | OWN) & set(words)
    return words[0] in SHOWING and "mnist" not in asks and ".toml" not in asks


@pytest.mark.parametrize("words", [*filter(done_here, TOLD)], ids=" ".join)
def test_a_shell_line_of_seconds_is_done_and_a_run_is_planned(words, ltbench, tmp_path):
    (tmp_path / "leaderboards").mkdir()
    if words[0] == "run":
        words = [*words, "--dry-run"]
    else:
        (tmp_path / "leaderboards" / "digits-lt").symlink_to(ROOT / "leaderboards" / "digits-lt")
        (tmp_path / "theirs").symlink_to("leaderboards")
    if words[0] == "show":  # it writes beside the record
        record = tmp_path / words[1]
        record.parent.mkdir(parents=True)
        for file in (ROOT / words[1]).parent.glob(f"{record.stem}.*"):
            (record.parent / file.name).write_bytes(file.read_bytes())
    done = ltbench(*words)
    assert done.exit_code == 0, done.output


def test_what_make_is_asked_for_is_a_target():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    asked = {words[0] for words in lines("make")}
    assert {"demo", "test"} <= asked
    assert asked <= set(targets)
