"""Measures of a track of one's own: ranked, written, exported and indexed as shipped ones are."""

import json

import numpy as np
import pytest
from msgspec import structs
from sample_record import RECORD
from sample_track import HARBOUR, TAIL, RangingTrack

import ltbench as public
from ltbench import Board, LTBenchError, Measure
from ltbench.boards import markdown, stability
from ltbench.boards.leaderboard import build
from ltbench.boards.overviews import overview_of
from ltbench.boards.reading import read
from ltbench.contract.track import refusal
from ltbench.registry.registry import Registry
from ltbench.results import index, records
from ltbench.results.records import path_of, write
from ltbench.scoring.measures import FIRST

PACKAGE = """
from ltbench import hookimpl
from sample_track import RangingTrack

@hookimpl
def register_tracks(register):
    register(RangingTrack())

@hookimpl
def register_protocols(register):
    for path in {paths}:
        register(path)
"""


@pytest.fixture
def registry(install, tmp_path):
    """What is installed, with a package that brings the track and three protocols of it."""
    texts = {"harbour": HARBOUR}
    for factor in ("10", "200"):
        name = f"harbour-lt-{factor}"
        texts[name] = HARBOUR.replace("harbour", name) + TAIL.replace("FACTOR", factor)
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(text)
    install("ranging", PACKAGE.format(paths=[str(tmp_path / f"{name}.toml") for name in texts]))
    return Registry()


@pytest.fixture
def harbour(registry):
    return registry.protocol("harbour")


def record(protocol, recipe, seed, error, **more):
    measures = {
        "error": error,
        "hits": 1 / (1 + error),
        "misses": error / (1 + error),
        "drift": 2.0 + seed / 100,
        "flash": 500.0 + 6 * seed,
        "memory": 64.0 if recipe == "erm" else None,
    }
    told = {"protocol": protocol.name, "hash": protocol.hash, "track": "ranging"}
    return structs.replace(
        RECORD, **{**told, "measures": measures, **more}, recipe=recipe, seed=seed
    )


def cells(protocol):
    """The oracle is the best and a control, `bounded` is better than plain training."""
    for seed in range(3):
        yield record(protocol, "erm", seed, 2.0 + 0.2 * seed)
        yield record(protocol, "bounded", seed, 1.0 + 0.1 * seed)
        yield record(protocol, "oracle", seed, 0.25, control=True)


@pytest.fixture
def results(tmp_path, harbour):
    folder = tmp_path / "results"
    for one in cells(harbour):
        write(folder, one, None)
    return folder


@pytest.fixture
def board(registry, results):
    found = read(registry, "harbour", results)
    assert found.rejected == []
    return found.board


def table(text, header):
    """The cells of the table of Markdown that begins with some headers, line by line."""
    (block,) = (
        b for b in text.split("\n\n") if b.startswith("|") and split(b)[0][: len(header)] == header
    )
    return split(block)


def split(block):
    lines = block.splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in [lines[0], *lines[2:]]]


def legends(text):
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("measure", "value", "written", "difference"),
    [
        (Measure("share"), 0.1234, "12.3", "+12.3"),
        (Measure("time", unit="s"), 1.234, "1.2", "+1.2"),
        (Measure("time", unit="s"), 0.0444, "0.04", "+0.04"),
        (Measure("time", unit="s"), 1460.0, "1500", "+1500"),
        (Measure("time", unit="s"), 0.0, "0.00", "+0.00"),
        (Measure("time", unit="s", form="{:.3f}"), 1.234, "1.234", "+1.234"),
        (Measure("ratio", unit="x"), 0.5, "0.50x", "+0.50x"),
        (Measure("size", unit="kB"), 12345.678, "12,345.7", "+12,345.7"),
        (Measure("left", form="{:.0f} %"), 0.25, "25 %", "+25 %"),
        (Measure("bits", unit="", form="{:.3f}"), 0.25, "0.250", "+0.250"),
    ],
)
def test_a_number_is_written_in_its_unit(measure, value, written, difference):
    assert measure.written(value) == written
    assert measure.written(value, sign="+") == difference


