"""Records of the earlier form are carried over whole, once, and only as they were written."""

import copy
import json
import os
import shlex
import sys
from textwrap import dedent

import msgspec
import pytest
from earlier_record import EARLIER, LATER, RECOGNITION, SEALS, TABULAR, TIMING, put, sealed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ltbench import LTBenchError
from ltbench.registry import discovery
from ltbench.registry.carrying import hashed
from ltbench.registry.registry import Registry, installed
from ltbench.results import earlier
from ltbench.results.records import Record, read
from ltbench.running.migrating import migrate
from ltbench.running.plan import plan
from ltbench.tracks.tabular.measures import NAMES

SAME = ("protocol", "version", "hash", "fingerprint", "recipe", "parameters", "seed", "status")
SAME += ("plugins", "environment", "reason", "notes", "transductive", "recall", "class_counts")
SAME += ("timing",)


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


def contents(folder):
    """Every file below a folder, with its bytes and the time at which it was written."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


# What is carried over


@pytest.mark.parametrize("kind", EARLIER)
def test_the_seal_is_the_one_that_was_given_then(kind):
    old = sealed(EARLIER[kind])
    assert earlier.seal(old) == old["digest"] == SEALS[kind]


SUMMED = TIMING | {"seconds": 1.0, "work": 0.5, "reference_work": 0.5}
MEANS = dict.fromkeys(NAMES) | {"f1": 0.75, "auc": 0.75}
DISTILLED = {"images": 50, "duplicates": 1, "bytes": 12800, "evaluation_seconds": 2.5}
COMPRESSED = {"parameters": 6000, "macs": 30000, "latency": 0.25, "agreement": 0.75}
COMPRESSED |= {"parameters_left": 0.25, "macs_left": 0.125, "twin": 0.9375, "twin_seconds": 0.875}
SCORES = RECOGNITION["metrics"]
BECAME = {
    "recognition": {"measures": SCORES},
    "skipped": {"measures": {}},
    "failed": {"measures": {}},
    "continued": {"measures": SCORES, "continued": 2},
    "tabular": {
        "table": "breast-cancer",
        "measures": MEANS,
        "timing": SUMMED,
        "details": {
            "parts": {name: {**part, "folds": []} for name, part in TABULAR["parts"].items()}
        },
    },
    "failed tabular": {"table": "breast-cancer", "measures": {}},
    "distillation": {
        "measures": SCORES | DISTILLED,
        "control": True,
        "details": {"networks": 3},
    },
    "failed distillation": {"measures": {}},
    "compression": {
        "measures": SCORES | COMPRESSED,
        "details": {
            "teacher": "1c5817344b027df3",
            "twin": SCORES | {"balanced_accuracy": 0.9375},
        },
    },
    "failed compression": {"measures": {}},
}


@pytest.mark.parametrize("kind", EARLIER)
def test_a_record_of_each_track_holds_what_it_held(results, kind):
    old = EARLIER[kind]
    path = put(results, old)
    done = migrate(installed(), results, [])
    assert (done.carried, done.known, done.rejected) == (1, 0, [])
    expected = {name: old[name] for name in SAME} | {
        "track": installed().protocol(old["protocol"]).track,
        "arrays": old["predictions"],
        **BECAME[kind],
    }
    assert read(path) == msgspec.convert(expected, Record).sealed()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_record_of_a_protocol_that_nobody_knows_is_of_the_track_that_it_tells(results):
    for kind in ("recognition", "tabular", "distillation", "compression"):
        path = put(results, EARLIER[kind], protocol=f"own-{kind}")
        assert migrate(installed(), results, []).carried == 1
        assert read(path).track == kind
    assert migrate(installed(), results, []).known == 4


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("kind", ["recognition", "tabular", "distillation", "compression"])
def test_a_cell_that_failed_is_of_the_track_that_others_of_its_protocol_tell(results, kind, again):
    other = put(results, EARLIER[kind], protocol="own", seed=9)
    if again:  # as where an earlier run was interrupted
        assert migrate(installed(), results, []).carried == 1
    failed = {"recognition": ["skipped", "failed"]}.get(kind, [f"failed {kind}"])
    paths = [
        put(results, EARLIER[name], protocol="own", seed=seed) for seed, name in enumerate(failed)
    ]
    assert migrate(installed(), results, []).rejected == []
    assert {read(path).track for path in (*paths, other)} == {kind}


def test_a_cell_that_failed_alone_in_a_protocol_that_nobody_knows_is_left_in_place(
    results, ltbench
):
    path = put(results, EARLIER["skipped"], protocol="own")
    before = path.read_bytes()
    done = ltbench("migrate", results)
    assert done.exit_code == 2
    told = "its protocol own is not here, and its records tell of no track that is"
    assert f"{path} is left in place, not counted: {told}" in done.stderr.splitlines()
    assert path.read_bytes() == before


def test_a_record_of_a_track_that_is_not_here_is_left_in_place_and_told(
    results, ltbench, monkeypatch
):
    here = {name: one for name, one in installed().tracks().items() if name != "tabular"}
    monkeypatch.setattr(Registry, "tracks", lambda registry: here)
    kept = put(results, RECOGNITION)
    left = [put(results, TABULAR), put(results, TABULAR, protocol="own-tables")]
    before = [path.read_bytes() for path in left]
    done = ltbench("migrate", results)
    assert done.exit_code == 2
    assert f"{results}: 1 records carried over, 0 were" in done.stderr
    reasons = ["unknown track 'tabular'", "its protocol own-tables is not here, and its"]
    for path, reason in zip(left, reasons, strict=True):
        (line,) = (line for line in done.stderr.splitlines() if str(path) in line)
        assert "is left in place, not counted: " in line
        assert reason in line
    assert [path.read_bytes() for path in left] == before
    assert isinstance(read(kept), Record)


# What is left in place


def bent(old, place):
    """A record in which one value was changed, and its digest was not."""
    changed = copy.deepcopy(old)
    holder = changed
    for key in place[:-1]:
        holder = holder[key]
    value = holder[place[-1]]
    holder[place[-1]] = value + 1 if isinstance(value, int | float) else f"{value}x"
    return changed


BENT = [
    ("recognition", ("seed",)),
    ("recognition", ("version",)),
    ("recognition", ("metrics", "accuracy")),
    ("recognition", ("transductive", "accuracy")),
    ("recognition", ("recall", 0)),
    ("recognition", ("timing", "relative")),
    ("recognition", ("plugins", "sam", "source")),
    ("recognition", ("environment", "cpu")),
    ("recognition", ("predictions",)),
    ("recognition", ("digest",)),
    ("skipped", ("reason",)),
    ("continued", ("continued",)),
    ("tabular", ("parts", "forest", "metrics", "f1")),
    ("distillation", ("distilled", "images")),
    ("compression", ("compressed", "twin", "accuracy")),
]


@pytest.mark.parametrize(("kind", "place"), BENT, ids=str)
def test_a_record_that_was_changed_is_left_in_place_and_named(results, ltbench, kind, place):
    path, other = (put(results, EARLIER[kind], seed=seed) for seed in (4, 5))
    path.write_text(json.dumps(bent(json.loads(path.read_text()), place)))
    before = path.read_bytes()
    done = ltbench("migrate", results)
    assert done.exit_code == 2
    told = f"{path} is left in place, not counted: its digest does not fit; it was changed by hand"
    assert told in done.stderr.splitlines()
    assert path.read_bytes() == before
    assert isinstance(read(other), Record)


@pytest.mark.parametrize(
    "more",
    [{"more": 1}, {"parts": TABULAR["parts"]}, {"distilled": {}}, {"continued": 1}, {"table": "a"}],
    ids=lambda more: next(iter(more)),
)
def test_a_field_that_was_added_is_a_change(results, more):
    path = put(results, RECOGNITION)
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
    (rejected,) = migrate(installed(), results, []).rejected
    assert "its digest does not fit" in str(rejected)


@pytest.mark.parametrize(
    ("old", "reason"),
    [
        (RECOGNITION | {"metrics": {"accuracy": "high"}}, "it is no record (Expected "),
        (RECOGNITION | {"plugins": {"sam": {}}}, "it is no record (Object missing required"),
        (RECOGNITION | {"status": "great"}, "it is no record (Invalid enum value 'great'"),
        (RECOGNITION | {"timing": {}}, "it is no record (Object missing required field"),
        (RECOGNITION | {"table": "../.."}, "it is no record of the track recognition"),
        (TABULAR | {"parts": {"tree": 1}}, "track tabular cannot carry it over (ValidationError"),
        (EARLIER["distillation"] | {"distilled": {}}, "track distillation cannot carry it over ("),
        (EARLIER["compression"] | {"compressed": 1}, "track compression cannot carry it over ("),
    ],
)
def test_what_others_made_up_costs_its_own_record_alone(results, old, reason):
    path, other = (put(results, RECOGNITION, seed=seed) for seed in (4, 5))
    path.write_text(json.dumps(sealed(old, seed=4)))
    before = path.read_bytes()
    (rejected,) = migrate(installed(), results, []).rejected
    assert str(rejected).startswith(f"{path} is left in place, not counted: {reason}")
    assert len(str(rejected).splitlines()) == 1
    assert path.read_bytes() == before
    assert isinstance(read(other), Record)


@pytest.mark.parametrize(
    "place", ["digits-lt/records/sam(rho=0.8)/seed-4.json", "digits-balanced/records/a/seed-3.json"]
)
def test_a_record_in_another_place_is_left_there(results, place):
    path, moved = put(results, RECOGNITION), results / place
    moved.parent.mkdir(parents=True, exist_ok=True)
    path.rename(moved)
    for _ in range(2):
        done = migrate(installed(), results, [])
        assert done.carried == 0
        (rejected,) = done.rejected
        told = "it is a record of sam(rho=0.8) seed 3 of protocol digits-lt"
        assert (rejected.path, rejected.reason) == (moved, told)


def test_a_record_of_this_form_that_does_not_count_is_told_by_its_own_reason(results, ltbench):
    path = put(results, RECOGNITION)
    migrate(installed(), results, [])
    path.write_text(path.read_text().replace("0.625", "0.75"))
    done = ltbench("migrate", results)
    assert done.exit_code == 2
    assert f"{path} is left in place, not counted: its digest does not fit" in done.stderr


often = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
VALUES = ["-1", "0", "{}", "[]", "null", '"x"', "1e400", "9" * 30, "[" * 2000]


@pytest.mark.parametrize("kind", ["recognition", "tabular", "compression"])
@often
@given(data=st.data())
def test_a_damaged_record_is_carried_over_only_if_nothing_changed(kind, data, tmp_path):
    path = put(tmp_path, EARLIER[kind])
    text = whole = path.read_text()
    for _ in range(data.draw(st.integers(1, 2))):
        lines = text.split("\n")
        k = data.draw(st.integers(0, len(lines) - 1))
        head, colon, _ = lines[k].partition(": ")
        value = head + colon + data.draw(st.sampled_from(VALUES)) + ","
        lines[k] = data.draw(st.sampled_from(["", lines[k] * 2, value, head]))
        text = "\n".join(lines)
    path.write_text(text)
    done = migrate(installed(), tmp_path, [])
    if done.rejected:
        assert path.read_text() == text
        assert len(str(done.rejected[0]).splitlines()) == 1
    else:
        younger = LATER | {"continued": 0}  # fields that a record need not have
        assert younger | json.loads(text) == younger | json.loads(whole)


# Whole or not at all, and once


@pytest.fixture
def many(results):
    """A results folder with four records of each kind, and a table beside them."""
    for seed in range(4):
        for kind, old in EARLIER.items():
            put(results, old, seed=seed, recipe=f"sam(rho=0.{len(kind)})")
    (results / "digits-lt" / "table.md").write_text("# digits-lt\n")
    return results


def test_a_second_run_changes_nothing(many, ltbench):
    count = 4 * len(EARLIER)
    done = ltbench("migrate", many)
    assert done.exit_code == 0
    assert done.stderr.splitlines()[0] == f"{many}: {count} records carried over, 0 were"
    before = contents(many)
    again = ltbench("migrate", many)
    assert again.exit_code == 0
    assert again.stderr == f"{many}: 0 records carried over, {count} were\n"
    assert contents(many) == before


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyboardInterrupt(), None),
        (OSError(28, "No space left on device"), r"seed-\d.json cannot be written: No space left"),
    ],
)
def test_one_that_was_interrupted_continues(many, monkeypatch, error, told):
    old = {path: content for path, (content, _) in contents(many).items()}
    migrate(installed(), many, [])
    new = {path: content for path, (content, _) in contents(many).items()}
    for path, content in old.items():
        path.write_bytes(content)
    replace, left = os.replace, iter(range(len(EARLIER)))

    def interrupted(*paths):
        if next(left, None) is None:
            raise error
        replace(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises((KeyboardInterrupt, LTBenchError), match=told):
            migrate(installed(), many, [])
    between = {path: content for path, (content, _) in contents(many).items()}
    assert between.keys() == new.keys()  # nothing torn beside them
    changed = [path for path in between if between[path] != old[path]]
    assert len(changed) == len(EARLIER)
    assert all(between[path] == new[path] for path in changed)
    again = migrate(installed(), many, [])
    assert (again.known, again.carried) == (len(EARLIER), 3 * len(EARLIER))
    assert {path: content for path, (content, _) in contents(many).items()} == new


# The code of methods


CODE = dedent(
    """
    '''Scales.'''

    from ltbench import Method, hookimpl


    class Mine(Method):
        '''Scales the scores.'''

        name = "mine"

        def adjust(self, scores, labels, run):
            spans = getattr(run, "spans", ())  # as granted
            return scores * (run.ipc or len(run.categorical) or len(spans))


    @hookimpl
    def register_methods(register):
        register(Mine)
    """
)
FROM = "from ltbench import Method, hookimpl\n"
HOOKIMPL = "from ltbench.contract.hookspecs import hookimpl\n"
METHOD = "from ltbench.contract.method import Method\n"
COMPRESSOR = "from ltbench.tracks.compression.contract import Compressor\n"
ALIKE = {
    "nothing": (),
    "a docstring": [("Scales the", "Multiplies the")],
    "a comment": [("# as granted", "# as it was")],
    "blank lines": [("\n\n\nclass", "\n\n\n\n\nclass")],
    "moved imports": [(FROM, HOOKIMPL + METHOD)],
    "what is granted": [("run.ipc", "run.granted.ipc")],
    "what rows tell": [("run.categorical", "run.train.categorical")],
    "a contract of its own": [(FROM, HOOKIMPL + COMPRESSOR), ("(Method)", "(Compressor)")],
}
UNLIKE = {
    "a number": [("scores *", "2 * scores *")],
    "an attribute": [("run.ipc", "run.seed")],
    "other rows": [("run.categorical", "self.categorical")],
    "another grant": [("run.ipc", "run.granted.pool")],
    "all that is granted": [("run.ipc", "run.granted")],
    "a default": [('"spans", ()', '"spans", (1,)')],
    "a name": [(", labels, run)", ", targets, run)")],
    "an import": [("import Method, ", "import Method, Run, ")],
}
CHANGED = "its code was changed since"


def changed(text, pairs):
    for old, new in pairs:
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


@pytest.fixture
def carried(tmp_path, tiny, results):
    """Carries over a record that methods made; tells what is to be run again, and what is lost."""

    def call(registry, origins, folders=(), seed=0):
        protocol = registry.protocol(tiny)
        recipe = "+".join(origins)
        there = {"protocol": "tiny", "hash": protocol.hash, "seed": seed, "recipe": recipe}
        there |= {"fingerprint": protocol.data.fingerprint, "parameters": {}, "plugins": origins}
        put(results, RECOGNITION, **there)
        done = migrate(registry, results, [*folders])
        assert (done.carried, done.rejected) == (1, [])
        todo = plan(registry, tiny, [recipe], seed + 1, results).todo
        left = [str(cell) for cell in todo if cell.seed == seed and cell.recipe.text != "erm"]
        return left, dict(done.lost)

    return call


def origin(source, package="file", version="0", **more):
    return {"package": package, "version": version, "source": hashed(source), **more}


def stand(folder, **files):
    """Writes files of code, and gives their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.mark.parametrize("pairs", ALIKE.values(), ids=ALIKE)
