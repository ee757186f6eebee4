import json
from shutil import rmtree

import pytest
from msgspec import structs
from sample_record import RECORD

import ltbench
from ltbench import LTBenchError
from ltbench.boards import markdown
from ltbench.boards.stability import evaluate
from ltbench.registry.registry import installed
from ltbench.results.records import write

MILD, HARSH = "distill-mnist-lt-10-ipc10", "distill-mnist-lt-200-ipc10"


@pytest.fixture
def results(tmp_path):
    """Records of both protocols; one seed of `dm` is there in the milder one alone."""
    reached = {
        MILD: {"dm": [0.90, 0.92, 0.99], "random": [0.80, 0.82]},
        HARSH: {"dm": [0.86, 0.84], "random": [0.70, 0.74], "csdm": [0.9]},
    }
    for name, recipes in reached.items():
        protocol = ltbench.protocol(name)
        for recipe, values in recipes.items():
            for seed, value in enumerate(values):
                changes = {"protocol": name, "hash": protocol.hash, "track": protocol.track}
                told = {"recipe": recipe, "seed": seed, "measures": {"accuracy": value}}
                write(tmp_path, structs.replace(RECORD, **changes, **told), None)
    return tmp_path


@pytest.mark.parametrize("asked", [MILD, HARSH, "distill-mnist-lt-100-ipc10"])
def test_the_drop_is_paired_over_the_seeds_that_both_have(results, asked):
    table, rejected = evaluate(installed(), asked, results)
    assert rejected == []
    assert (table.mild, table.harsh, table.measure.name) == (MILD, HARSH, "accuracy")
    assert [(row.recipe, row.seeds) for row in table.rows] == [("dm", 2), ("random", 2)]
    dm = table.rows[0]
    assert (dm.mild.mean, dm.harsh.mean) == (pytest.approx(0.91), pytest.approx(0.85))
    assert dm.drop.mean == pytest.approx(0.06)
    # differences 0.04 and 0.08: the half width is 12.706 times 0.02
    assert dm.drop.high - dm.drop.mean == pytest.approx(12.7062 * 0.02, abs=1e-4)


def test_rows_that_lack_seeds_come_last(results):
    for name in (MILD, HARSH):
        protocol = ltbench.protocol(name)
        told = {"protocol": name, "hash": protocol.hash, "track": protocol.track}
        for recipe, seeds in (("sdd", (0,)), ("herding", (0, 1))):
            for seed in seeds:
                found = {"recipe": recipe, "seed": seed, "measures": {"accuracy": 0.9}}
                write(results, structs.replace(RECORD, **told, **found), None)
    rows = evaluate(installed(), MILD, results)[0].rows
    # nothing is lost by `sdd` on one seed; it does not come before those with two
    assert [(row.recipe, row.seeds) for row in rows] == [
        ("herding", 2),
        ("dm", 2),
        ("random", 2),
        ("sdd", 1),
    ]


def test_the_command_prints_the_table_in_every_form(results, ltbench):
    words = ["leaderboard", MILD, "--stability", "--results", results]
    text = ltbench(*words).stdout
    assert text == markdown.stability(evaluate(installed(), MILD, results)[0])
    assert f"# {MILD} to {HARSH}" in text
    row = next(line for line in text.splitlines() if "`dm`" in line)
    assert [cell.strip() for cell in row.split("|")[3:-1]] == [
        "91.0 ± 12.7",
        "85.0 ± 12.7",
        "6.0 ± 25.4",
    ]
    assert "Accuracy in percent, means over the seeds that both protocols have" in text
    told = json.loads(ltbench(*words, "--format", "json").stdout)
    assert told["rows"][0]["drop"]["mean"] == pytest.approx(0.06)
    lines = ltbench(*words, "--format", "csv").stdout.splitlines()
    assert lines[0].startswith("recipe,seeds,mild,mild_low")
    assert len(lines) == 3


@pytest.mark.parametrize(
    "name", ["digits-lt", "distill-digits", "mnist-lt-100", "tabular-embedded"]
)
def test_a_protocol_without_siblings_is_refused(name, tmp_path):
    with pytest.raises(LTBenchError, match=f"{name} has no sibling of factor (10|200)"):
        evaluate(installed(), name, tmp_path)


def test_a_sibling_that_differs_in_more_is_none(tmp_path, tiny):
    text = tiny.read_text().replace('name = "tiny"', 'name = "mnist-lt-200"')
    tiny.write_text(text.replace("factor = 10", "factor = 200"))
    with pytest.raises(LTBenchError, match="mnist-lt-200 has no sibling of factor 10;"):
        evaluate(installed(), tiny, tmp_path)


@pytest.mark.parametrize(
    ("budget", "words"),
    [("", f"{MILD} holds no records"), ("[budget]\nepochs = 1000\n", f"{HARSH} has no sibling")],
)
def test_a_protocol_of_another_budget_is_no_sibling(tmp_path, budget, words):
    path = tmp_path / "other.toml"
    path.write_text(
        f'base = "{HARSH}"\nname = "{HARSH}"\nversion = 1\ndescription = "Other."\n{budget}'
    )
    with pytest.raises(LTBenchError, match=words):
        evaluate(installed(), path, tmp_path)


def test_without_common_seeds_there_is_no_drop(results):
    for recipe in ("dm", "random"):
        rmtree(results / HARSH / "records" / recipe)
    with pytest.raises(LTBenchError, match="no finished seed of one recipe in common"):
        evaluate(installed(), MILD, results)


def test_without_records_the_way_out_is_told(tmp_path):
    with pytest.raises(LTBenchError, match=f"{MILD} .*; ltbench run .*makes them"):
        evaluate(installed(), MILD, tmp_path)