def test_the_lowest_of_what_is_better_low_comes_first(board):
    assert [row.recipe for row in board.content.rows] == ["oracle", "bounded", "erm"]
    assert [row.rank for row in board.content.rows] == [None, (1, 1), (2, 2)]
    bounded = board.content.rows[1]
    assert bounded.delta.mean == pytest.approx(-1.1)
    assert bounded.delta.high < 0


def test_a_control_stands_in_the_table_and_takes_no_rank_from_others(registry, harbour, results):
    with_it = read(registry, "harbour", results).board.content.rows
    assert [row.control for row in with_it] == [True, False, False]
    for seed in range(3):
        path_of(results, "harbour", "oracle", seed).unlink()
    assert read(registry, "harbour", results).board.content.rows == with_it[1:]


def test_the_first_table_tells_each_measure_in_its_unit(board):
    header, oracle, bounded, erm = table(board.markdown(), ["rank"])
    assert header == ["rank", "recipe", "mean error", "over erm", "hits", "drift", "cost"]
    assert bounded == ["1", "`bounded`", "1.10 ± 0.25", "-1.10 ± 0.25", "47.7", "2.01", "2.0x"]
    assert oracle[:2] == ["–", "`oracle`"]
    assert erm[2:5] == ["2.20 ± 0.50", "–", "31.3"]


def test_legends_tell_units_the_direction_and_fields_of_the_protocol(board):
    told = legends(board.markdown())
    assert "In m: means over seeds with 95 % intervals;" in told
    assert "the lowest value ranks first; *mean error*: over 4 beacons;" in told
    assert "*hits*: ships within a metre; *hits*: in percent;" in told


def test_what_is_chosen_shows_where_the_protocol_asks_for_it(registry, harbour, board):
    assert "misses" not in board.markdown()
    assert board.content.rows[2].measures["misses"].mean == pytest.approx(0.686, abs=1e-3)
    asked = structs.replace(harbour, asked=("error", "misses"))
    text = markdown.markdown(build(registry.track("ranging"), asked, list(cells(asked))))
    assert table(text, ["recipe", "misses"])
    assert "hits" not in text


def test_what_is_not_chosen_shows_where_there_is_a_value(registry, harbour):
    found = [record(harbour, "erm", 0, 1.0, measures={"error": 1.0, "hits": 0.5})]
    everything = structs.replace(harbour, asked=tuple(m.name for m in RangingTrack.measures))
    text = markdown.markdown(build(registry.track("ranging"), everything, found))
    assert "drift" not in text
    assert "storage" not in text
    assert "over plain" in text


def test_a_derived_measure_stands_beside_those_that_are_stored(board):
    header, *rows = table(board.markdown(), ["recipe", "over plain"])
    assert header == ["recipe", "over plain", "passes", "work s", "cells"]
    assert [row[1] for row in rows] == ["0.11x", "0.50x", "1.00x"]


def test_medians_that_share_a_label_share_a_column_of_a_table_of_their_own(board):
    header, *rows = table(board.markdown(), ["recipe", "storage"])
    assert header == ["recipe", "storage"]
    assert rows == [["`oracle`", "506, –"], ["`bounded`", "506, –"], ["`erm`", "506, 64"]]
    assert "Of 4 beacons; *storage*: flash, memory, in kB." in legends(board.markdown())
    assert board.content.rows[2].measures["flash"].high is None


def test_rows_with_nothing_in_a_table_are_not_in_it(registry, harbour):
    found = [*cells(harbour), record(harbour, "broken", 0, 0.0, status="failed", measures={})]
    text = markdown.markdown(build(registry.track("ranging"), harbour, found))
    assert [row[0] for row in table(text, ["recipe", "storage"])[1:]] == [
        "`oracle`",
        "`bounded`",
        "`erm`",
    ]
    assert [row[1] for row in table(text, ["rank"])[1:]][-1] == "`broken` \\*"


def test_medians_and_units_beside_what_ranks_are_told(registry, harbour):
    track = registry.track("ranging")
    moved = [structs.replace(m, table=FIRST) for m in track.measures if m.table == "device"]
    other = type("Moved", (RangingTrack,), {"measures": (*track.measures[:5], *moved)})()
    told = legends(markdown.markdown(build(other, harbour, list(cells(harbour)))))
    assert "*storage*: in kB; *storage*: medians over seeds;" in told


