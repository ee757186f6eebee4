"""What sharing first stages and fits saves of a run, in processor time: read the ratios."""

import os
from pathlib import Path

import pytest
from side_by_side import in_turn, ratio

from ltbench.api import run
from ltbench.datasets import data_folder
from ltbench.registry.registry import installed

LATE = (
    *("erm", "posthoc-logit-adjustment", "la-tau", "thresholding", "group-thresholds", "tau-norm"),
    *("ncm", "crt", "lws", "bic", "weight-aligning", "pseudo-features", "lmd", "deep-smote"),
)
ON_TABLES = ("erm", "threshold", "la-tau", "posthoc-logit-adjustment", "group-thresholds")


def spent():
    """Seconds that this process and those it has awaited, the cells, have computed."""
    return sum(os.times()[:4])


def share(benchmark, monkeypatch, tmp_path, protocol, recipes, seeds, wanted=None):
    """The time of a run over that of one without sharing, both with nothing in the cache."""
    calls = {}
    for name, sharing in (("shared", True), ("alone", False)):

        def call(name=name, sharing=sharing):
            folder = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
            monkeypatch.setenv("LTBENCH_CACHE", str(folder))
            run(protocol, recipes, seeds, results=folder / "results", jobs=1, sharing=sharing)

        calls[name] = call
    taken = in_turn(calls, rounds=1, warm=0, clock=spent)
    told = benchmark.extra_info
    told["ratio"], told["wanted"] = ratio(taken["shared"], taken["alone"]), wanted
    benchmark.pedantic(lambda: None)
    assert told["ratio"] < 1


def test_methods_that_act_late_on_digits(benchmark, monkeypatch, tmp_path):
    share(benchmark, monkeypatch, tmp_path, "digits-lt", LATE, 3)


@pytest.mark.skipif(not Path(data_folder(), "mnist").exists(), reason="needs MNIST")
def test_methods_that_act_late_on_mnist(benchmark, monkeypatch, tmp_path):
    share(benchmark, monkeypatch, tmp_path, "mnist-lt-100", LATE, 1, wanted=0.25)


@pytest.mark.skipif(not Path(data_folder(), "mnist").exists(), reason="needs MNIST")
def test_every_method_of_a_board_on_mnist(benchmark, monkeypatch, tmp_path):
    recipes = [
        name
        for name, method in installed().methods().items()
        if "network" in method.models and not method.needs
    ]
    share(benchmark, monkeypatch, tmp_path, "mnist-lt-100", recipes, 1, wanted=0.80)


def test_recipes_that_differ_after_the_fit_on_tables(benchmark, monkeypatch, tmp_path):
    """The floor of the track, of which class weights share nothing, runs beside."""
    share(benchmark, monkeypatch, tmp_path, "tabular-embedded", ON_TABLES, 1, wanted=0.40)
