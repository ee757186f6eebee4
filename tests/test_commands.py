import json
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest

from ltbench.commands.main import COMMANDS


def in_a_process(*words, cwd=None):
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=cwd, timeout=120
    )


def loaded_by(*words):
    """The modules that a command loads."""
    code = (
        "import sys\nfrom ltbench.commands.main import main\n"
        f"try: main({list(words)!r})\nexcept SystemExit: pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    return set(in_a_process("-c", code).stderr.split())


HEAVY = {"torch", "pandas", "sklearn", "rich"}


@pytest.mark.parametrize("words", [["--help"], ["list", "methods"], ["run", "--help"]])
def test_help_and_the_list_of_methods_do_not_import_torch(words):
    assert not HEAVY & loaded_by(*words)


def test_telling_of_a_protocol_loads_no_library_that_one_other_track_needs():
    found = loaded_by("info", "cifar10-lt-100")
    assert "torch" in found
    assert not {"pandas", "scipy.stats", "sklearn", "torchvision"} & found


@pytest.mark.parametrize("words", [["list"], ["list", "tracks"], ["list", "protocols"]])
def test_a_plain_listing_does_not_import_torch_once_it_is_remembered(words):
    loaded_by(*words)
    assert not HEAVY & loaded_by(*words)


def test_each_command_has_a_file_of_its_name_and_tells_what_it_does(ltbench):
    listed = ltbench("--help").stdout
    for name in COMMANDS:
        command = import_module(f"ltbench.commands.{name}").command
        assert command.name == name
        assert f"\n  {name} " in listed
        assert ltbench(name, "--help").stdout.startswith(f"Usage: main {name} ")


def test_python_dash_m_is_the_same_command():
    done = in_a_process("-m", "ltbench", "list", "methods")
    assert done.returncode == 0
    assert "posthoc-logit-adjustment" in done.stdout


def test_a_run_prints_the_table_it_writes(ltbench, tiny, tmp_path):
    done = ltbench("run", tiny, "--jobs", 1)
    assert done.exit_code == 0
    written = (tmp_path / "leaderboards" / "tiny" / "table.md").read_text()
    assert done.stdout == written
    assert "[4/4]" in done.stderr
    again = ltbench("leaderboard", tiny)
    assert again.exit_code == 0
    assert again.stdout == written


def test_a_run_prints_its_board_as_json_where_that_is_asked_for(ltbench, tiny):
    done = ltbench("run", tiny, "--jobs", 1, "--json")
    told = json.loads(done.stdout)
    assert {row["recipe"] for row in told["rows"]} == {"erm", "logit-adjustment"}
    assert told == json.loads(ltbench("leaderboard", tiny, "--format", "json").stdout)


def test_plain_training_is_in_every_run_of_recognition(ltbench, tiny):
    done = ltbench("run", tiny, "-m", "logit-adjustment", "--jobs", 1)
    assert "`erm`" in done.stdout


def test_a_leaderboard_is_written_beside_its_records(ltbench, tiny, tmp_path):
    ltbench("run", tiny, "--jobs", 1)
    path = tmp_path / "leaderboards" / "tiny" / "table.md"
    before = path.read_text()
    path.unlink()
    done = ltbench("leaderboard", tiny, "--write")
    assert (done.exit_code, done.stdout) == (0, "")
    assert path.read_text() == before


def test_all_boards_of_a_folder_are_printed_or_written(ltbench, tmp_path):
    assert "holds no records" in ltbench("leaderboard", "--all").stderr
    for name in ("digits-lt", "digits-balanced"):
        ltbench("run", name, "-m", "erm", "--seeds", 1, "--jobs", 1)
    printed = ltbench("leaderboard", "--all")
    assert [line for line in printed.stdout.splitlines() if line.startswith("# ")] == [
        f"# {name}, incomplete: 1 of 90 cells" for name in ("digits-balanced", "digits-lt")
    ]
    tables = [tmp_path / "leaderboards" / n / "table.md" for n in ("digits-balanced", "digits-lt")]
    for table in tables:
        table.unlink()
    assert ltbench("leaderboard", "--all", "--write").exit_code == 0
    assert "".join(table.read_text() for table in tables) == printed.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "name one protocol, or say --all"),
        (("digits-lt", "--all"), "name one protocol, or say --all"),
        (("digits-lt", "--write", "--format", "csv"), "--write is for the table of ranks"),
        (("digits-lt", "--write", "--stability"), "--write is for the table of ranks"),
    ],
)
def test_a_leaderboard_that_cannot_be_meant_is_refused(ltbench, words, told):
    done = ltbench("leaderboard", *words)
    assert done.exit_code == 2
    assert told in done.stderr


