import numpy as np
import pytest
from msgspec import structs
from scipy.stats import ttest_rel

import ltbench
from ltbench import LTBenchError
from ltbench.boards import leaderboard
from ltbench.boards.markdown import markdown
from ltbench.boards.reading import read
from ltbench.registry.registry import Registry, installed
from ltbench.results.records import Origin, Record, Timing, encoded, path_of, write
from ltbench.scoring.statistics import Mean, differences, pairs_of

MINE = """
from ltbench import Method, hookimpl

class Mine(Method):
    name = "mine"
    reference = "none"

    def scores(self, scores, run):
        return scores

@hookimpl
def register_methods(register):
    register(Mine)
"""


@pytest.fixture
def fixed(tiny):
    return ltbench.protocol(tiny)


@pytest.fixture
def record(fixed):
    def make(recipe, seed, score=None, status="ok", notes=(), relative=1.0, **more):
        return Record(
            protocol="tiny",
            version=1,
            hash=fixed.hash,
            track=fixed.track,
            fingerprint=fixed.data.fingerprint,
            recipe=recipe,
            parameters={},
            plugins={recipe: Origin("ltbench", "0.1.0", "aaaa")},
            seed=seed,
            status=status,
            reason="" if status == "ok" else "it broke",
            notes=list(notes),
            environment={"cpu": "a processor", "threads": 1, "torch": "2"},
            measures={} if score is None else {"balanced_accuracy": score, "accuracy": score},
            timing=Timing(2.0, 2.0, 1.0, relative, 1.0, 5.0) if score is not None else None,
            **more,
        )

    return make


def build(protocol, found, **more):
    return leaderboard.build(installed().track(protocol.track), protocol, found, **more)


def told(board):
    """The Markdown of a board as one line, and the first table's cells by recipe."""
    text = markdown(board)
    table = next(block for block in text.split("\n\n") if block.startswith("|"))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    return " ".join(text.split()), {line[1].split("`")[1]: line for line in lines}


def rows_by_name(board):
    return {row.recipe: row for row in board.rows}


def test_rows_come_best_first_with_paired_differences(fixed, record):
    found = [record("erm", s, 0.5 + 0.1 * s) for s in range(3)]
    found += [record("better", s, 0.6 + 0.1 * s + 0.01 * (s == 1)) for s in range(3)]
    board = build(fixed, found)
    assert [row.recipe for row in board.rows] == ["better", "erm"]
    better, erm = board.rows
    assert better.delta.mean == pytest.approx(0.31 / 3, abs=1e-6)
    assert better.delta.low > 0.08
    assert (better.rank, erm.rank) == ((1, 1), (2, 2))
    assert erm.delta.mean == 0
    assert erm.measures["balanced_accuracy"].mean == pytest.approx(0.6)
    assert erm.measures["few"].mean is None


SCORES = (0.85, 0.75, 0.80, 0.90, 0.70)


def of_scores(record, recipe, more=0.0, seeds=range(5), **given):
    return [record(recipe, s, SCORES[s] + more + 0.001 * (s % 2), **given) for s in seeds]


def others(record):
    """Plain training, something better and something worse, on all five seeds."""
    return [
        *of_scores(record, "erm"),
        *[record("better", s, SCORES[s] + 0.04 + 0.002 * (s % 3)) for s in range(5)],
        *[record("worse", s, SCORES[s] - 0.06 - 0.002 * s) for s in range(5)],
    ]


@pytest.mark.parametrize("status", ["failed", "timeout", "skipped", None])
def test_a_row_that_fails_on_hard_seeds_does_not_climb(fixed, record, status):
    found = others(record) + of_scores(record, "lucky", seeds=(0, 3))
    if status:
        found += [record("lucky", s, status=status) for s in (1, 2, 4)]
    board = build(fixed, found)
    rows = rows_by_name(board)
    assert [row.recipe for row in board.rows] == ["better", "erm", "worse", "lucky"]
    mean = rows["lucky"].measures["balanced_accuracy"].mean
    assert mean > rows["erm"].measures["balanced_accuracy"].mean + 0.05
    assert (rows["lucky"].rank, rows["lucky"].delta_adjusted_p) == (None, None)
    assert (rows["lucky"].board_seeds, rows["lucky"].missing_seeds) == (5, 3)
    text, cells = told(board)
    assert cells["lucky"][:2] == ["–", cells["lucky"][1]]
    assert cells["lucky"][1].endswith("(2 of 5 seeds)")
    assert "has no rank and stands below" in text
    assert "has no rank" not in told(build(fixed, others(record)))[0]


