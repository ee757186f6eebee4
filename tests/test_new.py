"""What `ltbench new` writes: it is generated, checked and run as it comes."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

import ltbench as public
from ltbench.commands.inventory import MOMENTS
from ltbench.commands.main import main
from ltbench.contract.method import HOOKS
from ltbench.registry.registry import installed
from ltbench.scaffolding import files
from ltbench.scaffolding.kinds import EXAMPLE

HOUSE = Path(public.__file__).parents[1]
TRACKS = sorted(installed().tracks())
KINDS = ("method", "protocol", "dataset", "track")
PACKED = {"method": "packed-weights", "protocol": "packed-digits"} | {
    "dataset": "packed-rows",
    "track": "packed-problem",
}


def words_of(kind):
    return ["--track", TRACKS[0]] if kind == "protocol" else []


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with one of each thing, as a file and as a package; the packages are installed."""
    folder = tmp_path_factory.mktemp("new")
    asked = [["method", "plain-idea"], ["dataset", "some-rows"], ["track", "some-problem"]]
    asked += [["method", f"on-{track}", "--track", track] for track in TRACKS]
    asked += [["protocol", f"lt-{track}", "--track", track] for track in TRACKS]
    asked += [[kind, PACKED[kind], *words_of(kind), "--package"] for kind in KINDS]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in asked:
            done = CliRunner().invoke(main, ["new", *words])
            assert done.exit_code == 0, done.output
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--target", "site"]
    packages = [f"./ltbench-{name}" for name in PACKED.values()]
    subprocess.run([*pip, *offline, *packages], check=True, cwd=folder)
    return folder


def run(place, *words):
    """What a command says, with the packages installed."""
    path = os.pathsep.join((str(place / "site"), str(HOUSE)))
    there = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=place, env=there, capture_output=True, text=True
    )


def test_all_tests_that_are_written_pass_as_they_come(place):
    """Those of a cell of each protocol, of formulas, and every check of every method."""
    found = sorted(place.glob("test_*.py")) + sorted(place.glob("ltbench-*/tests"))
    assert len(found) == 3 + 2 * len(TRACKS) + len(KINDS)
    done = run(place, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *map(str, found))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_code_that_is_written_is_formatted_and_free_of_lint(place):
    sources = [".", *(f"ltbench-{name}/src" for name in PACKED.values())]
    line = ("--isolated", "--line-length", "100", "--exclude", "site,build", ".")
    known = ("--select", "E,F,I,B,UP", "--config", f"src = {sources}")
    for words in (("check", *known), ("format", "--check")):
        done = run(place, "ruff", *words, *line)
        assert done.returncode == 0, done.stdout


def test_methods_of_single_files_pass_the_checks_of_the_command(place):
    done = run(place, "ltbench", "check", "plain-idea", "--plugin", "plain_idea.py")
    assert (done.returncode, "plain-idea: ok" in done.stdout) == (0, True), done.stderr


def test_packages_are_found_by_their_entry_points(place):
    told = run(place, "ltbench", "plugins", "--strict").stdout
    for kind, name in PACKED.items():
        brings = f"{name}-digits, {name}" if kind == "track" else name
        assert f"(ltbench-{name} 0.1.0): " in told
        assert set(brings.split(", ")) <= set(re.findall(r"[\w-]+", told))


def test_what_readme_and_workflow_of_a_package_name_is_there(place):
    for kind, name in PACKED.items():
        package = place / f"ltbench-{name}"
        readme = (package / "README.md").read_text()
        workflow = (package / ".github" / "workflows" / "checks.yml").read_text()
        (command,) = re.findall(r"^ltbench .*$", readme, re.MULTILINE)
        assert f'      - run: {command} >> "$GITHUB_STEP_SUMMARY"' in workflow
        dry = ["--dry-run"] if kind != "dataset" else []
        done = run(place, *command.split(), *dry)
        assert done.returncode == 0, done.stderr
        project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
        assert project["dependencies"] == [f"ltbench>={public.__version__}"]


