import numpy as np
import pytest
from msgspec import json, structs, to_builtins
from sample_record import RECORD

from ltbench import protocol
from ltbench.results.records import Timing
from ltbench.tracks.tabular.comparison import _ranked, compare
from ltbench.tracks.tabular.markdown import frame, markdown
from ltbench.tracks.tabular.measures import NAMES
from ltbench.tracks.tabular.parts import Part, Parts
from ltbench.tracks.tabular.problem import TabularScoring

LEARNERS = ("logistic", "tree")
TABLES = ("one", "two", "three")


@pytest.fixture
def known(tmp_path):
    """A protocol of three tables and two learners; nothing of it is ever run."""
    path = tmp_path / "three.toml"
    tables = "\n".join(f'{n} = {{source = "{n}", fingerprint = "any"}}' for n in TABLES)
    learners = "\n".join(f"{name} = {{}}" for name in LEARNERS)
    path.write_text(
        'name = "three"\nversion = 1\ntrack = "tabular"\ndescription = "Three."\n'
        f'recipes = ["erm"]\nseeds = 3\n[tables]\n{tables}\n[learners]\n{learners}\n'
        "[compute]\nthreads = 1\n"
    )
    return protocol(path)


def part(f1, brier=0.1, work=1.0, **more):
    metrics = dict.fromkeys(NAMES, 0.5) | {"f1": f1, "brier": brier, **more}
    return Part("ok", metrics=metrics, timing=Timing(1.0, work, 1.0, work, 1.0, 0.0))


def records(known, recipe, f1, learners=LEARNERS, **given):
    """A record of each table and seed; `f1` tells a number from table, learner and seed."""
    for t, table in enumerate(TABLES):
        for seed in range(3):
            parts = {
                name: part(f1(t, k, seed), **given)
                if name in learners
                else Part("skipped", f"{recipe} cannot")
                for k, name in enumerate(LEARNERS)
            }
            yield structs.replace(
                RECORD,
                protocol=known.name,
                recipe=recipe,
                seed=seed,
                table=table,
                details=to_builtins(Parts(parts)),
                measures={},
                timing=None,
                class_counts=[90, 10],
                notes=[],
            )


def plain(t, k, seed):
    return 0.5 + 0.1 * t + 0.01 * k + 0.001 * seed


def test_differences_are_paired_and_their_interval_is_over_tables(known):
    gains = (0.02, 0.04, 0.06)
    found = [
        *records(known, "erm", plain),
        *records(known, "smote", lambda t, k, seed: plain(t, k, seed) + gains[t]),
    ]
    row = compare(known, found).rows[0]
    assert row.recipe == "smote"
    assert row.over_plain.difference.mean == pytest.approx(0.04)
    # t with two degrees of freedom is 4.3027; the deviation of the gains 0.02
    half = 4.302653 * 0.02 / np.sqrt(3)
    assert row.over_plain.difference.low == pytest.approx(0.04 - half, abs=1e-6)
    assert row.metrics["f1"].mean == pytest.approx(0.606 + 0.04)
    assert row.by_table["one"] == pytest.approx(0.506 + 0.02)
    assert row.by_learner["tree"] == pytest.approx(0.611 + 0.04)


def test_problems_are_won_and_lost_over_seeds(known):
    def better_on_one(t, k, seed):
        return plain(t, k, seed) + (0.05 if t == 0 else -0.05 if (t, k) == (1, 0) else 0.0)

    found = [*records(known, "erm", plain), *records(known, "smote", better_on_one)]
    against = compare(known, found).rows[0].over_plain
    assert (against.won, against.tied, against.lost) == (2, 3, 1)


def test_a_recipe_is_compared_on_the_problems_it_takes(known):
    found = [
        *records(known, "erm", plain),
        *records(known, "sam", lambda t, k, s: plain(t, k, s) + 0.03, learners=("tree",)),
    ]
    board = compare(known, found)
    row = next(row for row in board.rows if row.recipe == "sam")
    assert row.over_plain.difference.mean == pytest.approx(0.03)
    assert (row.over_plain.won, row.over_plain.lost) == (3, 0)
    assert row.average_rank is None
    assert row.by_learner["logistic"] is None
    assert (row.status["ok"], row.status["skipped"]) == (9, 9)
    assert row.notes == ["sam cannot (logistic)"]


def test_ties_of_f1_are_ordered_by_g_mean(known):
    def near(t, k, seed):
        return plain(t, k, seed) + (0.02, -0.01, 0.0)[t]  # within a standard error of plain

    found = [
        *records(known, "erm", plain),
        *records(known, "smote", near),
        *records(known, "adasyn", plain, g_mean=0.9),
        *records(known, "ros", lambda t, k, s: plain(t, k, s) - 0.1, g_mean=0.99),
    ]
    assert [row.recipe for row in compare(known, found).rows] == ["adasyn", "smote", "erm", "ros"]