def test_the_test_agnostic_table_comes_from_predictions(ltbench, tiny):
    tiny.write_text(tiny.read_text().replace("test_per_class = 20", "test_per_class = 60"))
    ltbench("run", tiny, "-m", "erm", "--jobs", 1)
    done = ltbench("leaderboard", tiny, "--test-agnostic")
    assert done.exit_code == 0
    assert "# tiny, test-agnostic" in done.stdout
    assert "forward-50" in ltbench("leaderboard", tiny, "--test-agnostic", "--format", "csv").stdout
    told = json.loads(ltbench("leaderboard", tiny, "--test-agnostic", "--format", "json").stdout)
    assert told["rows"][0]["recipe"] == "erm"


def test_data_of_ones_own_is_named(ltbench, tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (8, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=np.arange(8) % 2)
    told = json.loads(ltbench("info", "mine", "--data", "mine=mine.npz", "--json").stdout)
    assert told["class_counts"] == [4, 4]
    for pair, words in (("mine", "expected NAME=PATH"), ("digits=mine.npz", "takes the name")):
        done = ltbench("info", "mine", "--data", pair)
        assert done.exit_code == 2
        assert words in done.stderr


def test_plain_lines_tell_each_cell(ltbench, tiny):
    done = ltbench("run", tiny, "-m", "erm", "--seeds", 1, "--jobs", 1)
    assert "[1/1] erm seed 0: balanced accuracy " in done.stderr
    assert "leaderboards/tiny/table.md written; 0 cells had a record, new: 1 ok" in done.stderr
    again = ltbench("run", tiny, "-m", "erm", "--seeds", 1)
    assert "1 cells had a record, new: nothing left to run" in again.stderr


def test_a_dry_run_tells_what_would_run_and_writes_nothing(ltbench, tiny, tmp_path):
    done = ltbench("run", tiny, "-m", "sam+ldam", "-m", "erm", "--dry-run")
    assert done.exit_code == 0
    assert "ldam+sam: seeds 0, 1" in done.stdout
    assert "4 cells would run, in about" in done.stdout
    assert not (tmp_path / "leaderboards").exists()
    told = json.loads(ltbench("run", tiny, "--dry-run", "--json").stdout)
    assert len(told["todo"]) == 4
    assert told["seconds"] >= 0


def test_a_failed_cell_makes_exit_code_1(ltbench, tiny, tmp_path, method_source):
    path = tmp_path / "mine.py"
    path.write_text(method_source("mine").replace("* self.strength", "* float('nan')"))
    done = ltbench("run", tiny, "-m", "mine", "-m", "erm", "--plugin", path, "--jobs", 1)
    assert done.exit_code == 1
    assert "mine seed 0 failed: the trained network gives scores that are not finite" in done.stderr
    assert "`erm`" in done.stdout
    assert "2 failed" in done.stdout


def test_a_need_that_is_not_met_is_told_and_shown(ltbench, tiny, tmp_path, method_source):
    path = tmp_path / "mine.py"
    needy = method_source("mine").replace(
        "reference =", "needs = frozenset({'ood'})\n    reference ="
    )
    path.write_text(needy)
    done = ltbench("run", tiny, "-m", "mine", "-m", "erm", "--plugin", path, "--jobs", 1)
    assert done.exit_code == 2
    assert "tiny supplies no ood; mine needs that, so this cell is skipped" in done.stderr
    assert "2 skipped" in done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "digit-lt"], "did you mean 'digits-lt'"),
        (["run", "none.toml"], "none.toml cannot be read"),
        (["run", "digits-lt", "-m", "lda"], "did you mean 'ldam'"),
        (["run", "digits-lt", "-m", "ldam+"], "malformed recipe"),
        (["run", "digits-lt", "-m", "sam(rho=0)"], "expected float > 0"),
        (["run", "digits-lt", "-m", "logit-adjustment(tau=-inf)"], "finite number"),
        (["run", "digits-lt", "-m", "oversampling+crt+oversampling"], "stands twice"),
        (["run", "digits-lt", "--seeds", "0"], "0 seeds"),
        (["run", "digits-lt", "--seeds", "many"], "seeds 'many': expected how many, or which"),
        (["run", "digits-lt", "--jobs", "0"], "0 jobs"),
        (["run", "digits-lt", "--shard", "3/2"], "shard 3/2 is none"),
        (["run", "digits-lt", "--shard", "half"], "shard 'half' is none"),
        (["merge", "nowhere", "--into", "all"], "nowhere holds no records"),
        (["run", "digits-lt", "--timeout", "0"], "a timeout of 0 is no limit"),
        (["run", "digits-lt", "--memory", "nan"], "a memory of nan is no limit"),
        (["run", "digits-lt", "--device", "tpu"], "unknown device 'tpu'"),
        (["run", "digits-lt", "--plugin", "none.py"], "none.py does not exist"),
        (["leaderboard", "digits-lt"], "holds no records"),
        (["leaderboard", "digits-lt", "--format", "xml"], "xml"),
        (["info", "digit"], "did you mean 'digits'"),
        (["list", "thing"], "thing"),
        (["check", "nope"], "unknown method 'nope'"),
        (["nope"], "nope"),
    ],
)
def test_wrong_words_get_a_line_or_two_and_exit_code_2(ltbench, tmp_path, words, told):
    done = ltbench(*words)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 4  # click repeats the usage in two
    assert not list(tmp_path.iterdir())