def test_the_commands_that_are_told_next_work(ltbench):
    for words in (["method", "my-idea"], ["track", "my-problem"], ["dataset", "my-rows"]):
        told = ltbench("new", *words, "--into", "in here").stderr
        *_, command = told.splitlines()
        name = words[1].replace("-", "_")
        assert command.endswith(f" --plugin 'in here/{name}.py'")
    done = ltbench("info", "my-rows", "--plugin", "in here/my_rows.py")
    assert "class_counts" in done.output
    assert ltbench("check", "my-idea", "--plugin", "in here/my_idea.py").exit_code == 0
    assert EXAMPLE in installed().protocols()


def test_every_track_names_an_example_that_is_a_protocol_of_it():
    for name, track in installed().tracks().items():
        assert installed().track_of(track.example) == name


def test_each_template_is_shipped(pytestconfig):
    """What is not named as data of a package is not in its wheel."""
    told = tomllib.loads((HOUSE / "pyproject.toml").read_text())["tool"]["setuptools"]
    shipped = {
        file
        for package, patterns in told["package-data"].items()
        for pattern in patterns
        for file in (HOUSE / package.replace(".", "/")).glob(pattern)
    }
    there = {*HOUSE.glob("ltbench/scaffolding/templates/**/*.txt")}
    there |= {*HOUSE.glob("ltbench/tracks/*/scaffolds/*")}
    assert there <= shipped
    assert there


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("method", "ldam"), "there is a method 'ldam' already"),
        (("protocol", "digits-lt"), "there is a protocol 'digits-lt' already"),
        (("dataset", "digits"), "there is a dataset 'digits' already"),
        (("track", "tabular"), "there is a track 'tabular' already"),
        (("method", "SoftWeights"), "not 'SoftWeights'; say 'soft-weights'"),
        (("method", "soft_weights"), "not 'soft_weights'; say 'soft-weights'"),
        (("method", "été"), "not 'été'; say 't'"),
        (("method", "../up"), "not '../up'; say 'up'"),
        (("method", "--", "-"), "is called as 'soft-weights' is, not '-'"),
        (("method", "3-steps"), "no module can be called '3_steps'"),
        (("method", "lambda"), "no module can be called 'lambda'"),
        (("method", "random-numbers"), None),
        (("method", "json"), "there is a module 'json' already"),
        (("method", "torch"), "there is a module 'torch' already"),
        (("method", "test-weights"), "'test-weights' is reserved"),
        (("method", "spy"), "'spy' is reserved"),
        (("method", "method"), "Method would be two things in one file"),
        (("track", "unmet"), None),
        (("method", "mine", "--track", "tabulr"), "did you mean 'tabular'"),
        (("protocol", "mine"), "say with --track what kind of problem it is: bags, clustering"),
        (("method", "mine", "--package", "--into", "x"), "leave out --into x"),
    ],
)
def test_names_and_words_that_cannot_be_meant_are_refused(ltbench, tmp_path, words, told):
    done = ltbench("new", *words)
    if told is None:
        assert done.exit_code == 0, done.output
    else:
        assert (done.exit_code, told in done.stderr) == (2, True), done.output
        assert not [*tmp_path.iterdir()]


