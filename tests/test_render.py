from pathlib import Path

import pytest
from msgspec import json, structs

import ltbench
from ltbench.boards.leaderboard import Leaderboard, Row
from ltbench.boards.markdown import frame, markdown
from ltbench.boards.reading import read
from ltbench.registry.registry import installed
from ltbench.scoring.measures import CLASSIFICATION, Measure
from ltbench.scoring.statistics import Cost, Mean, Resolution

COMMITTED = Path(__file__).parents[1] / "leaderboards"
NONE = Mean(None, None, None)
MEASURES = [*CLASSIFICATION, Measure("relative_accuracy", "relative")]


def row(recipe, score, rank=(1, 2), delta=None, notes=(), seeds=5, **more):
    return Row(
        recipe=recipe,
        rank=rank,
        seeds=seeds,
        board_seeds=5,
        missing_seeds=5 - seeds,
        measures=dict.fromkeys((measure.name for measure in MEASURES), NONE)
        | {"balanced_accuracy": score, "few": Mean(0.5, 0.4, 0.6), "accuracy": score},
        delta=delta,
        delta_p=0.001,
        delta_adjusted_p=0.002,
        cost=Cost(1.0, 0.9, 1.1, 1.0, 0.25, 3.0),
        status={"ok": seeds, "failed": 0, "skipped": 0},
        transductive=None,
        notes=list(notes),
        **more,
    )


BOARD = Leaderboard(
    protocol="tiny",
    version=1,
    hash="0123456789abcdef",
    track="recognition",
    description="A small one.",
    asked=["balanced_accuracy", "few", "accuracy"],
    measures=MEASURES,
    tables=[],
    reference="erm",
    doing="preparation and training",
    unit="plain training",
    machines=["a processor"],
    cells=15,
    wanted=15,
    seeds=[0, 1, 2, 3, 4],
    resolution=Resolution(5, 1, 1, 0.0197, 0.0331, 0.0331),
    rows=[
        row("sam", Mean(0.61234, 0.60, 0.62468), delta=Mean(0.1, 0.09, 0.11), notes=["told"]),
        row("erm", Mean(0.5, 0.45, 0.55), rank=(2, 2), delta=Mean(0.0, 0.0, 0.0)),
        row("broken", NONE, rank=None, seeds=0, notes=["seed 0 failed: | it | broke"]),
    ],
)


def lines_with(text):
    return [line for line in markdown(BOARD).splitlines() if text in line]


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_first_table_tells_rank_score_difference_and_cost():
    assert cells(lines_with("rank")[0]) == [
        "rank",
        "recipe",
        "balanced accuracy",
        "over erm",
        "few",
        "cost",
    ]
    sam = cells(lines_with("`sam`")[0])
    assert sam == ["1–2", "`sam` \\*", "61.2 ± 1.2", "+10.0 ± 1.0", "50.0", "1.0x"]
    assert cells(lines_with("`erm`")[0])[:4] == ["2", "`erm`", "50.0 ± 5.0", "–"]


def test_what_is_missing_is_a_dash_and_its_reason_is_told():
    assert cells(lines_with("`broken`")[0])[:4] == ["–", "`broken` \\*", "–", "–"]
    assert lines_with("it broke") or lines_with("failed")


def test_notes_machines_and_protocol_are_told():
    text = markdown(BOARD)
    assert "- `sam`: told" in text
    assert "a processor" in text
    assert "version 1, hash `0123456789abcdef`" in text


def test_json_has_the_shape_that_others_rely_on():
    told = json.decode(json.encode(BOARD))
    assert {"protocol", "version", "hash", "track", "asked", "measures", "rows"} <= told.keys()
    first = told["rows"][0]
    assert {"recipe", "rank", "seeds", "measures", "delta", "cost", "status"} <= first.keys()
    assert first["rank"] == [1, 2]
    assert first["delta"] == {"mean": 0.1, "low": 0.09, "high": 0.11}
    assert first["measures"]["few"] == {"mean": 0.5, "low": 0.4, "high": 0.6}
    assert set(first["cost"]) == {
        *("relative", "relative_low", "relative_high", "passes", "work", "peak_memory_mb")
    }
    assert (first["delta_p"], first["delta_adjusted_p"]) == (0.001, 0.002)
    assert (first["board_seeds"], first["missing_seeds"]) == (5, 0)
    assert told["resolution"] == {
        "n": 5,
        "pairs": 1,
        "told_apart": 1,
        "spread": 0.0197,
        "alone": 0.0331,
        "corrected": 0.0331,
    }
    assert set(first["status"]) == {"ok", "failed", "skipped"}


def test_csv_has_a_line_for_each_row():
    header, *lines = frame(BOARD).to_csv(index=False).splitlines()
    assert header.startswith("recipe,rank_best,rank_worst,balanced_accuracy,balanced_accuracy_low")
    assert [line.split(",")[0] for line in lines] == ["sam", "erm", "broken"]
    told = dict(zip(header.split(","), lines[0].split(","), strict=True))
    assert {name: told[name] for name in ("seeds", "board_seeds", "missing_seeds")} == {
        "seeds": "5",
        "board_seeds": "5",
        "missing_seeds": "0",
    }
    assert (told["delta_adjusted_p"], told["detectable_alone"]) == ("0.002", "0.0331")


@pytest.mark.parametrize(
    "protocol", sorted(path.parent.name for path in COMMITTED.glob("*/table.md"))
)
def test_the_committed_table_follows_from_its_records(protocol):
    told = read(installed(), protocol, COMMITTED)
    assert told.rejected == []
    committed = (COMMITTED / protocol / "table.md").read_text(encoding="utf-8")
    assert told.board.markdown() == committed


def test_the_committed_leaderboard_tells_good_methods_from_plain_training():
    rows = ltbench.leaderboard("digits-lt", COMMITTED).set_index("recipe")
    for recipe in ("logit-adjustment", "balanced-softmax", "ldam+drw", "crt"):
        assert rows.loc[recipe, "delta_low"] > 0
        assert rows.loc[recipe, "delta_adjusted_p"] < 0.05
    costs = ["relative", "relative_low", "relative_high", "work", "peak_memory_mb"]
    same = rows.loc["balanced-softmax"].drop(costs)
    assert same.equals(rows.loc["logit-adjustment"].drop(costs))


def test_a_board_of_other_seeds_than_the_first_says_which():
    assert "The board holds seeds" not in markdown(BOARD)
    board = structs.replace(BOARD, seeds=[0, 1, 2, 10, 14, 15])
    assert "- The board holds seeds 0 to 2, 10, 14 to 15." in markdown(board)