def test_a_record_of_code_that_says_the_same_is_not_made_again(carried, tmp_path, pairs):
    now = stand(tmp_path, mine=changed(CODE, pairs)) / "mine.py"
    was = stand(tmp_path / "was" / "plugins", old=CODE).parent
    assert carried(Registry([now]), {"mine": origin(CODE)}, [was]) == ([], {})


@pytest.mark.parametrize("pairs", UNLIKE.values(), ids=UNLIKE)
def test_a_record_of_code_that_was_changed_is_told_and_made_again(carried, tmp_path, pairs):
    now = stand(tmp_path, mine=changed(CODE, pairs)) / "mine.py"
    was = stand(tmp_path / "was", mine=CODE)
    told = ["mine seed 0"], {("mine", CHANGED): 1}
    assert carried(Registry([now]), {"mine": origin(CODE)}, [was]) == told


def test_a_file_that_is_as_it_was_needs_no_other(carried, tmp_path):
    now = stand(tmp_path, mine=CODE) / "mine.py"
    assert carried(Registry([now]), {"mine": origin(CODE)}) == ([], {})


def test_a_record_whose_code_is_nowhere_is_told_and_made_again(carried, tmp_path, results):
    now = stand(tmp_path, mine=CODE) / "mine.py"
    was = stand(tmp_path / "was" / ".hidden", mine=CODE + "# older\n").parent
    reason = "its file as it was is not here; --was FOLDER says where it is"
    origins = {"mine": origin(CODE + "# older\n")}
    todo, lost = carried(Registry([now]), origins, [was])
    assert (todo, lost) == (["mine seed 0"], {("mine", reason): 1})