def test_what_is_there_is_never_written_over(ltbench, tmp_path):
    (tmp_path / "test_mine.py").write_text("kept")
    done = ltbench("new", "method", "mine")
    assert (done.exit_code, "test_mine.py is there already" in done.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["test_mine.py"]
    (tmp_path / "ltbench-mine").mkdir()
    (tmp_path / "ltbench-mine" / "notes.txt").write_text("kept")
    done = ltbench("new", "method", "mine", "--package")
    assert (done.exit_code, "folder ltbench-mine is not empty" in done.stderr) == (2, True)


def test_a_fresh_repository_is_an_empty_folder(ltbench, tmp_path):
    (tmp_path / "ltbench-mine" / ".git").mkdir(parents=True)
    assert ltbench("new", "method", "mine", "--package").exit_code == 0


def test_what_cannot_be_written_leaves_nothing_behind(ltbench, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    done = ltbench("new", "method", "mine", "--into", "file")
    assert (done.exit_code, "cannot be written: Not a directory" in done.stderr) == (2, True)
    write = Path.write_text

    def forbidden(path, *given, **options):
        if path.name.startswith("test_"):
            raise PermissionError(13, "Permission denied", str(path))
        return write(path, *given, **options)

    monkeypatch.setattr(files.Path, "write_text", forbidden)
    done = ltbench("new", "method", "mine", "--into", "deep/er")
    assert done.exit_code == 2
    assert "deep/er/test_mine.py cannot be written: Permission denied" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_hooks_are_told_one_by_one(ltbench):
    assert MOMENTS.keys() == HOOKS.keys()
    told = ltbench("info", "--hooks").stdout
    for hook in HOOKS:
        assert re.search(rf"^{hook}\(.*\):\n  when: +\w", told, re.MULTILINE)
    assert "many, multiplied" in told
    assert "one, to take the step" in told
    added = ltbench("info", "--hooks", "compression").stdout
    assert "importance(model, run):" in added
    assert "adjust(" not in added
    assert "tabular adds no hook" in ltbench("info", "--hooks", "tabular").stdout


def test_the_method_that_shows_a_hook_overrides_it(ltbench):
    import json

    for entry in json.loads(ltbench("info", "--hooks", "--json").stdout):
        hook = entry["hook"].partition("(")[0]
        shown = entry["shown by"]
        every = public.hooks
        found = [n for n, m in installed().methods().items() if hook in every(m)]
        assert shown in found if found else shown is None


def test_info_of_nothing_is_refused(ltbench):
    done = ltbench("info")
    assert (done.exit_code, "or say --hooks" in done.stderr) == (2, True)


def test_what_the_document_tells_to_begin_begins(ltbench, pytestconfig, tmp_path):
    text = (pytestconfig.rootpath / "docs" / "extending.md").read_text(encoding="utf-8")
    lines = re.findall(r"^ltbench (new .*?) *(?:#.*)?$", text, re.MULTILINE)
    assert len(lines) == 6
    for k, words in enumerate(lines):
        apart = [] if "--package" in words else ["--into", f"{k}"]
        done = ltbench(*words.split(), *apart)
        assert done.exit_code == 0, done.output


class Torn:
    """A track from elsewhere, whose template is none, or who raises when asked."""

    name, floor, example = "torn", ("erm",), EXAMPLE

    def __init__(self, scaffolds):
        self.scaffolds = scaffolds

    def propose(self, name, path, target):
        raise LookupError("no idea")


@pytest.mark.parametrize("text", ["$unknown", "name = $", "def $name(:"])
def test_a_template_of_a_strangers_track_may_be_none(ltbench, tmp_path, monkeypatch, text):
    from ltbench.registry.registry import Registry

    (tmp_path / "method.py.txt").write_text(text)
    monkeypatch.setattr(Registry, "track", lambda self, name: Torn(tmp_path))
    monkeypatch.setattr("ltbench.scaffolding.kinds._example", lambda registry, track: EXAMPLE)
    done = ltbench("new", "method", "mine", "--track", "torn")
    assert (done.exit_code, "method.py.txt is no template: " in done.stderr) == (2, True)


def test_a_strangers_track_that_raises_is_named(ltbench, tmp_path, monkeypatch):
    from ltbench.registry.registry import Registry

    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    monkeypatch.setattr(Registry, "tracks", lambda self: {"torn": Torn(None)})
    done = ltbench("init", "--data", "t.csv", "--name", "mine")
    assert done.exit_code == 2
    assert "track torn, asked for a protocol, raised LookupError: no idea" in done.stderr