def test_a_row_that_fails_takes_no_rank_from_others(fixed, record):
    alone = build(fixed, others(record))
    lucky = of_scores(record, "lucky", 0.2, seeds=(0, 1, 2)) + [record("lucky", 3, status="failed")]
    beside = build(fixed, others(record) + lucky)
    assert [row.rank for row in beside.rows[:3]] == [row.rank for row in alone.rows]
    assert beside.resolution == alone.resolution


def test_rows_that_lack_seeds_are_ordered_by_the_seeds_they_share(fixed, record):
    found = others(record)
    found += of_scores(record, "easy", -0.01, seeds=(0, 3))  # a high mean of easy seeds
    found += of_scores(record, "hard", 0.01, seeds=(1, 4))
    board = build(fixed, found)
    assert [row.recipe for row in board.rows][3:] == ["hard", "easy"]
    rows = rows_by_name(board)
    high, low = (rows[name].measures["balanced_accuracy"].mean for name in ("easy", "hard"))
    assert high > low


def test_one_failure_on_a_seed_that_another_finished_takes_the_rank(fixed, record):
    found = [*others(record), record("better", 5, status="failed"), record("erm", 5, 0.9)]
    rows = rows_by_name(build(fixed, found))
    assert (rows["better"].rank, rows["better"].board_seeds, rows["better"].missing_seeds) == (
        None,
        6,
        1,
    )
    assert rows["worse"].rank is not None  # it was never asked for this seed


def test_more_seeds_than_others_have_are_told_and_change_no_order(fixed, record):
    found = others(record) + [record("worse", s, 0.99) for s in range(5, 9)]
    board = build(fixed, found)
    assert [row.recipe for row in board.rows] == ["better", "erm", "worse"]
    assert [row.missing_seeds for row in board.rows] == [0, 0, 0]
    assert told(board)[1]["worse"][1] == "`worse` (9 seeds)"


def test_of_two_rows_the_reference_tells_which_seeds_count(fixed, record):
    found = of_scores(record, "erm") + of_scores(record, "mine", seeds=(0, 3))
    assert rows_by_name(build(fixed, found))["mine"].missing_seeds == 3
    found = of_scores(record, "mine") + of_scores(record, "erm", seeds=(0, 3))
    rows = rows_by_name(build(fixed, found))
    assert (rows["mine"].missing_seeds, rows["erm"].missing_seeds) == (0, 0)


@pytest.mark.parametrize(
    ("left", "title"),
    [
        (0, "# tiny"),
        (1, "# tiny, incomplete: 5 of 6 cells"),
        (4, "# tiny, incomplete: 2 of 4 cells"),
    ],
)
def test_the_first_line_tells_how_many_cells_there_are(fixed, record, left, title):
    assert fixed.seeds == 2
    found = [record(name, s, 0.5) for name in ("erm", "better", "sam") for s in range(2)]
    del found[1 : 1 + left]
    assert markdown(build(fixed, found)).splitlines()[0] == title


@pytest.mark.parametrize(
    ("rows", "title"),
    [
        (["erm", "logit-adjustment"], "# tiny"),
        (["erm"], "# tiny, incomplete: 2 of 4 cells"),  # of the protocol's own recipes
        (["erm", "mine"], "# tiny"),
        (["mine"], "# tiny"),
    ],
)
def test_a_board_is_whole_with_the_protocols_recipes_or_those_one_asked_for(
    fixed, record, rows, title
):
    found = [record(name, s, 0.5) for name in rows for s in range(2)]
    assert markdown(build(fixed, found)).splitlines()[0] == title


def test_a_cell_that_failed_is_not_one_that_lacks(fixed, record):
    found = [record("mine", 0, 0.5), record("mine", 1, status="failed")]
    assert markdown(build(fixed, found)).startswith("# tiny\n")


