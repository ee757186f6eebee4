import pytest
from msgspec import structs
from sample_record import RECORD

from ltbench import LTBenchError
from ltbench.api import run
from ltbench.boards.reading import read as board_of
from ltbench.registry import discovery
from ltbench.registry.registry import installed
from ltbench.results import records
from ltbench.results.provenance import made
from ltbench.results.reading import counted
from ltbench.results.record_arrays import columns
from ltbench.results.records import Origin, Record
from ltbench.running.plan import plan

OLD, NEW = Origin("ltbench", "0.1.0", "old"), Origin("ltbench", "0.1.0", "new")


def record(recipe="erm", seed=0, origin=NEW, **environment):
    told = RECORD.environment | {"torch": "2", "device": "cpu", "code": "a"} | environment
    return structs.replace(
        RECORD, recipe=recipe, seed=seed, plugins={"m": origin}, environment=told
    )


def sorting(found, now=NEW, mixed=False):
    told = counted("folder", columns(found), lambda name: now, mixed)
    return told.kept.tolist(), told.notes


def test_a_record_tells_what_decided_its_bits(tiny, tmp_path):
    (one,) = run(tiny, ["erm"], 1, results=tmp_path)
    told = made(one)
    assert told.device == "cpu"
    assert told.code == discovery.core_code(
        ("ltbench.tracks.recognition.track", "ltbench.models.mlp")
    )
    assert one.environment["instructions"] in told.processor
    assert made(RECORD).code is None


def test_records_of_one_kind_have_nothing_said():
    assert sorting([record(seed=0), record(seed=1)]) == ([True, True], [])


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"code": "b"}, "ltbench's own code (a and b)"),
        ({"device": "cuda"}, "device (cpu and cuda)"),
    ],
)
def test_other_code_of_the_benchmark_or_another_device_is_refused_unless_asked_for(other, words):
    found = [record(), record("drw", **other)]
    with pytest.raises(LTBenchError) as refusal:
        sorting(found)
    assert words in str(refusal.value)
    kept, notes = sorting(found, mixed=True)
    assert kept == [True, True]
    assert "not all of one kind" in notes[0]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"torch": "3"}, "torch: 2 (1), 3 (1)"),
        ({"instructions": "AVX512"}, "processor: AVX512 (1), not told (1)"),
        ({"code": None}, "ltbench's own code: a (1), not told (1)"),
    ],
)
def test_other_mixtures_are_told(other, words):
    kept, notes = sorting([record(), record("drw", **other)])
    assert kept == [True, True]
    assert words in notes[0]


def test_seeds_of_older_code_of_a_method_are_left_out_and_told():
    found = [record(seed=0), record(seed=1, origin=OLD), record(seed=2, origin=OLD)]
    kept, notes = sorting(found)
    assert kept == [True, False, False]
    assert notes == ["erm: 2 records of older code of m left out; ltbench run makes them again"]
    assert sorting(found, mixed=True)[0] == [True, True, True]
    # where neither is what is here now, that of most seeds counts
    assert sorting(found, now=None)[0] == [False, True, True]


def test_rows_of_different_code_of_one_method_are_refused_unless_asked_for():
    found = [record("a+m"), record("m", origin=OLD)]
    with pytest.raises(LTBenchError, match="rows differ in the code of m"):
        sorting(found)
    assert sorting(found, mixed=True)[1] == ["rows are of several codes of m"]


def test_what_older_records_do_not_tell_makes_no_difference():
    fuller = structs.replace(NEW, imported="i", core="c")
    assert sorting([record(seed=0), record(seed=1, origin=fuller)], now=fuller)[0] == [True, True]
    other = structs.replace(fuller, core="d")
    assert sorting([record(seed=0, origin=fuller), record(seed=1, origin=other)], now=other) == (
        [False, True],
        ["erm: 1 record of older code of m left out; ltbench run makes them again"],
    )


def changed(results, **environment):
    """Every record as if made elsewhere."""
    for path in sorted(results.rglob("seed-*.json")):
        one = records.read(path)
        assert isinstance(one, Record)
        told = structs.replace(one, environment=one.environment | environment)
        records.write_bytes(path, records.encoded(told.sealed()))


def test_a_run_beside_records_of_other_code_is_refused_before_it_begins(tiny, tmp_path):
    results = tmp_path / "results"
    run(tiny, ["erm"], 1, results=results)
    changed(results, code="0" * 16)
    with pytest.raises(LTBenchError, match="1 records of other ltbench's own code"):
        run(tiny, ["erm"], 2, results=results)
    assert len(run(tiny, ["erm"], 2, results=results, mixed=True)) == 2
    with pytest.raises(LTBenchError, match="records differ in ltbench's own code"):
        board_of(installed(), tiny, results)
    text = board_of(installed(), tiny, results, mixed=True).board.markdown()
    assert f"ltbench's own code: {'0' * 16} (1)" in text
    run(tiny, ["erm"], 2, results=results, fresh=True)
    assert "not all of one kind" not in board_of(installed(), tiny, results).board.markdown()


