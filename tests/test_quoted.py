import json
from statistics import fmean

import pytest
from msgspec import structs
from sample_record import RECORD

from ltbench.boards.published import _published, _sources, ordered, quoted
from ltbench.registry.registry import installed
from ltbench.results.records import write

WITH = sorted({name for source in _sources() for name in source.accuracy})


def published(name):
    return quoted(installed(), installed().protocol(name))


def test_figures_belong_to_shipped_protocols_and_are_accuracies():
    assert all(map(installed().ships, WITH))
    for source in _sources():
        for told in source.accuracy.values():
            assert all(0 < value[0] < 100 and len(value) <= 2 for value in told.values())


def test_a_method_that_is_a_recipe_here_is_spelled_as_its_rows_are():
    names = {name for source in _sources() for told in source.accuracy.values() for name in told}
    assert names == {n if n != n.lower() else installed().recipe(n).text for n in names}


def test_only_problems_that_others_published_on_have_figures():
    assert sorted(name for name in installed().protocols() if published(name)) == WITH
    assert all(name.removeprefix("distill-").startswith("cifar") for name in WITH)
    assert not any("jpeg" in name or "short" in name for name in WITH)


def test_what_is_set_against_a_problem_is_shipped_and_the_problem_has_figures():
    for name, problem in _published().order.items():
        assert installed().ships(name)
        assert problem in WITH


def test_a_smaller_budget_is_set_against_the_figures_of_the_whole():
    short = installed().protocol("cifar10-jpeg-lt-100-short")
    problem, told = ordered(installed(), short)
    assert problem == "cifar10-lt-100"
    assert told["erm"] == [71.36, 71.95]
    assert ordered(installed(), structs.replace(short, version=2)) is None
    assert ordered(installed(), installed().protocol("digits-lt")) is None
    assert ordered(installed(), installed().protocol("cifar10-lt-100"))[1] == told


def test_a_board_tells_how_far_its_order_is_the_published_one(tmp_path, ltbench):
    name = "cifar10-jpeg-lt-100-short"
    protocol = installed().protocol(name)
    told = ordered(installed(), protocol)[1]
    recipes = ["erm", "drw", "ldam", "crt", "balanced-softmax", "ldam+drw", "focal"]
    for place, recipe in enumerate(sorted(recipes, key=lambda one: fmean(told.get(one, [0])))):
        accuracy = (40 + place) / 100
        measures = {"accuracy": accuracy, "balanced_accuracy": accuracy}
        changes = {"protocol": name, "hash": protocol.hash, "track": protocol.track}
        write(tmp_path, structs.replace(RECORD, **changes, recipe=recipe, measures=measures), None)
    found = json.loads(
        ltbench("leaderboard", name, "--results", tmp_path, "--format", "json").stdout
    )
    assert found["order"]["methods"] == 6
    assert found["order"]["correlation"] == 1
    text = " ".join(ltbench("leaderboard", name, "--results", tmp_path).stdout.split())
    assert "published for cifar10-lt-100, of 6 recipes" in text


def test_another_protocol_of_the_name_has_none():
    protocol = installed().protocol("cifar10-lt-100")
    assert quoted(installed(), protocol)
    assert quoted(installed(), structs.replace(protocol, version=2)) == []


@pytest.fixture
def results(tmp_path):
    for name in ("cifar10-lt-100", "distill-cifar10-lt-10-ipc10"):
        protocol = installed().protocol(name)
        changes = {"protocol": name, "hash": protocol.hash, "track": protocol.track}
        measures = {"accuracy": 0.5, "balanced_accuracy": 0.5}
        for recipe in ("erm", "random"):
            record = structs.replace(RECORD, **changes, recipe=recipe, measures=measures)
            write(tmp_path, record, None)
    return tmp_path


def test_figures_stand_in_a_table_of_their_own_without_a_rank(results, ltbench):
    text = ltbench("leaderboard", "cifar10-lt-100", "--results", results).stdout
    above, below = text.split("Quoted, not measured here:")
    assert "balanced-softmax" not in above
    cells = [
        [c.strip() for c in line.split("|")[1:-1]] for line in below.splitlines() if "|" in line
    ]
    assert cells[0] == ["method", "accuracy as quoted", "measured here", "source"]
    assert ["`erm`", "71.4", "50.0", "[1]"] in cells
    assert ["balanced-softmax", "77.5", "–", "[3]"] in cells
    assert "- [1] arXiv:2007.07314, README of its code, example figures: ResNet-32" in below


def test_spreads_are_told_where_the_source_tells_them(results, ltbench):
    words = ["leaderboard", "distill-cifar10-lt-10-ipc10", "--results", results]
    assert "32.5 ± 2.2" in ltbench(*words).stdout
    told = json.loads(ltbench(*words, "--format", "json").stdout)["quoted"]
    assert [source["reference"] for source in told] == ["arXiv:2408.14506"]
    assert told[0]["accuracy"]["random"] == [32.5, 2.2]


def test_a_table_without_figures_says_nothing_of_them(ltbench, tiny, tmp_path):
    ltbench_run = ltbench("run", tiny, "-m", "erm", "--seeds", 1)
    assert "Quoted" not in ltbench_run.stdout
