"""What the documents tell a newcomer to do is done here, to the letter."""

import re
import subprocess
import sys

import pytest
from PIL import Image

from ltbench.registry.registry import installed


@pytest.fixture(scope="module")
def contributing(pytestconfig):
    return (pytestconfig.rootpath / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture
def newcomer(tmp_path, contributing):
    """A folder with the two files that the five steps have one write."""
    method, test = re.findall(r"```python\n(.*?)```", contributing, re.DOTALL)
    (tmp_path / "plugins" / "losses").mkdir(parents=True)
    (tmp_path / "plugins" / "losses" / "power_weights.py").write_text(method)
    (tmp_path / "test_power_weights.py").write_text(test)
    return tmp_path


def commands(text):
    return re.findall(r"^ltbench .*$", text, re.MULTILINE)


def test_the_five_steps_work_as_written(newcomer, contributing, tiny, ltbench):
    check, run = (line for line in commands(contributing) if "power-weights" in line)
    done = ltbench(*check.split()[1:])
    assert done.exit_code == 0
    assert "power-weights: ok" in done.stdout
    done = ltbench(*run.replace("digits-lt", str(tiny)).split()[1:], "--jobs", 1)
    assert done.exit_code == 0
    assert "`power-weights`" in done.stdout
    assert "`ldam+power-weights`" in done.stdout


def test_the_formula_test_of_the_five_steps_passes(newcomer):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "test_power_weights.py"],
        cwd=newcomer,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_entry_point_line_names_the_file_of_step_one(contributing):
    assert 'power-weights = "ltbench_plugins.losses.power_weights"' in contributing


def test_the_readme_names_every_method(pytestconfig):
    readme = (pytestconfig.rootpath / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z0-9-]+)`", readme))
    assert installed().methods().keys() <= named


def test_the_protocol_of_photographs_in_the_documents_can_be_run(pytestconfig, tmp_path, ltbench):
    text = (pytestconfig.rootpath / "docs" / "protocols.md").read_text(encoding="utf-8")
    (protocol,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "birds.toml").write_text(protocol)
    for k, name in enumerate(("gull", "tern")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for n in range(12 + 8 * k):
            image = Image.new("RGB", (70, 80), (n, k, 0))
            image.save(tmp_path / "photos" / name / f"{n}.jpg")
    done = ltbench("run", "birds.toml", "--data", "photos=photos", "--dry-run", "--seeds", 1)
    assert done.exit_code == 0, done.output
    assert "4 cells would run" in done.stdout