def test_the_command_tells_a_mixture_where_it_is_asked_to(tiny, ltbench, tmp_path):
    run(tiny, ["erm", "ldam"], 1, results=tmp_path / "leaderboards")
    changed(tmp_path / "leaderboards" / "tiny" / "records" / "ldam", device="cuda")
    refused = ltbench("leaderboard", tiny)
    assert refused.exit_code == 2
    assert "records differ in device (cpu and cuda)" in refused.stderr
    assert "device: cpu (1), cuda (1)" in ltbench("leaderboard", tiny, "--mixed").stdout


def test_the_code_of_a_cell_is_what_its_numbers_hang_on():
    track = installed().track("recognition")
    files = discovery.core_files(track.modules(installed().protocol("digits-lt")))
    names = {"/".join(file.parts[-2:]) for file in files}
    assert {"training/engine.py", "scoring/metrics.py", "models/mlp.py"} <= names
    assert {"contract/recipes.py", "protocols/imbalance.py", "recognition/track.py"} <= names
    assert not names & {"results/records.py", "contract/track.py", "scoring/statistics.py"}
    assert not names & {"datasets/__init__.py", "protocols/schema.py", "models/convnet.py"}


@pytest.mark.parametrize("name", sorted(installed().tracks()))
def test_what_checks_finds_and_shows_methods_is_no_code_of_a_cell(name):
    track = installed().track(name)
    shipped = next(p for p in installed().protocols() if installed().track_of(p) == name)
    files = discovery.core_files(track.modules(installed().protocol(shipped)))
    wings = {file.parts[-2] for file in files}
    names = {file.name for file in files if "tracks" in file.parts}
    assert not wings & {"registry", "testing", "rendering", "boards", "results", "running"}
    assert not names & {"checks.py", "marked.py", "declaration.py", "markdown.py", "comparison.py"}
    assert {"track.py", "problem.py"} <= names


def test_the_network_of_tables_is_code_of_their_cells():
    track = installed().track("tabular")
    files = discovery.core_files(track.modules(installed().protocol("tabular-embedded")))
    assert any(file.parts[-2:] == ("models", "mlp.py") for file in files)


def test_the_code_of_a_cell_is_what_its_track_imports_whatever_its_sentences(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_pack").mkdir()
    inner = tmp_path / "own_pack" / "inner.py"
    (tmp_path / "own_pack" / "__init__.py").write_text("")
    (tmp_path / "own_pack" / "track.py").write_text("from own_pack.inner import RATE\n")
    inner.write_text("RATE = 1\n")

    def now():
        discovery.core_code.cache_clear()
        return discovery.core_code(("own_pack.track",))

    before = now()
    inner.write_text('"""A sentence."""\nRATE = 1  # mended\n')
    assert now() == before
    inner.write_text("RATE = 2\n")
    assert now() != before
    discovery.core_code.cache_clear()


def test_helpers_beside_a_single_file_count_into_its_code(tmp_path):
    file, helper = tmp_path / "mine.py", tmp_path / "helper.py"
    helper.write_text("RATE = 1\n")
    file.write_text("import helper\n")
    before = discovery.from_file(file).imported
    helper.write_text("RATE = 2\n")
    assert "" != before != discovery.from_file(file).imported
    file.write_text("import os\n")
    assert discovery.from_file(file).imported == ""


def test_modules_of_the_benchmark_that_a_method_imports_count_into_its_code():
    known = {name: installed().origin(name) for name in ("threshold", "bp", "ldam")}
    assert known["ldam"].core == ""
    assert "" != known["threshold"].core != known["bp"].core != ""
    assert installed().origin("nobody") is None


@pytest.mark.parametrize(("seeds", "parts"), [(5, 2), (5, 3), (4, 4), (2, 3), (6, 2), (1, 5)])
def test_shards_cut_across_recipes(tiny, tmp_path, seeds, parts):
    recipes = ["erm", "ldam", "drw+ldam", "focal", "logit-adjustment", "balanced-softmax"]
    made = [
        plan(installed(), tiny, recipes, seeds, tmp_path, shard=(k + 1, parts)).cells
        for k in range(parts)
    ]
    every = sorted(str(cell) for cells in made for cell in cells)
    assert every == sorted(str(c) for c in plan(installed(), tiny, recipes, seeds, tmp_path).cells)
    sizes = [len(cells) for cells in made]
    assert max(sizes) - min(sizes) <= max(1, seeds % parts)
    for seed in range(seeds // parts * parts):  # all recipes of a seed in one shard
        assert sum(any(cell.seed == seed for cell in cells) for cells in made) == 1
    if seeds > parts:
        for text in {cell.recipe.text for cell in made[0]}:  # no recipe in one shard alone
            assert all(any(cell.recipe.text == text for cell in cells) for cells in made)
