import numpy as np
import pytest
from msgspec import json, structs, to_builtins
from sample_record import RECORD

from ltbench import protocol
from ltbench.boards.reading import read
from ltbench.registry.registry import installed
from ltbench.results.records import Origin, Timing, write
from ltbench.tracks.tabular.comparison import _ranked, compare
from ltbench.tracks.tabular.markdown import frame, markdown
from ltbench.tracks.tabular.measures import NAMES
from ltbench.tracks.tabular.parts import Part, Parts, means
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
                measures=means(parts.values()),
                timing=None,
                class_counts=[90, 10],
                notes=[],
            )


def plain(t, k, seed):
    return 0.5 + 0.1 * t + 0.01 * k + 0.001 * seed


def wobble(seed, deviation):
    """Three numbers around zero with a standard deviation."""
    return (seed - 1) * deviation


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
        gain = 0.05 if t == 0 else -0.05 if (t, k) == (1, 0) else 0.0
        return plain(t, k, seed) + gain + wobble(seed, 0.005)

    found = [*records(known, "erm", plain), *records(known, "smote", better_on_one)]
    against = compare(known, found).rows[0].over_plain
    assert (against.won, against.tied, against.lost) == (2, 3, 1)


@pytest.mark.parametrize(("deviation", "won"), [(0.0099, 6), (0.0102, 0)])
def test_the_interval_over_seeds_is_widened_for_the_rows_that_they_share(known, deviation, won):
    # t with two degrees of freedom is 4.3027; its half width 4.3027 sd sqrt(1 / 3 + 1 / 1)
    gain = 0.05

    def better(t, k, seed):
        return plain(t, k, seed) + gain + wobble(seed, deviation)

    assert 4.302653 * 0.01 * np.sqrt(1 / 3 + 1) == pytest.approx(gain, abs=0.0004)
    found = [*records(known, "erm", plain), *records(known, "smote", better)]
    assert compare(known, found).rows[0].over_plain.won == won


def test_what_does_not_spread_over_seeds_or_has_two_of_them_is_tied(known):
    same = [
        *records(known, "erm", plain),
        *records(known, "smote", lambda t, k, s: plain(t, k, s) + 0.05),
    ]
    assert compare(known, same).rows[0].over_plain.tied == 6
    two = [
        *records(known, "erm", plain),
        *records(known, "smote", lambda t, k, s: plain(t, k, s) + 0.05 + wobble(s, 0.001)),
    ]
    two = [one for one in two if one.seed < 2]
    assert compare(known, two).rows[0].over_plain.tied == 6