def test_two_seeds_tell_no_ranks_and_no_verdict(fixed, record):
    found = [record("erm", s, 0.5 + 0.1 * s) for s in range(2)]
    found += [record("better", s, 0.7 + 0.101 * s) for s in range(2)]
    board = build(structs.replace(fixed, contrasts=(("better", "erm"),)), found)
    assert [row.rank for row in board.rows] == [(1, 2), (1, 2)]
    better = board.rows[0]
    assert (better.delta_p, better.delta_adjusted_p) == (None, None)
    text, _ = told(board)
    assert "These are too few seeds to tell pairs of rows apart." in text
    assert "of too few seeds to tell" in text
    assert board.contrasts[0].told is False


def test_a_difference_without_spread_is_taken_to_have_that_of_one_prediction(fixed, record):
    found = [record("erm", s, 0.5, class_counts=[9] * 10) for s in range(4)]
    found += [record("better", s, 0.505, class_counts=[9] * 10) for s in range(4)]
    found += [record("same", s, 0.5, class_counts=[9] * 10) for s in range(4)]
    rows = rows_by_name(build(fixed, found))
    # one of 20 test rows of each of ten classes is 0.005; t with three degrees of freedom 3.1824
    half = 3.182446 * 0.005 / 2
    assert rows["better"].delta.low == pytest.approx(0.005 - half, abs=1e-6)
    assert rows["better"].rank == rows["erm"].rank == (1, 3)
    assert rows["same"].delta == Mean(0.0, -round(half, 6), round(half, 6))
    assert rows["erm"].delta == Mean(0.0, None, None)
    unknown = structs.replace(fixed, data=structs.replace(fixed.data, test_per_class=None))
    rows = rows_by_name(build(unknown, found))
    assert rows["better"].delta == Mean(0.005, None, None)
    assert rows["better"].rank == (1, 3)


@pytest.mark.parametrize(
    ("track", "protocol", "step"),
    [
        ("recognition", "digits-lt", 1 / 500),
        ("recognition", "mnist-lt-100", None),
        ("distillation", "distill-digits", 1 / 1500),
        ("compression", "compress-digits", 1 / 500),
        ("tabular", "tabular-uci", None),
    ],
)
def test_the_step_of_a_mean_over_classes_is_known_from_its_test_rows(track, protocol, step):
    kind = installed().track(track)
    told = kind.step(ltbench.protocol(protocol), "balanced_accuracy", 10)
    assert told == (step and pytest.approx(step))
    assert kind.step(ltbench.protocol(protocol), "g_mean", 10) is None
    assert kind.step(ltbench.protocol(protocol), "balanced_accuracy", 0) is None


def test_intervals_of_shares_end_at_their_limits(fixed, record):
    found = [record("erm", s, score) for s, score in enumerate((0.1, 0.9))]
    found += [record("better", s, score) for s, score in enumerate((0.99, 1.0))]
    rows = rows_by_name(build(fixed, found))
    assert rows["erm"].measures["balanced_accuracy"] == Mean(0.5, 0.0, 1.0)
    assert rows["better"].measures["balanced_accuracy"].high == 1.0
    assert rows["better"].delta == Mean(0.495, -1.0, 1.0)
    assert told(build(fixed, found))[1]["better"][2] == "99.5 ± 6.4"  # the half within the limits


def test_contrasts_that_are_declared_are_judged_alone_and_the_legend_says_so(fixed, record):
    found = others(record) + [
        one for k in range(8) for one in of_scores(record, f"same-{k}", 0.0001 * k)
    ]
    found += [record("gain", s, SCORES[s] + (0.03, 0.002, 0.02, 0.04, 0.01)[s]) for s in range(5)]
    board = build(structs.replace(fixed, contrasts=(("gain", "erm"),)), found)
    gain = rows_by_name(board)["gain"]
    assert gain.delta.low > 0
    text, _ = told(board)
    assert "each judged by its own 95 % interval" in text
    assert "`gain` over `erm`: +2.0 ± 1.9 (standard error 0.7), a gain" in text
    assert "each judged by" not in told(build(fixed, found))[0]


def test_an_adjusted_verdict_stands_beside_the_raw_interval(fixed, record):
    rows = rows_by_name(build(fixed, others(record)))
    better = rows["better"]
    assert better.delta.low > 0
    assert better.delta_p < better.delta_adjusted_p < 0.05
    assert rows["erm"].delta_p is None
    frame = ltbench.boards.markdown.frame(build(fixed, others(record))).set_index("recipe")
    assert frame.loc["better", "delta_adjusted_p"] == better.delta_adjusted_p
    assert frame.loc["erm", "detectable"] == build(fixed, others(record)).resolution.corrected


