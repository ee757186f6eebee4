"""ltbench and a package of its own kind, from their wheels, in an environment of their own."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from ltbench.registry.registry import installed

ROOT = Path(__file__).parents[1]
POWER = """
from ltbench import Method, hookimpl


class Power(Method):
    name = "power"

    def weight(self, labels, run):
        return run.seen[labels] ** -0.5


@hookimpl
def register_methods(register):
    register(Power)
"""
COPIED = ("ltbench", "plugins", "pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The wheels of both packages, by the name of the package."""
    place = tmp_path_factory.mktemp("wheels")
    source = place / "source"
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, source / name)
    arrays = shutil.ignore_patterns("*.npz")
    shutil.copytree(ROOT / "leaderboards", source / "leaderboards", ignore=arrays)
    shutil.copytree(ROOT / "examples" / "ltbench-acme", place / "acme", ignore=unwanted)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", place]
    subprocess.run([*pip, *offline, source, place / "acme"], check=True, cwd=place)
    return {path.name.partition("-")[0]: path for path in place.glob("*.whl")}


@pytest.fixture(scope="module")
def fresh(wheels, tmp_path_factory):
    """Runs a command of an environment that holds both wheels, outside of the repository.

    What they need is taken from the environment of the tests, but for their own code.
    """
    place = tmp_path_factory.mktemp("fresh")
    venv.create(place / "env", symlinks=True, with_pip=False)
    python = place / "env" / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip())
    # a path in such a file is not looked through for further ones, as that of an editable install
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    there = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}

    def run(*words, code=0):
        done = subprocess.run(
            [python, "-m", *map(str, words)], cwd=place, env=there, capture_output=True, text=True
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    run("pip", "install", "--quiet", "--no-index", "--no-deps", "--no-warn-script-location",
        "--ignore-installed", *wheels.values())  # fmt: skip
    run.site, run.place = site, place
    there["LTBENCH_CACHE"] = str(place / "cache")
    return run


def test_a_wheel_brings_every_committed_board_and_stays_small(wheels):
    with zipfile.ZipFile(wheels["ltbench"]) as wheel:
        brought = {Path(one).name for one in wheel.namelist() if "/boards/shipped/" in one}
    committed = {path.parent.name for path in ROOT.glob("leaderboards/*/table.md")}
    assert brought == {f"{name}.tar.xz" for name in committed}
    assert wheels["ltbench"].stat().st_size < 10e6


@pytest.mark.parametrize("protocol", ["digits-lt", "tabular-embedded"])
def test_published_boards_are_shown_in_an_empty_folder(fresh, protocol):
    told = fresh("ltbench", "leaderboard", protocol)
    assert told == (ROOT / "leaderboards" / protocol / "table.md").read_text(encoding="utf-8")


def test_a_row_of_ones_own_stands_among_published_ones(fresh):
    words = ("--method", "power", "--plugin", "power.py", "--seeds", "2", "--jobs", "1")
    (fresh.place / "power.py").write_text(POWER)
    fresh("ltbench", "run", "digits-lt", *words)
    told = fresh("ltbench", "leaderboard", "digits-lt", "--plugin", "power.py")
    committed = (ROOT / "leaderboards" / "digits-lt" / "table.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1] for line in committed.splitlines() if line.startswith("| ")
            and "`" in line}  # fmt: skip
    shown = {line.split("`")[1] for line in told.splitlines() if line.startswith("| ")
             and "`" in line}  # fmt: skip
    assert shown == rows | {"power"}
    board = json.loads(fresh("ltbench", "leaderboard", "digits-lt", "--format", "json"))
    mean = {row["recipe"]: row["measures"]["balanced_accuracy"]["mean"] for row in board["rows"]}
    alone = fresh("ltbench", "leaderboard", "digits-lt", "--own", "--format", "json")
    own = {row["recipe"]: row for row in json.loads(alone)["rows"]}
    assert own.keys() == {"erm", "power"}
    assert mean["power"] == own["power"]["measures"]["balanced_accuracy"]["mean"]
    table = fresh.place / "leaderboards" / "digits-lt" / "table.md"
    assert "`ldam`" not in table.read_text(encoding="utf-8")
    fresh("ltbench", "leaderboard", "digits-lt", "--write")
    assert "`ldam`" not in table.read_text(encoding="utf-8")
    fresh("ltbench", "leaderboard", "digits-lt", "--results", "nowhere", code=2)


def test_a_wheel_holds_all_that_is_read_at_run_time(wheels):
    with zipfile.ZipFile(wheels["ltbench"]) as wheel:
        names = set(wheel.namelist())
    known = installed()
    shipped = {name for name in known.protocols() if known.ships(name)}
    protocols = [name for name in names if "/protocols/" in name and name.endswith(".toml")]
    assert {Path(name).stem for name in protocols} == shipped
    assert {"ltbench/py.typed", "ltbench/boards/published.toml"} <= names
    read = [
        str(path.relative_to(ROOT))
        for folder in ("site", "scaffolding")
        for path in (ROOT / "ltbench" / folder).rglob("*.*")
        if path.suffix in (".html", ".css", ".js", ".txt")
    ]
    assert read and names.issuperset(read)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "ltbench_plugins/margins/ldam.py" in names
    with zipfile.ZipFile(wheels["ltbench_acme"]) as wheel:
        assert "ltbench_acme/protocols/digit-pairs.toml" in wheel.namelist()


def test_a_package_serves_beside_ltbench_and_goes_without_a_trace(fresh):
    code = "import ltbench, ltbench_acme; print(ltbench.__file__, ltbench_acme.__file__)"
    (fresh.place / "where.py").write_text(code)
    assert all(one.startswith(str(fresh.site)) for one in fresh("where").split())

    told = fresh("ltbench", "plugins", "--strict")
    assert "(ltbench-acme 0.1.0): " in told and "mirrored-digits" in told
    fresh("ltbench", "run", "digit-pairs", "--seeds", "1", "--jobs", "1")
    fresh("ltbench", "run", "mirrored-digits-lt", "--seeds", "1", "--jobs", "1")
    fresh("ltbench", "run", "ringed-digits-lt", "--seeds", "1", "--jobs", "1")
    fresh("ltbench", "run", "visits", "--seeds", "1", "--jobs", "1")
    kappa = json.loads(fresh("ltbench", "leaderboard", "ringed-digits-lt", "--format", "json"))
    assert all(0 < row["measures"]["kappa"]["mean"] < 1 for row in kappa["rows"])
    assert "naive-bayes" in fresh("ltbench", "leaderboard", "visits")
    fresh("ltbench", "check", "asymmetric", "positive-weights")
    board = json.loads(fresh("ltbench", "leaderboard", "digit-pairs", "--format", "json"))
    assert {row["recipe"] for row in board["rows"]} > {"asymmetric", "positive-weights"}
    record = next(fresh.place.rglob("records/asymmetric/seed-0.json"))
    origin = json.loads(record.read_text())["plugins"]["asymmetric"]
    assert (origin["package"], origin["version"]) == ("ltbench-acme", "0.1.0")
    fresh("ltbench", "site", "--into", "site", "digit-pairs")
    assert (fresh.place / "site" / "methods" / "asymmetric.html").exists()

    fresh("pip", "uninstall", "--quiet", "--yes", "ltbench-acme")
    assert not [*fresh.site.glob("ltbench_acme*")]
    assert "acme" not in fresh("ltbench", "plugins", "--strict")
    fresh("ltbench", "leaderboard", "digit-pairs", code=2)