def test_records_that_do_not_count_are_named_and_make_exit_code_2(ltbench, tiny, tmp_path):
    ltbench("run", tiny, "-m", "erm", "--jobs", 1)
    path = tmp_path / "leaderboards" / "tiny" / "records" / "erm" / "seed-1.json"
    path.write_text(path.read_text()[:100])
    done = ltbench("leaderboard", tiny)
    assert done.exit_code == 2
    assert "seed-1.json is left in place, not counted" in done.stderr
    assert "`erm`" in done.stdout
    assert len(path.read_text()) == 100


def test_a_prior_corrected_twice_is_warned_of_and_marked(ltbench, tiny):
    words = ("-m", "balanced-softmax+posthoc-logit-adjustment", "--seeds", 1, "--jobs", 1)
    done = ltbench("run", tiny, *words)
    assert done.exit_code == 0
    assert "both correct the prior" in done.stderr
    assert "`balanced-softmax+posthoc-logit-adjustment` \\*" in done.stdout


def test_listings_are_lists_of_objects(ltbench):
    methods = json.loads(ltbench("list", "methods", "--json").stdout)
    keys = {"name", "reference", "hooks", "needs", "corrects", "parameters", "package"}
    assert all(keys <= method.keys() for method in methods)
    sam = next(method for method in methods if method["name"] == "sam")
    assert sam["hooks"] == ["step"]
    assert sam["parameters"]["rho"]["default"] == 0.05
    every = json.loads(ltbench("list", "--json").stdout)
    assert every.keys() == {"methods", "tracks", "protocols", "datasets", "observers"}
    plain = ltbench("list", "methods").stdout
    assert [line.split()[0] for line in plain.splitlines()] == [m["name"] for m in methods]


@pytest.mark.parametrize("name", ["ldam", "recognition", "digits-lt", "digits", "json"])
def test_info_tells_all_of_one_thing(ltbench, name):
    told = json.loads(ltbench("info", name, "--json").stdout)
    assert told["name"] == name
    plain = ltbench("info", name).stdout
    assert all(f"{key}:" in plain for key in told if key != "summary")


def test_plugins_tell_what_is_used_and_what_is_not(ltbench, install):
    install("broken", "1 / 0")
    done = ltbench("plugins")
    assert done.exit_code == 0
    assert "class-weights (ltbench 0.1.0): class-balanced, drw, inverse-frequency" in done.stdout
    assert "broken (broken 1.0): nothing" in done.stdout
    assert "left out: ZeroDivisionError" in done.stdout
    told = json.loads(ltbench("plugins", "--json").stdout)
    assert next(p for p in told if p["plugin"] == "broken")["provides"] == []
    strict = ltbench("plugins", "--strict")
    assert strict.exit_code == 2
    assert "plugin 'broken' of broken left out" in strict.stderr


def test_a_broken_plugin_does_not_stop_a_run(ltbench, install, tiny):
    install("broken", "1 / 0")
    assert ltbench("run", tiny, "-m", "erm", "--seeds", 1, "--jobs", 1).exit_code == 0
    assert ltbench("run", tiny, "-m", "erm", "--strict").exit_code == 2


def test_check_tells_what_a_method_fails(ltbench, tmp_path, method_source):
    assert "erm: ok" in ltbench("check", "erm").stdout
    path = tmp_path / "mine.py"
    path.write_text(method_source("mine").replace("* self.strength", ".float()"))
    done = ltbench("check", "mine", "--plugin", path)
    assert done.exit_code == 1
    assert "mine: FAILED" in done.stdout
    assert "expected scores to give torch.float64 [8, 4], but saw torch.float32" in done.stdout
    told = json.loads(ltbench("check", "mine", "--plugin", path, "--json").stdout)
    assert told[0]["passed"] is False


def test_a_shard_prints_what_is_left_and_how_a_table_is_made(ltbench, tiny, tmp_path):
    shard = ("run", tiny, "--jobs", 1, "--shard", "2/3", "--results", "part 2")
    done = ltbench(*shard)
    assert done.exit_code == 0
    assert done.stdout == (
        "tiny, shard 2/3: 2 of 2 cells are done, 0 are left. A table is made of all 3 shards, of "
        "which this is one:\n"
        "  ltbench merge 'part 2' THE_OTHERS --into leaderboards\n"
        "  ltbench leaderboard tiny\n"
    )
    assert not (tmp_path / "part 2" / "tiny" / "table.md").exists()
    assert ltbench(*shard).stdout == done.stdout
    whole = ltbench("run", tiny, "--jobs", 1, "--shard", "1/1")
    assert whole.stdout.startswith("# tiny\n")


