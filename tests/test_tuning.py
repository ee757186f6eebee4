"""Settings are drawn, tried, chosen and run, with records of all of it."""

import json
import math
import textwrap

import pytest

from ltbench import LTBenchError
from ltbench.registry.registry import installed
from ltbench.results import studies
from ltbench.running import tuning as module
from ltbench.running.tuning import Choice, of_trials, settings, spaces_of, tuning


def drawn(text, number, seed=0):
    recipe = installed().recipe(text)
    return settings(recipe, spaces_of(recipe), number, seed)


def test_the_default_is_the_first_trial_and_no_setting_comes_twice():
    found = drawn("ldam+drw", 16)
    assert found[0] == "ldam+drw"
    assert len(set(found)) == len(found) == 16


def test_more_trials_begin_as_fewer_do_and_each_seed_draws_its_own():
    assert drawn("sqrt-sampling", 16)[:5] == drawn("sqrt-sampling", 5)
    assert set(drawn("sqrt-sampling", 9, seed=0)) & set(drawn("sqrt-sampling", 9, seed=1)) == {
        "sqrt-sampling"
    }


def test_draws_fill_the_space_evenly():
    """Of 2 ** k points of a scrambled Sobol sequence each 2 ** k-th part holds one."""
    found = [text for text in drawn("sqrt-sampling", 17) if text != "sqrt-sampling"]
    powers = [float(text.partition("=")[2].rstrip(")")) for text in found]
    assert sorted(math.floor(16 * power) for power in powers) == list(range(16))


def test_a_finite_space_is_tried_whole_once():
    assert sorted(drawn("focal", 100)) == sorted(
        ["focal", *(f"focal(gamma={gamma})" for gamma in (0.0, 0.1, 0.2, 0.5, 1.0, 5.0))]
    )
    assert len(drawn("focal", 3)) == 3


def test_methods_of_a_composed_recipe_are_tuned_together():
    found = drawn("ldam+drw+sam", 16)
    assert len(found) == 16
    assert any("max_margin" in text and "beta" in text and "rho" in text for text in found)


def test_what_a_recipe_sets_itself_stays():
    found = drawn("vs(gamma=0.1)", 8)
    assert all("gamma=0.1" in text for text in found)
    assert sum("tau" in text for text in found) == 7


def choice(scores):
    return Choice(0, "", [f"s{k}" for k in range(len(scores))], scores, 0, 1.0)


def test_the_best_trial_is_chosen_of_equals_the_earlier_and_each_part_apart():
    assert choice([[0.5], [0.7], [0.7]]).chosen == ["s1"]
    assert choice([[0.5, 0.9], [0.7, 0.9]]).chosen == ["s1", "s0"]
    assert not choice([[0.5], None]).complete


def test_a_trial_that_came_to_nothing_is_the_worst():
    assert choice([[-math.inf], [0.0]]).chosen == ["s1"]
    assert not choice([[-math.inf], [-math.inf]]).complete


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-m", "ldam", "--trials", "0"), "0 trials choose nothing; at least 1 is needed"),
        (("-m", "erm"), "erm has an empty search space"),
        (("-m", "ldam(max_margin=0.3)"), "has an empty search space"),
        (("-m", "nobody"), "unknown method 'nobody'"),
        (("-m", "ldam", "--seeds", "0"), "0 seeds leave nothing to run"),
        (("-m", "ldam", "--shard", "3/2"), "shard 3/2 is none"),
    ],
)
def test_a_wrong_request_is_refused(ltbench, tiny, words, told):
    done = ltbench("tune", tiny, *words)
    assert done.exit_code == 2
    assert told in done.stderr


def test_a_track_without_trials_is_refused(ltbench):
    done = ltbench("tune", "distill-digits", "-m", "dm")
    assert done.exit_code == 2
    assert "runs no trials" in done.stderr