def test_a_recipe_is_compared_on_the_problems_it_takes(known):
    found = [
        *records(known, "erm", plain),
        *records(
            known,
            "sam",
            lambda t, k, s: plain(t, k, s) + 0.03 + wobble(s, 0.001),
            learners=("tree",),
        ),
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


def test_what_is_a_deviation_but_not_a_standard_error_behind_is_no_tie(known):
    def behind(t, k, seed):  # by 0.014, with a deviation of 0.015 and an error of 0.009
        return plain(t, k, seed) - (0.03, 0.0, 0.012)[t]

    found = [*records(known, "erm", plain), *records(known, "smote", behind, g_mean=0.9)]
    assert [row.recipe for row in compare(known, found).rows] == ["erm", "smote"]


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
        *records(known, "threshold", lambda t, k, s: plain(t, k, s) + 0.05 + 0.001 * t),
        *records(known, "smote", lambda t, k, s: plain(t, k, s) + 0.04, brier=0.2),
        *records(known, "spe", lambda t, k, s: plain(t, k, s) + 0.10 + 0.002 * t),
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
    first, by_learner = (text.split("\n\n")[n] for n in (2, 6))
    assert "+0.100 |" in first  # no spread over tables, so no interval
    assert "a difference above zero is a gain" in " ".join(text.split())
    line = next(line for line in by_learner.splitlines() if "smote" in line)
    told = [cell.strip() for cell in line.split("|")[2:-1]]
    assert told == ["0/6/0", "–", "0.400", "0.400", "18 ok"]
    assert frame(board).set_index("recipe").loc["smote", "log_loss_with_tree"] == 0.4
    assert "f1_with_tree" not in frame(board).columns


def marks(text):
    """What stands behind each recipe of the first table."""
    lines = [line for line in text.split("\n\n")[2].splitlines() if "`" in line]
    return {line.split("`")[1]: line.split("|")[1].split("`")[2].strip() for line in lines}


def test_one_difference_that_would_hold_alone_is_marked_among_many(known):
    # p of a gain of 0.0333 with a deviation of 0.0115 over three tables is 0.038
    def better(t, k, seed):
        return plain(t, k, seed) + (0.04, 0.04, 0.02)[t]

    def other(recipe):
        return records(known, recipe, lambda t, k, s: plain(t, k, s) + (0.02, -0.02, 0.001)[t])

    few = [*records(known, "threshold", plain), *records(known, "spe", better)]
    (row, _) = compare(known, few).rows
    assert row.over_tuned.p == pytest.approx(0.0377, abs=1e-4)
    assert row.over_tuned.adjusted_p == row.over_tuned.p
    assert marks(markdown(compare(known, few)))["spe"] == ""
    many = compare(known, [*few, *other("ros"), *other("smote")])
    spe = next(row for row in many.rows if row.recipe == "spe")
    assert spe.over_tuned.difference.low > 0
    assert spe.over_tuned.adjusted_p == pytest.approx(3 * spe.over_tuned.p, abs=2e-4)
    assert marks(markdown(many))["spe"] == "†"


def on_one_table(known):
    return structs.replace(known, tables={"one": known.tables["one"]})


def test_of_one_table_the_interval_is_over_its_seeds(known):
    alone = on_one_table(known)
    found = [
        *records(known, "erm", plain),
        *records(known, "threshold", lambda t, k, s: plain(t, k, s) + 0.01 + wobble(s, 0.004)),
        *records(known, "smote", lambda t, k, s: plain(t, k, s) + 0.18 + wobble(s, 0.01)),
    ]
    board = compare(alone, [one for one in found if one.table == "one"])
    rows = {row.recipe: row for row in board.rows}
    over = rows["smote"].over_plain
    assert over.difference.mean == pytest.approx(0.18)
    half = 4.302653 * 0.01 * np.sqrt(1 / 3 + 1)
    assert over.difference.low == pytest.approx(0.18 - half, abs=1e-6)
    assert (over.won, rows["smote"].over_tuned.better) == (2, True)
    assert rows["erm"].over_tuned.better is False
    text = markdown(board)
    assert marks(text) == {"smote": "", "threshold": "", "erm": "†"}
    assert "with the 95 % interval over seeds, widened" in " ".join(text.split())
    assert "Over 3 seeds, 1 of 2 rows are told apart from `threshold`." in " ".join(text.split())
    assert board.friedman is None


def test_without_an_interval_there_is_no_mark(known):
    alone = on_one_table(known)
    found = [
        one
        for recipe, gain in (("erm", 0.0), ("threshold", 0.05), ("smote", 0.1))
        for one in records(known, recipe, lambda t, k, s, more=gain: plain(t, k, s) + more)
        if one.table == "one" and one.seed == 0
    ]
    text = markdown(compare(alone, found))
    assert marks(text) == {"smote": "", "threshold": "", "erm": ""}
    assert "These are too few seeds to tell rows apart from `threshold`." in text


def test_a_board_tells_how_many_cells_it_lacks(known):
    found = list(records(known, "smote", plain))
    assert markdown(compare(known, found)).startswith("# three\n")
    assert markdown(compare(known, found[:-1])).startswith("# three, incomplete: 8 of 9 cells\n")
    floor = compare(known, list(records(known, "erm", plain)))
    assert markdown(floor).startswith("# three, incomplete: 9 of 27 cells\n")
    more = [*found, structs.replace(found[0], seed=7)]
    assert markdown(compare(known, more)).startswith("# three\n")


def lucky(known, ending):
    """Plain learners that end otherwise on seed 0, where F1 is lowest, of each table."""
    for one in records(known, "lucky", lambda t, k, s: plain(t, k, s) + 0.001 * t):
        if one.seed > 0:
            yield one
        elif ending == "whole":
            yield structs.replace(one, details={}, status="failed", reason="no")
        elif ending != "absent":
            parts = {"logistic": part(0.9), "tree": Part(ending, "no")}
            yield structs.replace(one, details=to_builtins(Parts(parts)))


@pytest.mark.parametrize("ending", ["failed", "skipped", "timeout", "whole", "absent"])
def test_failing_on_some_seeds_lifts_no_row(known, ending):
    found = [
        *records(known, "erm", plain),
        *records(known, "ros", lambda t, k, s: plain(t, k, s) - 0.1),
        *records(known, "smote", lambda t, k, s: plain(t, k, s) + 0.1),
        *lucky(known, ending),
    ]
    board = compare(known, found)
    assert [row.recipe for row in board.rows] == ["smote", "erm", "ros", "lucky"]
    last = board.rows[-1]
    assert (last.average_rank, last.board_cells, last.missing_cells) == (None, 9, 3)
    assert {row.missing_cells for row in board.rows[:-1]} == {0}
    assert board.friedman.recipes == 3
    text = markdown(board)
    (line,) = (line for line in text.split("\n\n")[2].splitlines() if "`lucky`" in line)
    assert "(6 of 9 cells)" in line
    assert "has no rank and stands below" in " ".join(text.split())


def test_a_recipe_that_a_learner_never_takes_lacks_nothing(known):
    found = [*records(known, "erm", plain), *records(known, "sam", plain, learners=("tree",))]
    assert [row.missing_cells for row in compare(known, found).rows] == [0, 0]


def test_costs_are_the_work_of_all_parts_over_that_of_plain_learners(known):
    found = [*records(known, "erm", plain), *records(known, "smote", plain, work=3.0)]
    costs = {row.recipe: row.cost.relative for row in compare(known, found).rows}
    assert costs == {"erm": 1.0, "smote": 3.0}


def test_the_range_of_a_cost_is_over_seeds(known):
    found = [
        one
        for seed, work in enumerate((1.0, 2.0, 4.0))
        for one in records(known, "erm", plain, work=work)
        if one.seed == seed
    ]
    board = compare(known, found)
    cost = board.rows[0].cost
    assert (cost.relative, cost.relative_low, cost.relative_high) == (2.333333, 1.0, 4.0)
    assert cost.work == 2.0
    assert "2.3x (1.0–4.0)" in markdown(board)


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


def test_a_record_whose_parts_cost_less_than_nothing_is_named_and_left_out(known, tmp_path):
    found = [*records(known, "erm", plain), *records(known, "smote", plain)]
    wrong = to_builtins(Parts({"logistic": part(0.5, work=-1.0)}))
    found[0] = structs.replace(found[0], details=wrong)
    for one in found:
        told = {"hash": known.hash, "fingerprint": "", "track": known.track}
        write(tmp_path, structs.replace(one, **told), None)
    both = read(installed(), tmp_path / "three.toml", tmp_path)
    (rejected,) = both.rejected
    assert rejected.path.name == "one-seed-0.json"
    assert "its parts are none (Expected float >= 0.0" in str(rejected)
    assert both.board.markdown().startswith("# three, incomplete: 17 of 18 cells\n")


def test_cells_of_other_code_are_told_below_the_tables(known, tmp_path):
    for n, one in enumerate(records(known, "mine", plain)):
        code = {"mine": Origin("acme", "1.0", "aaaa" if n else "bbbb")}
        told = {"hash": known.hash, "fingerprint": "", "track": known.track, "plugins": code}
        write(tmp_path, structs.replace(one, **told), None)
    text = read(installed(), tmp_path / "three.toml", tmp_path).board.markdown()
    left = "mine: 1 record of other code of mine left out; ltbench run makes them again"
    assert text.endswith(f"\n\n- {left}.\n")
    assert text.startswith("# three, incomplete: 8 of 9 cells\n")


def test_every_form_has_every_recipe(known):
    board = compare(known, [*records(known, "erm", plain), *records(known, "smote", plain)])
    assert list(frame(board).recipe) == [row.recipe for row in board.rows]
    assert "over_erm_low" in frame(board).columns
    assert {"over_erm_adjusted_p", "detectable", "missing_cells"} <= set(frame(board).columns)
    assert b'"friedman":null' in json.encode(board)
    assert markdown(board) == markdown(board)
