"""What the documents tell a newcomer to do is done here, to the letter."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from ltbench.protocols.schema import Holds
from ltbench.registry.registry import installed


@pytest.fixture(scope="module")
def contributing(pytestconfig):
    return (pytestconfig.rootpath / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture
def newcomer(tmp_path, contributing):
    """A folder with the two files that the five steps have one write, under another name.

    The name of the example may be built in by now, as step five makes it.
    """
    method, test = map(renamed, fenced(contributing, "python"))
    (tmp_path / "plugins" / "losses").mkdir(parents=True)
    (tmp_path / "plugins" / "losses" / "rare_weights.py").write_text(method)
    (tmp_path / "test_rare_weights.py").write_text(test)
    return tmp_path


def renamed(text):
    for word, other in (("power-w", "rare-w"), ("power_w", "rare_w"), ("PowerW", "RareW")):
        text = text.replace(word, other)
    return text


def fenced(text, kind):
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def commands(text):
    return re.findall(r"^ltbench .*$", renamed(text), re.MULTILINE)


def test_the_five_steps_work_as_written(newcomer, contributing, tiny, ltbench):
    check, run = (line for line in commands(contributing) if "rare-weights" in line)
    done = ltbench(*check.split()[1:])
    assert done.exit_code == 0
    assert "rare-weights: ok" in done.stdout
    done = ltbench(*run.replace("digits-lt", str(tiny)).split()[1:], "--jobs", 1)
    assert done.exit_code == 0
    assert "`rare-weights`" in done.stdout
    assert "`erm`" in done.stdout


def test_the_formula_test_of_the_five_steps_passes(newcomer):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "test_rare_weights.py"],
        cwd=newcomer,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_entry_point_line_names_the_file_of_step_one(contributing):
    assert 'power-weights = "ltbench_plugins.losses.power_weights"' in contributing


def test_a_run_that_contributors_are_told_to_make_leaves_the_committed_boards_alone(contributing):
    runs = [line for line in commands(contributing) if line.startswith("ltbench run digits-lt")]
    assert runs
    assert all("--results build/" in line for line in runs)


@pytest.fixture
def copy(tmp_path, pytestconfig, contributing):
    """A copy of the clone in which all five steps have been taken, with entry points as installed.

    What `pip install` writes is written here, as there may be no network.
    """
    root, copy = pytestconfig.rootpath, tmp_path / "clone"
    aside = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info", "ltbench_plugins")
    shutil.copytree(root, copy, ignore=lambda place, names: {*aside(place, names), *big(place)})
    shutil.copy(root / ".gitignore", copy)
    (copy / "leaderboards").symlink_to(root / "leaderboards")
    (copy / "ltbench_plugins").symlink_to("plugins")
    method, test = fenced(contributing, "python")
    (copy / "plugins" / "losses" / "power_weights.py").write_text(method)
    plugins = re.search(r"Take `(, plugins=.*?)` out\s+of the test", contributing).group(1)
    assert plugins in test
    (copy / "tests" / "plugins" / "test_power_weights.py").write_text(test.replace(plugins, ""))
    (line,) = fenced(contributing, "toml")
    told = (copy / "pyproject.toml").read_text(encoding="utf-8")
    table = "[project.entry-points.ltbench]\n"
    if line not in told:
        told = told.replace(table, table + line)
    (copy / "pyproject.toml").write_text(told, encoding="utf-8")
    readme = (copy / "README.md").read_text(encoding="utf-8")
    named = readme.replace("`hybrid-loss` |", "`hybrid-loss`, `power-weights` |")
    assert named != readme
    (copy / "README.md").write_text(named, encoding="utf-8")
    installed_as(copy, tomllib.loads(told)["project"])
    return copy


def big(place):
    return {"leaderboards"} if Path(place, "leaderboards", "digits-lt").is_dir() else set()


def installed_as(folder, project):
    """Writes the metadata of an installation in place."""
    info = folder / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    points = [f"{name} = {module}" for name, module in project["entry-points"]["ltbench"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[ltbench]", *points]) + "\n")


def test_the_five_steps_to_the_letter_end_green_in_every_gate(copy):
    there = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}

    def gate(*words):
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=copy, env=there, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "power-weights" in gate("ltbench", "list", "methods")
    assert "power-weights: ok" in gate("ltbench", "check", "power-weights")
    gate("ruff", "format", "--check", ".")
    gate("ruff", "check", ".")
    tests = ["tests/plugins/test_power_weights.py", "tests/test_listing.py", "tests/test_method.py"]
    gate("pytest", "-q", "-p", "no:cacheprovider", *tests)
    others = "not letter and not photographs"
    gate("pytest", "-q", "-p", "no:cacheprovider", "tests/test_documents.py", "-k", others)


def test_what_the_documents_fence_as_python_is_formatted_and_free_of_lint(tmp_path, pytestconfig):
    root = pytestconfig.rootpath
    for file in (root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").glob("*.md")):
        for k, code in enumerate(fenced(file.read_text(encoding="utf-8"), "python")):
            (tmp_path / f"{file.stem}_{k}.py").write_text(code)
    # a piece of a file may use names that stand elsewhere in it
    for words in (("check", "--ignore", "F821"), ("format", "--check")):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--config", root / "pyproject.toml", tmp_path],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout


def test_the_demo_writes_where_nothing_is_committed(pytestconfig):
    make = (pytestconfig.rootpath / "Makefile").read_text(encoding="utf-8")
    (command,) = re.findall(r"^demo:.*\n\t(.*)$", make, re.MULTILINE)
    assert "--results build/demo" in command
    ignored = (pytestconfig.rootpath / ".gitignore").read_text(encoding="utf-8").split()
    assert "build/" in ignored


def test_test_files_that_the_readme_names_are_there(pytestconfig):
    readme = (pytestconfig.rootpath / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"tests/test_\w+\.py", readme)
    assert named
    assert [name for name in named if not (pytestconfig.rootpath / name).exists()] == []


def test_the_readme_names_every_method(pytestconfig):
    readme = (pytestconfig.rootpath / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z0-9-]+)`", readme))
    assert installed().methods().keys() <= named


def test_every_declaration_of_data_in_the_documents_is_one(pytestconfig):
    text = (pytestconfig.rootpath / "docs" / "protocols.md").read_text(encoding="utf-8")
    (holds,) = re.findall(r"```toml\n\[\[data.holds\]\]\n(.*?)```", text, re.DOTALL)
    found = msgspec.convert(tomllib.loads(holds), Holds, strict=False)
    assert (found.classes, found.apart) == (("cat", "dog"), True)


def test_the_protocol_of_photographs_in_the_documents_can_be_run(pytestconfig, tmp_path, ltbench):
    text = (pytestconfig.rootpath / "docs" / "protocols.md").read_text(encoding="utf-8")
    fences = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (protocol,) = (fence for fence in fences if "birds" in fence)
    (tmp_path / "birds.toml").write_text(protocol)
    for k, name in enumerate(("gull", "tern")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for n in range(12 + 8 * k):
            image = Image.new("RGB", (70, 80), (n, k, 0))
            image.save(tmp_path / "photos" / name / f"{n}.jpg")
    done = ltbench("run", "birds.toml", "--data", "photos=photos", "--dry-run", "--seeds", 1)
    assert done.exit_code == 0, done.output
    assert "4 cells would run" in done.stdout