def test_what_the_table_can_tell_stands_below_it(fixed, record):
    found = build(fixed, others(record)).resolution
    assert (found.n, found.pairs, found.told_apart) == (5, 3, 3)
    text, _ = told(build(fixed, others(record)))
    assert "Over 5 seeds, 3 of 3 pairs of rows are told apart." in text
    assert f"a true difference of {100 * found.alone:.2f} points is seen four times in five" in text


def test_groups_that_no_class_falls_into_say_so(fixed, record):
    scores = {"balanced_accuracy": 0.5, "accuracy": 0.5, "few": 0.4}
    found = [structs.replace(record("erm", 0, 0.5), measures=scores)]
    assert "*many*: no class has so many training rows" in told(build(fixed, found))[0]
    assert "*few*: no class" not in told(build(fixed, found))[0]
    nothing = [record("erm", 0, status="failed")]
    assert "no class has" not in told(build(fixed, nothing))[0]


def test_a_cost_has_two_figures_and_its_range_where_that_is_wide(fixed, record):
    for relatives, cell in (
        ((2.84, 2.79, 2.86), "2.8x"),
        ((0.949, 0.968, 1.04), "1.0x"),
        ((0.061, 0.0612, 0.063), "0.06x"),
        ((0.4234, 0.43, 0.44), "0.43x"),
        ((10.59, 10.6, 11.2), "11x"),
        ((2.0, 2.4, 3.0), "2.4x (2.0–3.0)"),
        ((0.0, 0.0001, 0.004), "0.00x"),
    ):
        found = [record("erm", s, 0.5, relative=r) for s, r in enumerate(relatives)]
        assert told(build(fixed, found))[1]["erm"][-1] == cell


def test_differences_are_over_shared_seeds_alone(fixed, record):
    found = [record("erm", 0, 0.5), record("erm", 1, 0.7)]
    found += [record("other", 1, 0.8), record("other", 2, 0.1)]
    assert rows_by_name(build(fixed, found))["other"].delta.mean == pytest.approx(0.1)


def test_without_plain_training_there_is_no_difference(fixed, record):
    (row,) = build(fixed, [record("other", 0, 0.5)]).rows
    assert row.delta is None


def test_failed_and_skipped_cells_are_shown(fixed, record):
    found = [record("erm", 0, 0.5), record("broken", 0, status="failed")]
    found += [record("needy", s, status="skipped") for s in range(2)]
    rows = rows_by_name(build(fixed, found))
    assert {s for s, n in rows["broken"].status.items() if n} == {"failed"}
    assert rows["needy"].status["skipped"] == 2
    assert rows["broken"].rank is None
    assert rows["broken"].notes == ["seed 0 failed: it broke"]
    assert [row.recipe for row in build(fixed, found).rows][0] == "erm"


def test_costs_are_medians_over_seeds(fixed, record):
    for relatives, median in (((1.0, 9.0, 2.0), 2.0), ((1.0, 3.0), 2.0), ((4.0,), 4.0)):
        found = [record("erm", s, 0.5, relative=r) for s, r in enumerate(relatives)]
        assert build(fixed, found).rows[0].cost.relative == median


def test_relative_accuracy_needs_both_references_of_a_seed(fixed, record):
    found = [record("erm", 0, 0.6), record("sam", 0, 0.7), record("vs", 0, 0.7)]
    there = {"even": {("erm", 0): 0.8, ("sam", 0): 0.9}}
    twin = structs.replace(fixed, scoring=structs.replace(fixed.scoring, balanced="even"))
    rows = rows_by_name(build(twin, found, elsewhere=lambda name, measure: there[name]))
    assert rows["erm"].measures["relative_accuracy"].mean == pytest.approx(0.75)
    assert rows["sam"].measures["relative_accuracy"].mean == pytest.approx(7 / 9, abs=1e-6)
    assert rows["vs"].measures["relative_accuracy"].mean is None


def test_what_used_test_inputs_stands_apart(fixed, record):
    found = [record("erm", 0, 0.6), record("x", 0, 0.5, transductive={"balanced_accuracy": 0.9})]
    board = build(fixed, found)
    assert [row.recipe for row in board.rows] == ["erm", "x"]
    assert board.rows[0].transductive is None
    assert board.rows[1].transductive["balanced_accuracy"].mean == 0.9