def test_a_contrast_tells_a_gain_by_the_direction_of_the_measure(board):
    lines = [line for line in board.markdown().splitlines() if line.startswith("- `bounded`")]
    lines += [line for line in board.markdown().splitlines() if line.startswith("- `erm`")]
    assert lines == [
        "- `bounded` over `erm`: -1.10 ± 0.25 (standard error 0.06), 55 % of what imbalance costs "
        "the latter, a gain",
        "- `bounded` over `oracle`: +0.85 ± 0.25 (standard error 0.06), -42 % of what imbalance "
        "costs the latter, a loss",
        "- `erm` over `bounded`: +1.10 ± 0.25 (standard error 0.06), -55 % of what imbalance costs "
        "the latter, a loss",
    ]


def test_json_and_csv_have_every_measure(registry, results, ltbench):
    words = ["leaderboard", "harbour", "--results", results, "--format"]
    told = json.loads(ltbench(*words, "json").stdout)
    declared = {measure.name: measure for measure in RangingTrack.measures}
    assert [measure["name"] for measure in told["measures"]] == list(declared)
    assert told["measures"][0]["better"] == "lower"
    assert told["measures"][0]["explanation"] == "*mean error*: over 4 beacons"
    assert told["asked"] == ["error", "hits"]
    assert told["rows"][1]["measures"].keys() == declared.keys()
    assert told["rows"][1]["measures"]["flash"] == {"mean": 506.0, "low": None, "high": None}
    header, *lines = (line.split(",") for line in ltbench(*words, "csv").stdout.splitlines())
    columns = [f"{name}{end}" for name in declared for end in ("", "_low", "_high")]
    assert header[3 : 3 + len(columns)] == columns
    assert len(set(header)) == len(header)
    assert dict(zip(header, lines[1], strict=True))["excess"] == "0.5"


def test_a_frame_has_every_measure(monkeypatch, registry, results):
    monkeypatch.setattr("ltbench.api.registry_of", lambda plugins: registry)
    rows = public.leaderboard("harbour", results).set_index("recipe")
    assert rows.loc["bounded", "error"] == pytest.approx(1.1)
    assert rows.loc["erm", "excess"] == 1.0
    assert rows["control"].tolist() == [True, False, False]


def test_the_index_holds_every_stored_measure(monkeypatch, registry, results):
    monkeypatch.setattr(index, "INDEXED_FROM", 3)
    monkeypatch.setattr(index, "SETTLED", 0.0)
    first = read(registry, "harbour", results).board.content
    kept = sorted(path.name for path in (results / "harbour" / "index").iterdir())
    assert kept == ["bounded", "erm", "oracle"]
    monkeypatch.setattr(records, "read_of", lambda *words: pytest.fail("a record was opened"))
    assert read(registry, "harbour", results).board.content == first


def test_an_index_of_other_measures_is_made_anew(monkeypatch, registry, results):
    monkeypatch.setattr(index, "INDEXED_FROM", 3)
    index.read(results, "harbour", ("error",))
    part, _ = index.read(results, "harbour", ("hits", "error"))
    hits, error = part.measures.T
    assert np.allclose(hits, 1 / (1 + error))


def test_what_ranks_may_be_derived_and_may_be_missing(registry, harbour):
    found = [*cells(harbour), record(harbour, "late", 9, 1.0, transductive={"error": 0.5})]
    by_excess = structs.replace(harbour, asked=("excess",))
    board = build(registry.track("ranging"), by_excess, found)
    assert [row.recipe for row in board.rows] == ["oracle", "bounded", "erm", "late"]
    transductive = markdown.markdown(board).split("After using the unlabelled test inputs:")[1]
    assert table(transductive, ["recipe", "over plain"])[1:] == [["`late`", "–"]]
    nothing = type("Nothing", (RangingTrack,), {"derived": lambda self, protocol, grid: {}})()
    rows = build(nothing, by_excess, found).rows
    assert [row.recipe for row in rows] == ["bounded", "erm", "late", "oracle"]
    assert all(row.measures["excess"].mean is None and row.delta is None for row in rows)