def test_a_record_of_a_method_that_is_not_here_is_carried_over_and_told(results):
    path = put(results, RECOGNITION, plugins={"theirs": origin(CODE)}, recipe="theirs")
    done = migrate(installed(), results, [])
    assert (done.carried, dict(done.lost)) == (1, {("theirs", "it is not here"): 1})
    assert read(path).plugins["theirs"].source == hashed(CODE)


def test_each_record_of_a_method_is_of_the_code_that_made_it(carried, tmp_path, tiny, results):
    now = stand(tmp_path, mine=CODE) / "mine.py"
    older = stand(tmp_path / "was", mine=changed(CODE, UNLIKE["a number"]))
    registry = Registry([now])
    sources = [(older / "mine.py").read_text(), CODE, CODE]
    told = [
        carried(registry, {"mine": origin(text)}, [older], seed=seed)
        for seed, text in enumerate(sources)
    ]
    assert told == [(["mine seed 0"], {("mine", CHANGED): 1}), ([], {}), ([], {})]
    (results / "tiny" / "records" / "mine" / "seed-0.json").unlink()
    at_once = tmp_path / "at-once"
    for seed, text in enumerate(sources):
        put(at_once, RECOGNITION, plugins={"mine": origin(text)}, recipe="mine", seed=seed)
    assert dict(migrate(registry, at_once, [older]).lost) == {("mine", CHANGED): 1}