FRAGILE = """
    from ltbench import Choice, Method, hookimpl

    class Fragile(Method):
        name = "fragile"
        space = {"strength": Choice(1.0, 2.0)}

        def __init__(self, strength: float = 1.0):
            self.strength = strength

        def adjust(self, scores, labels, run):
            return scores * (1.0 if self.strength == 1 else float("nan"))

    @hookimpl
    def register_methods(register):
        register(Fragile)
"""


@pytest.fixture
def tune(ltbench, tiny, tmp_path):
    def call(*words):
        return ltbench("tune", tiny, "--results", tmp_path / "out", "--jobs", 1, *words)

    return call


def board_of(done):
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_trials_choose_what_is_run_and_shown(tune, ltbench, tmp_path):
    done = tune("-m", "focal", "--trials", 3, "--json")
    board = board_of(done)
    rows = {row["recipe"]: row for row in board["rows"]}
    assert rows.keys() == {"plain", "focal"}  # the floor comes along
    row = rows["focal"]
    assert (row["trials"], row["failed"], row["choices"]) == (3, 0, 2)
    assert row["regret"]["mean"] == pytest.approx(row["value"]["mean"] - row["default"]["mean"])
    assert 1.5 < row["tuning_cost"] < 6  # three trials on four fifths of the rows
    folder = tmp_path / "out" / "tiny" / "tuning"
    study = studies.read(studies.place_of(folder, "focal"))
    assert study.space == {"focal.gamma": "Choice(0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)"}
    trials = sorted((folder / "tiny-tuning" / "records").glob("focal*/*.json"))
    assert len(trials) == 6
    assert not list((folder / "tiny-tuning").rglob("*.npz"))
    # what was chosen follows from the records of the trials
    for seed in ("0", "1"):
        places = [
            folder / "tiny-tuning" / "records" / text / f"seed-{seed}.json"
            for text in study.drawn[seed]
        ]
        found = [json.loads(place.read_text()) for place in places]
        reached = [record["measures"]["balanced_accuracy"] for record in found]
        best = study.drawn[seed][reached.index(max(reached))]
        assert (folder / "tiny" / "records" / best / f"seed-{seed}.json").exists()


def test_the_same_command_continues_and_more_trials_go_on(tune):
    tune("-m", "focal", "--trials", 2)
    done = tune("-m", "focal", "--trials", 2)
    assert "[1/" not in done.stderr
    done = tune("-m", "focal", "--trials", 3)
    assert "[4/4]" in done.stderr  # one trial more of two recipes on two seeds


def test_default_rows_are_taken_from_the_board_where_it_has_them(tune, ltbench, tiny, tmp_path):
    ltbench("run", tiny, "-m", "focal", "--results", tmp_path / "out", "--jobs", 1)
    done = tune("-m", "focal", "--trials", 1)
    assert done.exit_code == 0
    chosen = tmp_path / "out" / "tiny" / "tuning" / "tiny" / "records"
    assert not (chosen / "focal").exists()
    table = (tmp_path / "out" / "tiny" / "table.md").read_text()
    default, _, below = table.partition("## Tuned")
    assert "`plain`" not in default  # default rows alone are ranked there
    assert "`plain`" in below
    assert "`focal`" in below


def test_tuned_and_default_rows_share_ranks_only_where_that_is_asked(tune, ltbench, tiny, tmp_path):
    ltbench("run", tiny, "-m", "focal", "--results", tmp_path / "out", "--jobs", 1)
    tune("-m", "focal", "--trials", 2)
    words = ("leaderboard", tiny, "--results", tmp_path / "out", "--format", "json")
    alone = json.loads(ltbench(*words, "--tuned").stdout)
    both = json.loads(ltbench(*words, "--with-tuned").stdout)
    assert {row["kind"] for row in alone["rows"]} == {"tuned"}
    told = {(row["recipe"], row["kind"]) for row in both["rows"]}
    assert told == {(r, "tuned") for r in ("plain", "focal")} | {
        (r, "default") for r in ("erm", "focal")
    }