def test_a_legend_that_asks_for_what_no_protocol_has_is_refused(registry, harbour):
    wrong = Measure("error", explanation="*error*: of {0.buoys} buoys")
    other = type("Wrong", (RangingTrack,), {"measures": (wrong, *RangingTrack.measures[1:])})()
    with pytest.raises(LTBenchError, match="track ranging says of error asks .* harbour lacks"):
        build(other, harbour, list(cells(harbour)))


@pytest.mark.parametrize(
    "name",
    [
        *("work", "relative", "relative_high", "ok", "control", "seeds", "delta", "delta_p"),
        *("error_low", "detectable"),
    ],
)
def test_a_measure_that_is_called_as_a_column_of_every_board_is_refused(name):
    measures = (*RangingTrack.measures, Measure(name))
    other = type("Taken", (RangingTrack,), {"measures": measures})()
    assert "which boards call a column" in refusal(other)
    assert refusal(RangingTrack()) is None


def test_a_board_of_the_tracks_own_takes_the_place_of_the_generic_one(
    monkeypatch, registry, harbour, results, board
):
    own = Board(harbour, lambda: "a chart\n", board.frame)
    monkeypatch.setattr(RangingTrack, "compare", lambda self, protocol, found: own)
    assert read(registry, "harbour", results).board is own
    monkeypatch.setattr(RangingTrack, "compare", lambda self, protocol, found: None)
    assert read(registry, "harbour", results).board.content == board.content


def test_records_elsewhere_are_read_once_and_their_faults_told_once(
    monkeypatch, registry, harbour, results
):
    there = registry.protocol("harbour-lt-10")
    for seed in range(3):
        write(results, record(there, "erm", seed, 1.0), None)
    path_of(results, there.name, "erm", 2).write_text("{")
    asked = []

    def derived(self, protocol, grid):
        for name in ("error", "hits"):
            asked.append(grid.among(grid.elsewhere(there.name, name), "erm"))
        return {}

    monkeypatch.setattr(RangingTrack, "derived", derived)
    assert len(read(registry, "harbour", results).rejected) == 1
    assert np.array_equal(asked, [[1.0, 1.0, np.nan], [0.5, 0.5, np.nan]], equal_nan=True)


def test_the_drop_of_an_error_is_what_it_grows_by(registry, tmp_path):
    for factor, errors in ((10, {"erm": 1.0, "bounded": 1.0}), (200, {"erm": 3.0, "bounded": 1.5})):
        problem = registry.protocol(f"harbour-lt-{factor}")
        for recipe, error in errors.items():
            for seed in range(2):
                more = seed * factor / 100
                write(tmp_path, record(problem, recipe, seed, error + more), None)
    told, _ = stability.evaluate(registry, "harbour-lt-10", tmp_path)
    assert [(row.recipe, row.drop.mean) for row in told.rows] == [("bounded", 1.45), ("erm", 2.95)]
    text = markdown.stability(told)
    # half of the gap times t with one degree of freedom, 12.706
    assert table(text, ["recipe"])[1][2:] == ["1.05 ± 0.64", "2.50 ± 12.71", "1.45 ± 12.07"]
    assert "Mean error in m, means over the seeds" in legends(text)


def test_pages_and_figures_show_a_track_of_ones_own_and_less_may_be_better(registry, results):
    from ltbench.site.build import build as built
    from ltbench.site.figures import forest, tradeoff

    overview, *_ = overview_of(registry, "harbour", results)
    gains = {one.recipe: one.gain for one in overview.entries}
    assert gains["bounded"].mean == pytest.approx(1.1) and gains["bounded"].low > 0
    drawn = {row.name: row for row in forest(overview).rows}
    assert drawn["bounded"].verdict == "better"
    assert drawn["bounded"].dots == pytest.approx((1.0, 1.1, 1.2))
    points = {point.name: point for point in tradeoff(overview).points}
    assert points["bounded"].front and not points["erm"].front and "oracle" not in points
    page = built(registry, results, ["harbour"]).files["boards/harbour.html"].decode()
    assert "mean error" in page and "+1.10" in page


def test_a_board_of_its_own_without_an_overview_says_so(registry, results, monkeypatch):
    own = Board(RECORD, lambda: "", lambda: None)
    monkeypatch.setattr(RangingTrack, "compare", lambda self, protocol, records: own)
    with pytest.raises(LTBenchError, match="tells no overview"):
        overview_of(registry, "harbour", results)
