"""What the command costs before it does anything, beside `import torch`: read the ratios."""

import sys
import time
from pathlib import Path

import pytest
from side_by_side import in_turn, ratio, wall

COMMAND = Path(sys.executable).with_name("ltbench")
METHOD = '''
from ltbench import Method, hookimpl


class Mine(Method):
    """Plain training under another name (nobody)."""

    name = "mine-{n}"
    reference = "none"

    def scores(self, scores, run):
        return scores


@hookimpl
def register_methods(register):
    register(Mine)
'''


@pytest.fixture
def strangers(tmp_path, monkeypatch):
    """A hundred installed packages with a method each."""
    for n in range(100):
        (tmp_path / f"mine_{n}.py").write_text(METHOD.format(n=n))
        info = tmp_path / f"mine_{n}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mine-{n}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ltbench]\nmine-{n} = mine_{n}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def against_torch(benchmark, *words):
    calls = {
        "ltbench": lambda: wall(COMMAND, *words),
        "torch": lambda: wall(sys.executable, "-c", "import torch"),
    }
    seconds = in_turn(calls, rounds=7, clock=time.perf_counter)
    benchmark.extra_info["ratio"] = ratio(seconds["ltbench"], seconds["torch"])
    benchmark.pedantic(calls["ltbench"], rounds=1)


@pytest.mark.benchmark(group="over import torch")
@pytest.mark.parametrize("words", [["--help"], ["list"]], ids=" ".join)
def test_command(benchmark, words):
    against_torch(benchmark, *words)


@pytest.mark.benchmark(group="over import torch")
def test_list_with_a_hundred_more_plugins(benchmark, strangers):
    against_torch(benchmark, "list")


@pytest.mark.benchmark(group="the demo over cells in fresh processes")
def test_demo(benchmark, tmp_path):
    """Each cell in a process of its own costs alike before it starts; some stand for all."""
    import shutil

    from ltbench import protocol

    digits = protocol("digits-lt")
    some = digits.recipes[:: max(1, len(digits.recipes) // 4)]
    alone = [
        wall(COMMAND, "run", digits.name, "-m", text, "--seeds", "1", "--results", tmp_path / text)
        for text in some
    ]

    def demo():
        shutil.rmtree(tmp_path / "all", ignore_errors=True)
        return wall(COMMAND, "run", digits.name, "--results", tmp_path / "all")

    whole = benchmark.pedantic(demo, rounds=1)
    cells = len(digits.recipes) * digits.seeds
    benchmark.extra_info["ratio"] = round(cells * sum(alone) / len(alone) / whole, 2)