def test_notes_are_told_once(fixed, record):
    found = [record("erm", s, 0.5, notes=["tau stays 1"]) for s in range(3)]
    assert build(fixed, found).rows[0].notes == ["tau stays 1"]


OLD, NEW = (Origin("ltbench", "0.1.0", source) for source in ("aaaa", "bbbb"))


def test_a_row_is_of_one_code(tmp_path, tiny, record):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    registry = Registry([path])
    now = registry.origins(registry.recipe("mine"))
    for seed, (code, score) in enumerate([(OLD, 0.5), (OLD, 0.5), (now["mine"], 0.9)]):
        one = structs.replace(record("mine", seed, score), plugins={"mine": code})
        write(tmp_path, one, None)
    found = read(registry, tiny, tmp_path)
    (row,) = found.board.content.rows
    assert (row.seeds, row.measures["accuracy"].mean) == (1, 0.9)
    assert "- mine: 2 records of older code of mine left out" in found.board.markdown()


def test_of_codes_that_are_all_gone_the_one_with_most_cells_counts(tmp_path, tiny, record):
    for seed, code in enumerate([OLD, NEW, NEW]):
        one = structs.replace(record("mine", seed, 0.5), plugins={"mine": code})
        write(tmp_path, one, None)
    found = read(installed(), tiny, tmp_path)
    assert found.board.content.rows[0].seeds == 2
    left = "mine: 1 record of other code of mine left out; ltbench run makes them again"
    assert found.board.content.remarks == [left]


def test_records_from_before_imports_were_told_are_of_the_same_code(tmp_path, tiny, record):
    for seed, code in enumerate([OLD, structs.replace(OLD, imported="cccc")]):
        one = structs.replace(record("mine", seed, 0.5), plugins={"mine": code})
        write(tmp_path, one, None)
    found = read(installed(), tiny, tmp_path)
    assert found.board.content.rows[0].seeds == 2
    assert found.board.content.remarks == []


def test_what_used_test_inputs_is_still_there_when_other_code_is_left_out(tmp_path, tiny, record):
    told = {"transductive": {"balanced_accuracy": 0.9}}
    for seed, code in enumerate([OLD, NEW, NEW]):
        one = structs.replace(record("mine", seed, 0.5, **told), plugins={"mine": code})
        write(tmp_path, one, None)
    (row,) = read(installed(), tiny, tmp_path).board.content.rows
    assert row.transductive["balanced_accuracy"].mean == 0.9


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("test_per_class = 20", "test_per_class = 30", "data"),
        ("widths = [16]", "widths = [32]", "network"),
        ("epochs = 8", "epochs = 9", "budget"),
        ("n_max = 30", "n_max = 10", None),
    ],
)
def test_nothing_is_relative_to_a_twin_of_other_data(tmp_path, tiny, record, old, new, part):
    text = tiny.read_text()
    (tmp_path / "even.toml").write_text(text.replace('"tiny"', '"even"').replace(old, new))
    even = str(tmp_path / "even.toml")
    tiny.write_text(text.replace("[compute]", f'balanced = "{even}"\n\n[compute]'))
    for name in ("even", "tiny"):
        protocol = ltbench.protocol(tmp_path / f"{name}.toml")
        told = {"protocol": name, "hash": protocol.hash}
        write(tmp_path, structs.replace(record("erm", 0, 0.5), **told), None)
    content = read(installed(), tiny, tmp_path).board.content
    relative = content.rows[0].measures["relative_accuracy"].mean
    if part is None:
        assert (relative, content.remarks) == (1.0, [])
    else:
        assert relative is None
        assert content.remarks == [f"nothing is set against even: it differs in [{part}]"]
        assert "relative |" not in markdown(content)
        assert f"- nothing is set against even: it differs in \\[{part}\\]." in markdown(content)