THEIRS = CODE.replace("Mine", "Theirs").replace("mine", "theirs")
THEIRS = THEIRS.replace(FROM, FROM + "from .tools import two\n")
TOOLS = "from theirs import deeper\n\n\ndef two():\n    return deeper.two()\n"
DEEPER = "def two():\n    return 2\n"


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A package that is installed, with a method that imports two files; and its origin."""
    discovery._places.cache_clear()  # another test had a package of this name
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))
    info = site / "theirs-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ltbench]\ntheirs = theirs.method\n")
    stand(site / "theirs", __init__="", method=THEIRS, tools=TOOLS, deeper=DEEPER)
    imported = hashed(repr(sorted([TOOLS, DEEPER])))
    yield site / "theirs", {"theirs": origin(THEIRS, "theirs", "1.0", imported=imported)}
    for name in ("theirs", "theirs.method", "theirs.tools", "theirs.deeper"):
        sys.modules.pop(name, None)


def test_imported_files_that_are_as_they_were_need_no_others(carried, theirs):
    assert carried(Registry(), theirs[1]) == ([], {})


def test_imported_files_may_say_the_same_in_other_words(carried, theirs, tmp_path):
    folder, origins = theirs
    was = stand(tmp_path / "was" / "theirs", method=THEIRS, tools=TOOLS, deeper=DEEPER).parent
    stand(folder, tools=f"'''Two.'''\n\n{TOOLS}", deeper=f"{DEEPER}# two\n")
    assert carried(Registry(), origins, [was]) == ([], {})


@pytest.mark.parametrize("name", ["tools", "deeper"])
def test_a_record_is_made_again_where_an_imported_file_changed(carried, theirs, tmp_path, name):
    folder, origins = theirs
    was = stand(tmp_path / "was" / "theirs", method=THEIRS, tools=TOOLS, deeper=DEEPER)
    stand(folder, **{name: (folder / f"{name}.py").read_text() + "\nTHREE = 3\n"})
    told = carried(Registry(), origins, [was])
    assert told == (["theirs seed 0"], {("theirs", CHANGED): 1})


def test_a_record_is_made_again_where_an_imported_file_is_not_as_it_was(carried, theirs, tmp_path):
    folder, origins = theirs
    stand(folder, tools=f"{TOOLS}\nTHREE = 3\n")
    was = stand(tmp_path / "was" / "theirs", method=THEIRS, tools=TOOLS)
    reason = "a file that it imports is not here as it was"
    told = carried(Registry(), origins, [was])
    assert told == (["theirs seed 0"], {("theirs", reason): 1})


def test_the_version_of_a_package_is_found_that_has_all_files_as_they_were(
    carried, theirs, tmp_path
):
    folder, origins = theirs
    files = {"method": THEIRS, "tools": TOOLS, "deeper": DEEPER}
    stand(folder, tools=f"{TOOLS}# two\n")
    other = stand(tmp_path / "a", **{**files, "tools": f"{TOOLS}# three\n"})
    right = stand(tmp_path / "b", **files)
    another = stand(tmp_path / "c", **{**files, "deeper": f"{DEEPER}# four\n"})
    assert carried(Registry(), origins, [other, right, another]) == ([], {})


def test_a_record_that_tells_of_no_imported_files_is_of_its_own_file_alone(
    carried, theirs, tmp_path
):
    folder, origins = theirs
    stand(folder, tools=f"{TOOLS}\nTHREE = 3\n")
    del origins["theirs"]["imported"]
    assert carried(Registry(), origins) == ([], {})


def test_lost_methods_are_told_in_a_line_each(ltbench, tmp_path, results):
    now = stand(tmp_path, mine=changed(CODE, UNLIKE["a number"])) / "mine.py"
    was = stand(tmp_path / "was", mine=CODE)
    for seed in range(3):
        put(results, RECOGNITION, plugins={"mine": origin(CODE)}, recipe="mine", seed=seed)
    done = ltbench("migrate", results, "--was", was, "--plugin", now)
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        f"{results}: 3 records carried over, 0 were",
        f"3 records of mine will be run again: {CHANGED}",
    ]


# Those who read records, and bad input


CELL = ["digits-lt", "-m", "sam(rho=0.8)", "--seeds", "4", "--results"]
READERS = {
    "run": ["run", *CELL],
    "dry run": ["run", "--dry-run", *CELL],
    "status": ["status", *CELL],
    "leaderboard": ["leaderboard", "digits-lt", "--results"],
    "test-agnostic": ["leaderboard", "digits-lt", "--test-agnostic", "--results"],
    "merge": ["merge", "--into", "all"],
    "show": ["show"],
}


@pytest.mark.parametrize("reader", READERS)
def test_who_reads_a_record_of_the_earlier_form_names_what_mends_it(results, ltbench, reader):
    path = put(results, RECOGNITION)
    before = path.read_bytes()
    done = ltbench(*READERS[reader], path if reader == "show" else results)
    assert done.exit_code == 2
    assert str(path) in done.stderr
    command = f"ltbench migrate {results}"
    assert f"it is of an earlier form; {command} carries it over" in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert path.read_bytes() == before
    assert ltbench(*shlex.split(command)[1:]).exit_code == 0
    assert isinstance(read(path), Record)


def test_the_table_of_tables_names_what_mends_its_records(results, ltbench):
    paths = [put(results, TABULAR, seed=seed) for seed in range(3)]
    done = ltbench("leaderboard", "tabular-embedded", "--results", results)
    assert done.exit_code == 2
    assert f"{paths[0]} is left in place, not counted: it is of an earlier form;" in done.stderr
    assert done.stderr.endswith("; so are 2 more\n")


def test_a_leaderboard_of_which_some_records_are_of_the_earlier_form_names_those(results, ltbench):
    put(results, RECOGNITION, seed=0)
    assert ltbench("migrate", results).exit_code == 0
    left = [put(results, RECOGNITION, seed=seed) for seed in (1, 2)]
    done = ltbench("leaderboard", "digits-lt", "--results", results)
    assert done.exit_code == 2
    assert "`sam(rho=0.8)`" in done.stdout
    for path, line in zip(left, done.stderr.splitlines(), strict=True):
        assert line.startswith(f"{path} is left in place, not counted: it is of an earlier form;")


@pytest.fixture
def there(tmp_path):
    """A folder of records, an empty one, and a file."""
    put(tmp_path / "results", RECOGNITION)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "nowhere holds no records; name the folder that --results named"),
        (["empty"], "empty holds no records; name the folder that --results named"),
        (["file"], "file holds no records; name the folder that --results named"),
        ([], "leaderboards holds no records; name the folder that --results named"),
        (["results/digits-lt"], "results/digits-lt holds no records; name the folder"),
        (["results", "--was", "nowhere"], "nowhere is no folder; name one with the files as they"),
        (["results", "--was", "file"], "file is no folder; name one with the files as they were"),
        (["results", "--plugin", "none.py"], "plugin file none.py does not exist"),
        (["results", "more"], "unexpected extra argument"),
    ],
)
def test_wrong_words_get_a_line_or_two_and_exit_code_2(there, ltbench, words, told):
    before = contents(there)
    done = ltbench("migrate", *words)
    assert done.exit_code == 2
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 4  # click repeats the usage in two
    assert contents(there) == before


def test_files_that_cannot_be_read_are_named_and_the_rest_goes_on(results, ltbench):
    path = put(results, RECOGNITION)
    folder, torn = path.with_name("seed-4.json"), path.with_name("seed-5.json")
    nowhere, text = path.with_name("seed-6.json"), path.with_name("seed-7.json")
    folder.mkdir()
    torn.write_bytes(path.read_bytes()[:200])
    nowhere.symlink_to("nowhere")
    text.write_bytes(b"\xff\xfe")
    done = ltbench("migrate", results)
    assert done.exit_code == 2
    assert done.stderr.splitlines()[2:] == [
        f"{folder} is left in place, not counted: it cannot be read (Is a directory)",
        f"{torn} is left in place, not counted: it is truncated or not JSON",
        f"{nowhere} is left in place, not counted: it cannot be read (No such file or directory)",
        f"{text} is left in place, not counted: it is truncated or not JSON",
    ]
    assert isinstance(read(path), Record)


def test_files_of_an_earlier_version_that_cannot_be_read_are_passed_over(carried, tmp_path):
    now = stand(tmp_path, mine=changed(CODE, ALIKE["a docstring"])) / "mine.py"
    was = stand(tmp_path / "was", mine=CODE)
    (was / "folder.py").mkdir()
    (was / "nowhere.py").symlink_to("nowhere")
    (was / "text.py").write_bytes(b"x = '\xff'")
    (was / "broken.py").write_text("def f(:")
    assert carried(Registry([now]), {"mine": origin(CODE)}, [was]) == ([], {})
