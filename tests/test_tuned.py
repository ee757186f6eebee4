"""Boards of tuned rows, from studies and records by hand."""

import pytest
from msgspec import structs
from sample_record import RECORD

from ltbench import LTBenchError
from ltbench.boards import tuned
from ltbench.registry.registry import installed
from ltbench.results import studies
from ltbench.results.records import Timing, write
from ltbench.results.studies import Study
from ltbench.running import tuning
from ltbench.running.tuning import of_trials
from ltbench.site.build import build

SETTINGS = {
    "plain": ["plain", "plain(lr=2.0)", "plain(lr=0.5)"],
    "sam": ["sam", "sam(rho=0.1)", "sam(rho=0.2)"],
}
VALIDATED = {  # by recipe, in the order of its settings, for three seeds
    "plain": [(0.5, 0.5, 0.6), (0.4, 0.7, 0.5), (0.3, 0.6, None)],
    "sam": [(0.5, 0.5, 0.5), (0.6, 0.6, 0.6), (0.7, 0.4, 0.5)],
}
TESTED = {
    "plain": [(0.50, 0.60, 0.70), (None, 0.64, None), (None, None, None)],
    "sam": [(0.60, 0.70, 0.80), (None, 0.75, 0.86), (0.58, None, None)],
}


@pytest.fixture
def protocol(tiny):
    return installed().protocol(tiny)


@pytest.fixture
def results(tmp_path, protocol):
    folder, trials = studies.folder_of(tmp_path, protocol.name), of_trials(protocol)
    for recipe, settings in SETTINGS.items():
        drawn = {str(seed): settings for seed in range(3)}
        told = {"protocol": trials.name, "hash": trials.hash, "recipe": recipe}
        studies.write(folder, Study(**told, trials=3, space={f"{recipe}.x": "?"}, drawn=drawn))
        for k, text in enumerate(settings):
            for seed in range(3):
                trial = VALIDATED[recipe][k][seed]
                write(folder, of(trials, text, seed, trial, Timing(2, 2, 1.5, 1, 1, 1)), None)
                if TESTED[recipe][k][seed] is not None:
                    value = TESTED[recipe][k][seed]
                    write(folder, of(protocol, text, seed, value, Timing(6, 6, 2, 3, 1, 1)), None)
    return tmp_path


def of(protocol, recipe, seed, value, timing):
    told = {"protocol": protocol.name, "hash": protocol.hash, "recipe": recipe, "seed": seed}
    if value is None:
        return structs.replace(RECORD, **told, status="failed", reason="it diverged", measures={})
    return structs.replace(RECORD, **told, measures={"balanced_accuracy": value}, timing=timing)


def test_rows_hold_what_each_seed_chose_and_what_its_default_loses(results, protocol):
    board = tuned.read(installed(), protocol, results)
    assert [row.recipe for row in board.rows] == ["sam", "plain"]
    sam, plain = board.rows
    # chosen: rho 0.2, then 0.1 twice; tested at 0.58, 0.75, 0.86 beside 0.6, 0.7, 0.8
    assert sam.value.mean == pytest.approx(0.73)
    assert sam.default.mean == pytest.approx(0.7)
    assert sam.regret.mean == pytest.approx(0.03)
    # differences -0.02, 0.05, 0.06: their standard deviation is 0.043589, t is 4.302653
    assert sam.regret.high - sam.regret.mean == pytest.approx(4.302653 * 0.043589 / 3**0.5, 1e-4)
    assert (sam.choices, sam.kept, sam.trials, sam.failed) == (3, 0, 3, 0)
    assert sam.chosen["sam.rho"] == [0.2, 0.1, 0.1]
    # plain keeps its default, then takes lr 2, then keeps it, as the third trial failed
    assert plain.value.mean == pytest.approx((0.5 + 0.64 + 0.7) / 3)
    assert (plain.kept, plain.failed) == (2, 1)
    assert plain.chosen["plain.lr"] == [1.0, 2.0, 1.0]


def test_ranks_of_tuned_rows_and_of_their_defaults_stand_apart(results, protocol):
    def ranks(board):
        return [(row.recipe, row.rank, row.default_rank) for row in board.rows]

    # tuned, sam gains 0.08, 0.11 and 0.16; as they are it gains 0.1 each time, which tells nothing
    board = tuned.read(installed(), protocol, results)
    assert ranks(board) == [("sam", (1, 1), (1, 2)), ("plain", (2, 2), (1, 2))]
    assert board.moved == 0
    folder = studies.folder_of(results, protocol.name)
    for seed, value in enumerate((0.1, 0.25, 0.3)):
        write(folder, of(protocol, "sam", seed, value, RECORD.timing), None)
    for text, seed in (("sam(rho=0.2)", 0), ("sam(rho=0.1)", 1), ("sam(rho=0.1)", 2)):
        write(folder, of(protocol, text, seed, 0.9 + seed / 100, RECORD.timing), None)
    board = tuned.read(installed(), protocol, results)
    assert ranks(board) == [("sam", (1, 1), (2, 2)), ("plain", (2, 2), (1, 1))]
    assert board.moved == 2
    assert "2 of 2 rows changed places beyond their intervals" in tuned.section(board)


