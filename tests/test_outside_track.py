"""A track from outside: a package of its own brings it, without a line changed in ltbench."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec import structs

import ltbench as public
from ltbench.boards import leaderboard
from ltbench.commands.main import main
from ltbench.contract.parts import LEARNERS, NETWORKS
from ltbench.registry.registry import Registry
from ltbench.results import records
from ltbench.results.records import Record
from ltbench.training import checkpoints

PACKAGE = Path(__file__).parents[1] / "examples" / "ltbench-acme"
HOUSE = Path(public.__file__).parent
COMMAND = Path(sys.executable).with_name("ltbench")
PROTOCOL, METHODS = "digit-pairs", {"asymmetric", "positive-weights"}
CELLS = 8  # of four recipes with two seeds


@pytest.fixture(scope="module", autouse=True)
def site(tmp_path_factory):
    """A folder with the package installed, as from a wheel, in the path."""
    source, site = tmp_path_factory.mktemp("source") / "package", tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, *offline, "--target", site, source], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        # commands run the code that is tested, wherever it is
        patch.setenv("PYTHONPATH", os.pathsep.join((str(site), str(HOUSE.parent))))
        yield site
    for name in [name for name in sys.modules if name.partition(".")[0] == "ltbench_acme"]:
        del sys.modules[name]
    for shelf in (LEARNERS, NETWORKS):
        for name in [
            n for n, part in shelf.parts.items() if part.module.startswith("ltbench_acme")
        ]:
            del shelf.parts[name]


@pytest.fixture(scope="module")
def whole(site, tmp_path_factory):
    """The results of a run that nothing disturbed."""
    results = tmp_path_factory.mktemp("whole")
    words = ["run", PROTOCOL, "--seeds", "2", "--jobs", "1", "--results", str(results)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    return results


def read(results):
    found = list(records.read_all(results, PROTOCOL))
    assert all(isinstance(record, Record) for record in found)
    return {(record.recipe, record.seed): record for record in found}


def numbers(results):
    return {cell: record.measures for cell, record in read(results).items()}


def test_it_is_listed_and_described(ltbench):
    assert (
        "labelsets     A network tells which labels a row has" in ltbench("list", "tracks").output
    )
    assert re.search(rf"{PROTOCOL} +version 1", ltbench("list", "protocols").output)
    for method in METHODS:
        assert re.search(rf"^{method} ", ltbench("list", "methods").output, re.MULTILINE)
    told = json.loads(ltbench("info", "labelsets", "--json").output)
    assert told["supplies"] == ["several_labels"]
    assert told["adds_hooks"] == ["label_losses", "label_weight"]
    assert told["protocols"] == [PROTOCOL]
    assert told["measures"]["wrong_labels"] == (
        "wrong: labels that are wrong, of TEST_ROWS rows (lower is better, in %)"
    )
    assert json.loads(ltbench("info", PROTOCOL, "--json").output)["track"] == "labelsets"
    plugins = ltbench("plugins", "--strict").output
    brings = f"{PROTOCOL}, labelsets, mirrored-digits, mirrored-digits-lt, ringed-digits-lt"
    assert f"labelsets (ltbench-acme 0.1.0): {brings}, visits\n" in plugins
    assert "parts (ltbench-acme 0.1.0): acme/visits, kappa, naive-bayes, rings\n" in plugins


def test_its_measures_rank_and_are_written(ltbench, whole):
    shown = ltbench("leaderboard", PROTOCOL, "--results", whole)
    assert shown.exit_code == 0
    assert shown.output == (whole / PROTOCOL / "table.md").read_text()
    header = [cell.strip() for cell in shown.output.splitlines()[4].strip("|").split("|")]
    assert header == ["rank", "recipe", "mAP", "over erm", "wrong", "cost"]
    assert "*wrong*: labels that are wrong, of 400 rows" in " ".join(shown.output.split())

    board = json.loads(
        ltbench("leaderboard", PROTOCOL, "--format", "json", "--results", whole).output
    )
    assert board["asked"] == ["mean_average_precision", "wrong_labels"]
    found = [row["measures"]["mean_average_precision"]["mean"] for row in board["rows"]]
    assert found == sorted(found, reverse=True)
    assert board["rows"][-1]["rank"][1] == len(found) == 4

    text = ltbench("leaderboard", PROTOCOL, "--format", "csv", "--results", whole).output
    rows = list(csv.DictReader(text.splitlines()))
    assert [float(row["mean_average_precision"]) for row in rows] == found
    assert {row["recipe"] for row in rows} > METHODS


def test_a_measure_of_which_less_is_better_ranks_the_other_way(whole):
    registry = Registry()
    protocol = structs.replace(registry.protocol(PROTOCOL), measures=("wrong_labels",))
    board = leaderboard.build(registry.track("labelsets"), protocol, [*read(whole).values()])
    wrong = [row.measures["wrong_labels"].mean for row in board.rows]
    assert wrong == sorted(wrong)
    assert board.rows[0].delta.mean <= 0


def test_a_record_comes_back_as_it_was_written(whole, tmp_path):
    from ltbench_acme.track import of_labels

    for record in read(whole).values():
        again = records.write(tmp_path, record, None)
        assert again == record == records.read(records.place_of(tmp_path, record))
        precision = of_labels(record)
        assert list(precision) == list("0123456789")
        mean = record.measures["mean_average_precision"]
        assert sum(precision.values()) / 10 == pytest.approx(mean)
        assert set(record.plugins) & METHODS == {
            name for name, origin in record.plugins.items() if origin.package != "ltbench"
        }


def test_a_run_that_was_killed_goes_on(ltbench, whole, tmp_path):
    words = ["run", PROTOCOL, "--seeds", "2", "--jobs", "1", "--results", str(tmp_path)]
    run = subprocess.Popen([COMMAND, *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while len(list(tmp_path.rglob("seed-*.json"))) < 2:
        assert run.poll() is None
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    kept = {path: path.read_bytes() for path in tmp_path.rglob("seed-*.json")}
    assert 2 <= len(kept) < CELLS
    told = ltbench("status", PROTOCOL, "--seeds", "2", "--results", tmp_path).output
    assert f"{CELLS} cells; done: {len(kept)} ok; left: {CELLS - len(kept)}" in told
    done = ltbench(*words)
    assert f"{len(kept)} cells had a record, new: {CELLS - len(kept)} ok" in done.stderr
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert numbers(tmp_path) == numbers(whole)


def test_a_cell_that_was_killed_goes_on_from_its_checkpoint(ltbench, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    words = ("run", PROTOCOL, "-m", "erm", "--seeds", "1", "--jobs", "1", "--results", tmp_path)
    write = checkpoints.Checkpoint.write

    def written_and_killed(*given):
        write(*given)
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Checkpoint, "write", written_and_killed)
        ltbench(*words)
    assert "signal 9" in read(tmp_path)["erm", 0].reason
    assert ltbench(*words).exit_code == 0
    made = read(tmp_path)["erm", 0]
    assert made.continued == 1
    assert made.measures == read(whole)["erm", 0].measures


def test_shards_are_merged_to_the_whole(ltbench, whole, tmp_path):
    for part in ("1", "2"):
        words = ("--seeds", "2", "--jobs", "1", "--shard", f"{part}/2", "--results", part)
        assert ltbench("run", PROTOCOL, *words).exit_code == 0
        assert len(numbers(tmp_path / part)) == CELLS / 2
    assert ltbench("merge", "1", "2", "--into", "both").exit_code == 0
    assert numbers(tmp_path / "both") == numbers(whole)


def test_its_methods_pass_the_checks_of_the_track(ltbench):
    done = ltbench("check", *METHODS, "asymmetric+positive-weights", "--json")
    assert done.exit_code == 0
    for report in json.loads(done.output):
        passed = {one["check"] for one in report["findings"] if one["status"] == "passed"}
        assert {"label names do not matter", "it resumes", "neutral is plain"} <= passed


def test_the_checks_of_the_track_find_a_bad_method(ltbench, tmp_path):
    (tmp_path / "bad.py").write_text(
        "import torch\n"
        "from ltbench import hookimpl\n"
        "from ltbench_acme.contract import LabelMethod\n"
        "class Bad(LabelMethod):\n"
        "    name = 'first-labels-first'\n"
        "    def label_weight(self, labels, run):\n"
        "        return 1 / torch.arange(1.0, 1 + run.num_classes).expand_as(labels)\n"
        "@hookimpl\n"
        "def register_methods(register): register(Bad)\n"
    )
    done = ltbench("check", "first-labels-first", "--plugin", "bad.py")
    assert done.exit_code == 1
    failed = [line for line in done.output.splitlines() if "failed" in line]
    assert len(failed) == 1
    assert "label names do not matter: failed: expected the same losses under other" in failed[0]


def test_other_methods_are_not_its_to_check():
    registry = Registry()
    assert registry.track("labelsets").checks(registry.recipe("ldam")) == {}


def test_what_does_not_fit_is_skipped_with_its_reason(ltbench, tiny, tmp_path):
    words = ("--seeds", "1", "--jobs", "1", "--results", "results")
    here = ltbench("run", PROTOCOL, "-m", "ldam", *words)
    assert here.exit_code == 2
    assert "ldam overrides adjust, which serves one label a row" in here.output
    there = ltbench("run", tiny, "-m", "positive-weights", *words)
    assert "tiny supplies no several_labels; positive-weights needs that" in there.output


def test_no_line_of_ltbench_names_it():
    named = re.compile("|".join(["labelsets", PROTOCOL, "several_labels", *METHODS]))
    files = [path for path in HOUSE.rglob("*") if path.suffix in (".py", ".toml")]
    assert [path for path in files if named.search(path.read_text())] == []