def test_shards_of_trials_are_merged_and_then_choose(ltbench, tiny, tmp_path):
    words = ("tune", tiny, "-m", "focal", "--trials", 2, "--jobs", 1, "--results")
    for part in ("1/2", "2/2"):
        done = ltbench(*words, tmp_path / part[0], "--shard", part)
        assert done.exit_code == 0
        assert f"shard {part} of its trials is done" in done.stdout
    done = ltbench("merge", tmp_path / "1", tmp_path / "2", "--into", tmp_path / "all")
    assert "8 records taken" in done.stderr
    whole = ltbench(*words, tmp_path / "whole", "--json")
    merged = ltbench(*words, tmp_path / "all", "--json")
    assert "[8/8]" not in merged.stderr  # the trials are there
    values = [
        [(row["recipe"], row["value"], row["chosen"]) for row in board_of(done)["rows"]]
        for done in (merged, whole)
    ]
    assert values[0] == values[1]


def test_a_trial_that_diverges_is_the_worst_and_counted(tune, tmp_path):
    (tmp_path / "fragile.py").write_text(textwrap.dedent(FRAGILE))
    done = tune("-m", "fragile", "--plugin", tmp_path / "fragile.py", "--trials", 3, "--json")
    board = board_of(done)
    assert "its space has 2 settings; all of them are tried, not 3" in done.stderr
    row = next(row for row in board["rows"] if row["recipe"] == "fragile")
    assert (row["failed"], row["kept"], row["choices"]) == (2, 2, 2)
    assert row["chosen"] == {"fragile.strength": [1.0, 1.0]}


def test_a_study_of_another_protocol_is_refused(tune, tmp_path):
    tune("-m", "focal", "--trials", 1, "--seeds", 1)
    place = studies.place_of(tmp_path / "out" / "tiny" / "tuning", "focal")
    place.write_text(place.read_text().replace('"hash": "', '"hash": "0'))
    done = tune("-m", "sqrt-sampling", "--trials", 1, "--seeds", 1)
    assert done.exit_code == 2
    assert "the study of focal is of tiny-tuning with hash 0" in done.stderr


def test_a_file_that_is_no_study_is_refused_by_name(tune, tmp_path):
    tune("-m", "focal", "--trials", 1, "--seeds", 1)
    place = studies.place_of(tmp_path / "out" / "tiny" / "tuning", "focal")
    place.write_text("{}")
    done = tune("-m", "focal", "--trials", 1, "--seeds", 1)
    assert done.exit_code == 2
    assert "focal.json is no study" in done.stderr


def test_a_dry_run_tells_what_would_be_tried_and_writes_nothing(tune, tmp_path):
    done = tune("-m", "focal", "--trials", 3, "--dry-run")
    assert "focal: 3 settings a seed of focal.gamma in Choice(0.0" in done.stdout
    assert "12 trials would run" in done.stdout
    assert not list((tmp_path / "out").rglob("*.json"))


def test_a_protocol_of_trials_is_not_tuned_itself(tiny):
    protocol = of_trials(installed().protocol(tiny))
    with pytest.raises(LTBenchError, match="is a protocol of trials itself"):
        tuning(installed(), protocol, ["focal"])


def test_a_sequence_that_repeats_a_small_space_still_gives_all_that_is_asked():
    recipe = installed().recipe("nearmiss")  # 27 settings
    found = settings(recipe, spaces_of(recipe), 26, 0)
    assert len(set(found)) == 26
    assert module.MOST_DRAWN > 26


def test_observers_are_told_of_trials_and_of_what_was_chosen(tune, tmp_path):
    done = tune("-m", "focal", "--trials", 1, "--seeds", 1, "--log-json", tmp_path / "log.jsonl")
    assert "left out" not in done.stderr
    lines = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    began = [line["protocol"] for line in lines if line["event"] == "run-began"]
    assert began == ["tiny-tuning", "tiny"]


def test_a_recipe_that_the_protocol_cannot_serve_is_told(tune):
    done = tune("-m", "coral", "--trials", 2, "--seeds", 1)
    assert done.exit_code == 2
    assert "coral: no trial of 1 of its choices came to anything (" in done.stdout