def test_average_ranks_and_the_critical_difference_are_those_of_the_tables():
    # Nemenyi's q for 4 rows is 2.569, for N tables the difference is q sqrt(k (k + 1) / (6 N))
    random = np.random.RandomState(0)
    values = random.rand(4, 10) + np.array([3.0, 2.0, 0.0, 0.0])[:, None]
    average, groups, test = _ranked(values)
    assert average[:2] == [1.0, 2.0]
    assert sum(average) == pytest.approx(10)
    assert test.critical_difference == pytest.approx(2.569 * np.sqrt(4 * 5 / 60), abs=1e-3)
    assert (test.recipes, test.tables) == (4, 10)
    assert groups[0] == "a" and groups[1] == "ab"
    assert test.p_value < 0.001


def test_rows_of_equal_value_share_a_rank():
    average, groups, test = _ranked(np.ones((3, 4)) * np.arange(4))
    assert average == [2.0, 2.0, 2.0]
    assert groups == ["a", "a", "a"]
    assert (test.statistic, test.p_value) == (0.0, 1.0)


def test_two_recipes_are_not_ranked_against_each_other():
    assert _ranked(np.ones((2, 4)))[2] is None


def test_what_does_not_beat_the_threshold_or_costs_calibration_is_marked(known):
    found = [
        *records(known, "erm", plain),
        *records(known, "threshold", lambda t, k, s: plain(t, k, s) + 0.05),
        *records(known, "smote", lambda t, k, s: plain(t, k, s) + 0.04, brier=0.2),
        *records(known, "spe", lambda t, k, s: plain(t, k, s) + 0.10 + 0.001 * t),
    ]
    text = markdown(compare(known, found))
    lines = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    first = text.split("\n\n")[2]
    marked = {
        line.split("`")[1]: line.split("|")[1].split("`")[2].strip()
        for line in first.splitlines()
        if "`" in line
    }
    assert marked == {"spe": "", "threshold": "", "smote": "† ‡", "erm": "†"}
    assert set(lines) == set(marked)


def test_what_ranks_is_written_in_its_unit_and_lower_may_be_better(known):
    by_loss = structs.replace(known, scoring=TabularScoring(ranking="log_loss"))
    found = [
        *records(known, "erm", plain, log_loss=0.5),
        *records(known, "smote", plain, log_loss=0.4),
    ]
    board = compare(by_loss, found)
    assert [row.recipe for row in board.rows] == ["smote", "erm"]
    text = markdown(board)
    first, by_learner = (text.split("\n\n")[n] for n in (2, 5))
    assert "+0.100 ± 0.000" in first
    assert "a difference above zero is a gain" in " ".join(text.split())
    line = next(line for line in by_learner.splitlines() if "smote" in line)
    told = [cell.strip() for cell in line.split("|")[2:-1]]
    assert told == ["6/0/0", "–", "0.400", "0.400", "18 ok"]
    assert frame(board).set_index("recipe").loc["smote", "log_loss_with_tree"] == 0.4
    assert "f1_with_tree" not in frame(board).columns


def test_costs_are_the_work_of_all_parts_over_that_of_plain_learners(known):
    found = [*records(known, "erm", plain), *records(known, "smote", plain, work=3.0)]
    costs = {row.recipe: row.cost.relative for row in compare(known, found).rows}
    assert costs == {"erm": 1.0, "smote": 3.0}


def test_a_table_that_cannot_be_had_is_told(known):
    found = [*records(known, "erm", plain), *records(known, "smote", plain)]
    lost = structs.replace(found[0], details={}, status="failed", reason="table one is gone")
    row = next(r for r in compare(known, [lost, *found[1:]]).rows if r.recipe == "erm")
    assert row.notes == ["table one is gone (one)"]
    assert row.status["failed"] == 1


def test_the_rows_of_each_class_are_told_though_a_cell_failed(known):
    found = list(records(known, "erm", plain))
    lost = structs.replace(found[0], details={}, class_counts=[], status="failed", reason="gone")
    for order in ([lost, *found[1:]], [*found[1:], lost]):
        assert compare(known, order).tables == dict.fromkeys(TABLES, [90, 10])


def test_every_form_has_every_recipe(known):
    board = compare(known, [*records(known, "erm", plain), *records(known, "smote", plain)])
    assert list(frame(board).recipe) == [row.recipe for row in board.rows]
    assert "over_erm_low" in frame(board).columns
    assert b'"friedman":null' in json.encode(board)
    assert markdown(board) == markdown(board)