def test_costs_are_in_units_of_plain_training_on_all_rows(results, protocol):
    sam = tuned.read(installed(), protocol, results).rows[0]
    assert sam.tuning_cost == pytest.approx(3 * 2 / 2)  # three trials of 2 s, plain takes 2 s
    assert sam.cost == pytest.approx(6 / 2)


def test_default_rows_are_ranked_with_tuned_ones_on_request_alone(results, protocol):
    for seed, value in enumerate((0.9, 0.9, 0.95, 0.1)):  # the last seed was not tuned
        write(results, of(protocol, "erm", seed, value, RECORD.timing), None)
    alone = tuned.read(installed(), protocol, results)
    assert [row.kind for row in alone.rows] == ["tuned", "tuned"]
    both = tuned.read(installed(), protocol, results, with_default=True)
    told = [(row.recipe, row.kind) for row in both.rows]
    assert told == [("erm", "default"), ("sam", "tuned"), ("plain", "tuned")]
    assert both.rows[0].regret is None
    text = tuned.markdown(both)
    assert "# tiny, tuned and default" in text
    assert "among all rows" in text
    assert "among tuned rows alone" in tuned.markdown(alone)


def test_the_table_tells_what_was_chosen_and_how_many_trials_failed(results, protocol):
    text = tuned.section(tuned.read(installed(), protocol, results))
    assert text.startswith("## Tuned\n")
    assert "`sam.rho` 0.1 (0.1 to 0.2)" in text
    assert "3 (1 failed)" in text
    assert "2 of 3" in text


def test_a_board_without_tuned_plain_training_is_refused(results, protocol):
    studies.place_of(studies.folder_of(results, protocol.name), "plain").unlink()
    with pytest.raises(LTBenchError, match="lacks tuned plain training, the floor"):
        tuned.read(installed(), protocol, results)


def test_where_nothing_was_tuned_that_is_said(tmp_path, protocol):
    with pytest.raises(LTBenchError, match="nothing of tiny was tuned"):
        tuned.read(installed(), protocol, tmp_path)


def test_records_of_several_codes_are_put_together_only_where_that_is_asked(results, protocol):
    folder = studies.folder_of(results, protocol.name)
    for text, code in (("sam(rho=0.1)", "one"), ("sam", "another")):
        record = tuning.tested(installed().track(protocol.track), protocol, folder, text, 1, "")
        told = record.environment | {"code": code}
        write(folder, structs.replace(record, environment=told), None)
    with pytest.raises(LTBenchError, match="tuned rows differ in ltbench's own code"):
        tuned.read(installed(), protocol, results)
    assert tuned.read(installed(), protocol, results, mixed=True).rows


def test_cells_of_several_codes_of_a_method_are_no_pair(results, protocol):
    folder = studies.folder_of(results, protocol.name)
    record = tuning.tested(installed().track(protocol.track), protocol, folder, "sam", 1, "")
    changed = structs.replace(record.plugins["sam"], source="bbbb")
    write(folder, structs.replace(record, plugins={"sam": changed}), None)
    with pytest.raises(LTBenchError, match="tuned rows differ in the code of sam"):
        tuned.read(installed(), protocol, results)


def test_a_choice_whose_cell_is_not_there_is_told(results, protocol):
    folder = studies.folder_of(results, protocol.name)
    (folder / "tiny" / "records" / "sam(rho=0.2)" / "seed-0.json").unlink()
    board = tuned.read(installed(), protocol, results)
    assert board.remarks == ["sam: 1 of its choices have no finished cell"]
    assert [row.recipe for row in board.rows] == ["plain", "sam"]  # it lacks a seed
    assert board.rows[1].rank is None


def test_a_frame_has_a_row_for_each(results, protocol):
    frame = tuned.frame(tuned.read(installed(), protocol, results))
    assert frame["recipe"].tolist() == ["sam", "plain"]
    assert frame["value"].tolist() == pytest.approx([0.73, 0.613333])
    assert frame["failed"].tolist() == [0, 1]


def test_a_page_shows_tuned_rows_below_default_ones(results, protocol, tiny):
    for seed, value in enumerate((0.6, 0.7, 0.8)):
        write(results, of(protocol, "erm", seed, value, RECORD.timing), None)
    page = build(installed(), results, [str(tiny)]).files["boards/tiny.html"].decode()
    section = page[page.index('<h2 id="tuning">') :].partition("</section>")[0]
    assert "0 of 2 rows changed places beyond their intervals" in section
    rows = section.partition("<tbody>")[2].partition("</tbody>")[0].split("</tr>")
    headers, cells = tuned.sheet(tuned.read(installed(), protocol, results))
    assert ">sam</code>" in rows[0] and ">plain</code>" in rows[1]
    assert all(f">{text}<" in rows[0] for text in (cells[0][headers.index("default")], "1–2"))
    assert "sam.rho 0.1 (0.1 to 0.2)" in rows[0]


def test_a_page_says_why_tuned_rows_cannot_be_shown(results, protocol, tiny):
    for seed, value in enumerate((0.6, 0.7, 0.8)):
        write(results, of(protocol, "erm", seed, value, RECORD.timing), None)
    (studies.folder_of(results, protocol.name) / "studies" / "plain.json").unlink()
    page = build(installed(), results, [str(tiny)]).files["boards/tiny.html"].decode()
    assert "cannot be shown" in page and "lacks tuned plain training" in page
    assert '<h2 id="tuning">' not in page