@pytest.mark.parametrize(
    ("cost", "value"),
    [
        *[("work", -1.0), ("relative", -1055.75), ("relative", 1e7), ("seconds", -0.1)],
        *[("seconds", 1e10), ("reference_work", 0.0), ("passes", -1.0), ("peak_memory_mb", -1.0)],
    ],
)
def test_a_record_of_an_absurd_cost_is_named_and_left_out(tmp_path, tiny, record, cost, value):
    write(tmp_path, record("erm", 0, 0.5), None)
    path = path_of(tmp_path, "tiny", "erm", 1)
    one = record("erm", 1, 0.7)
    one = structs.replace(one, timing=structs.replace(one.timing, **{cost: value}))
    one = structs.replace(one, digest=one.computed_digest())
    path.write_bytes(encoded(one))
    both = read(installed(), tiny, tmp_path)
    assert [rejected.path for rejected in both.rejected] == [path]
    assert f"timing.{cost}" in str(both.rejected[0])
    assert both.board.content.rows[0].seeds == 1


def test_records_of_two_protocols_are_never_put_together(tmp_path, tiny, fixed, record):
    write(tmp_path, record("erm", 0, 0.5), None)
    write(tmp_path, structs.replace(record("erm", 1, 0.5), hash="feedfeedfeedfeed"), None)
    with pytest.raises(LTBenchError) as refusal:
        read(installed(), tiny, tmp_path)
    assert fixed.hash in str(refusal.value)
    assert "feedfeedfeedfeed" in str(refusal.value)


def test_records_of_different_data_are_never_put_together(tmp_path, tiny, record):
    write(tmp_path, record("erm", 0, 0.5), None)
    write(tmp_path, structs.replace(record("erm", 1, 0.5), fingerprint="feed"), None)
    with pytest.raises(LTBenchError, match=r"different data \(c10b9250e22f3a67 and feed\)"):
        read(installed(), tiny, tmp_path)


def test_files_that_do_not_count_are_named_and_the_others_counted(tmp_path, tiny, record):
    write(tmp_path, record("erm", 0, 0.5), None)
    write(tmp_path, record("erm", 1, 0.7), None)
    path = tmp_path / "tiny" / "records" / "erm" / "seed-1.json"
    path.write_text(path.read_text().replace("0.7", "0.9"))
    both = read(installed(), tiny, tmp_path)
    assert [rejected.path for rejected in both.rejected] == [path]
    assert both.board.content.rows[0].seeds == 1


def test_an_empty_folder_is_refused_with_the_way_out(tmp_path, tiny):
    with pytest.raises(LTBenchError, match="holds no records; ltbench run tiny makes them"):
        read(installed(), tiny, tmp_path)


def test_a_frame_has_a_row_for_each_recipe(tmp_path, tiny, record):
    for seed in range(2):
        write(tmp_path, record("erm", seed, 0.5), None)
    frame = ltbench.leaderboard(tiny, results=tmp_path)
    assert frame["recipe"].tolist() == ["erm"]
    assert frame["balanced_accuracy"].tolist() == [0.5]
    assert {"rank_best", "delta_low", "relative", "ok", "failed"} <= set(frame.columns)


def test_pairs_come_in_the_order_of_rows_with_both_p_values(fixed, record):
    levels = {"erm": 0.5, "better": 0.7, "a-best": 0.8}
    noise = {"erm": 0.0, "better": 0.01, "a-best": -0.02}
    found = [
        record(name, seed, level + 0.02 * seed + noise[name] * (seed % 2))
        for name, level in levels.items()
        for seed in range(4)
    ]
    pairs = build(fixed, found).pairs
    assert pairs.recipes == ["a-best", "better", "erm"]
    assert pairs.difference == pytest.approx([0.085, 0.29, 0.205])
    assert pairs.n == [4, 4, 4]
    alone = ttest_rel([0.7, 0.71, 0.7, 0.71], [0.5, 0.5, 0.5, 0.5])
    interval = alone.confidence_interval()
    assert pairs.half[2] == pytest.approx((interval.high - interval.low) / 2, abs=1e-6)
    assert pairs.p[2] == pytest.approx(alone.pvalue, rel=5e-3)
    assert all(one <= other for one, other in zip(pairs.p, pairs.adjusted_p, strict=True))


def test_a_difference_where_less_is_better_is_told_as_it_is():
    pairs = pairs_of(-np.array([[0.1, 0.2, 0.3], [0.3, 0.5, 0.6]]))
    told = differences(pairs, ["one", "other"], [0, 1], -1.0)
    assert told.difference == pytest.approx([-0.266667])