def test_a_shard_of_which_a_cell_fails_says_so(ltbench, tiny, tmp_path, method_source):
    path = tmp_path / "mine.py"
    path.write_text(method_source("mine").replace("* self.strength", "* float('nan')"))
    words = ("-m", "mine", "-m", "erm", "--plugin", path, "--jobs", 1, "--shard", "1/2")
    done = ltbench("run", tiny, *words)
    assert done.exit_code == 1
    assert "tiny, shard 1/2: 1 of 2 cells are done, 1 are left." in done.stdout


def test_the_parts_of_a_board_are_told_until_all_are_there(ltbench, tiny):
    for part in (1, 2):
        words = ("--seeds", 2, "--jobs", 1, "--shard", f"{part}/2", "--results", f"part-{part}")
        ltbench("run", tiny, *words)
    ltbench("merge", "part-1", "--into", "all")
    half = ltbench("leaderboard", tiny, "--results", "all").stdout
    assert half.splitlines()[0].startswith("# tiny, incomplete: 2 of ")
    ltbench("merge", "part-2", "--into", "all")
    assert ltbench("leaderboard", tiny, "--results", "all").stdout.startswith("# tiny\n")


def test_seeds_are_named_on_the_command_line_too(tiny, ltbench):
    found = ltbench("run", tiny, "-m", "erm", "--seeds", "1,3-4", "--dry-run")
    assert "erm: seeds 1, 3, 4" in found.stdout
    found = ltbench("run", tiny, "-m", "erm", "--seeds", "one", "--dry-run")
    assert found.exit_code == 2
    assert "seeds 'one': expected how many, or which, as 10-14,101" in found.stderr


def test_a_variable_names_the_folder_of_results(ltbench, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("LTBENCH_RESULTS", str(tmp_path / "elsewhere"))
    assert ltbench("run", tiny, "-m", "erm", "--seeds", 1).exit_code == 0
    assert (tmp_path / "elsewhere" / "tiny" / "table.md").exists()
    assert "`erm`" in ltbench("leaderboard", tiny).output
    told = ltbench("leaderboard", tiny, "--results", tmp_path / "nowhere")
    assert told.exit_code == 2
    monkeypatch.setenv("LTBENCH_RESULTS", " ")
    assert "Error: leaderboards/tiny holds no records" in ltbench("leaderboard", tiny).stderr


def test_methods_and_protocols_are_listed_by_family_and_track(ltbench, monkeypatch):
    losses = ltbench("list", "methods", "--family", "class-sensitive").stdout.splitlines()
    assert {line.split()[0] for line in losses} >= {"focal", "ldam"}
    assert not {line.split()[0] for line in losses} & {"logit-adjustment", "smote"}
    of = ltbench("list", "protocols", "--track", "tabular", "--json")
    assert "tabular-embedded" in {one["name"] for one in json.loads(of.stdout)}
    assert "digits-lt" not in of.stdout
    taken = ltbench("list", "--track", "tabular", "--family", "ensemble").stdout
    assert taken.startswith("methods:\n")
    assert "self-paced-ensemble" in taken
    for words, told in (
        (("--family", "ensembel"), "unknown family 'ensembel'; did you mean 'ensemble'?"),
        (("--track", "tabula"), "unknown track 'tabula'; did you mean 'tabular'?"),
        (("observers", "--family", "ensemble"), "--family is for methods, not for observers"),
        (("tracks", "--track", "tabular"), "--track is for methods and protocols, not for tracks"),
    ):
        done = ltbench("list", *words)
        assert (done.exit_code, told in done.stderr) == (2, True), done.output
    monkeypatch.setattr("ltbench.commands.printing.terminal", lambda: 80)
    monkeypatch.setattr("ltbench.commands.list.terminal", lambda: 80)
    shown = ltbench("list").stdout.splitlines()
    assert max(map(len, shown)) <= 80
    assert "methods, losses:" in shown
    assert "protocols, tabular:" in shown


def test_a_board_on_a_terminal_has_columns_that_fit(ltbench, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("ltbench.commands.printing.terminal", lambda: 60)
    done = ltbench("run", tiny, "-m", "erm", "--jobs", 1, "--seeds", 2)
    assert max(map(len, done.stdout.splitlines())) <= 60
    assert "─" in done.stdout and "|" not in done.stdout
    assert "| recipe " in (tmp_path / "leaderboards" / "tiny" / "table.md").read_text()
