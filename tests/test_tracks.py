"""Tracks of others that are not as they should be: a line or two each, and the rest goes on."""

import pytest
from msgspec import structs

from ltbench import LTBenchError
from ltbench.registry.registry import Registry
from ltbench.results import records

SHIPPED = {
    *("bags", "clustering", "compression", "detection", "distillation", "domains", "federated"),
    *("finetuning", "incremental", "language", "multilabel", "recognition", "regression"),
    *("robust", "semi", "sequences", "tabular"),
}

COUNTING = '''
from ltbench import Measure, Method, Outcome, Protocol, Track, hookimpl

class Counting(Protocol, frozen=True, kw_only=True, tag="counting"):
    upto: int

class CountingTrack(Track[Counting]):
    """How far one can count."""

    name = "counting"
    problem = Counting
    measures = (Measure("hits"), Measure("misses", better="lower"))

    def load(self, registry, protocol):
        return {"": "fingers"}

    def seconds(self, protocol, source, device):
        return 0.0

    def run(self, protocol, recipe, seed, source, device):
        return Outcome({"hits": 0.5 + seed / 10, "misses": 0.5 - seed / 10})

@hookimpl
def register_tracks(register):
    register(CountingTrack())
'''

PROTOCOL = """
name = "to-three"
version = 1
track = "counting"
description = "One, two, three."
recipes = ["erm"]
seeds = 2
upto = 3
compute = {threads = 1}
"""

REGISTER = """
from pathlib import Path

@hookimpl
def register_protocols(register):
    for name in NAMES:
        register(Path(__file__).parent / name)
"""


@pytest.fixture
def protocol(tmp_path):
    """Writes the protocol, changed, beside what is installed; gives its path."""

    def write(old="", new="", name="to-three.toml"):
        path = tmp_path / "site" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(PROTOCOL.replace(old, new) if old else PROTOCOL)
        return path

    return write


def registers(*names):
    return REGISTER.replace("NAMES", repr(names))


def left_out(registry):
    registry.load_all()
    return {one.package: one.reason for one in registry.left_out}


def test_a_track_comes_in_by_a_package(install, protocol):
    install("their-track", COUNTING + registers("to-three.toml"))
    protocol()
    registry = Registry(strict=True)
    assert registry.tracks().keys() == {*SHIPPED, "counting"}
    assert registry.protocol("to-three").upto == 3
    assert registry.track_of("to-three") == "counting"


MEASURES = 'measures = (Measure("hits"), Measure("misses", better="lower"))'


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("def load(", "def lead(", "track counting lacks load"),
        ("def seconds(", "def minutes(", "track counting lacks seconds"),
        ("def run(", "def walk(", "track counting lacks run"),
        ("def run(", "def divide(", "track counting lacks answer"),
        (
            "    problem = Counting\n",
            "",
            "track counting lacks problem, a subclass of ltbench.Protocol",
        ),
        (
            "problem = Counting",
            "problem = Counting, Protocol",
            "track counting lacks problem, a subclass of ltbench.Protocol",
        ),
        (
            'tag="counting"',
            'tag="tallying"',
            "the problem of track counting is tagged 'tallying'; say tag='counting'",
        ),
        (
            'name = "counting"',
            'name = "Counting"',
            "CountingTrack.name is 'Counting'; a name looks like 'multi-label'",
        ),
        (
            "    problem = Counting",
            "    problem = Counting\n    hooks = int",
            "hooks of track counting is <class 'int'>, not a subclass of ltbench.Method",
        ),
        (MEASURES, "", "track counting declares no measures"),
        (
            MEASURES,
            'measures = (Measure("hits"), Measure("hits", better="lower"))',
            "track counting declares the measure 'hits' twice",
        ),
        *(
            (
                MEASURES,
                f'measures = (Measure("hits"), Measure("{name}"))',
                f"track counting calls a measure {name!r}, which boards call a column",
            )
            for name in ("rank", "recipe", "cost", "work", "failed", "hits_low", "delta_high")
        ),
        (
            MEASURES,
            'measures = (Measure("hits", table="third"),)',
            "track counting puts the measure 'hits' into a table 'third', which it lacks",
        ),
        (
            "upto: int",
            "upto: list[int] | set[int]",
            "the problem of track counting is no schema: Type unions may not contain more than one",
        ),
        (
            "upto: int",
            'upto: "Number"',
            "the problem of track counting is no schema: name 'Number' is not defined",
        ),
        ('tag="counting"', "tag=[3]", "TypeError: "),
        ("from ltbench", "1 / 0\nfrom ltbench", "ZeroDivisionError: division by zero (line 2)"),
        ("    register(", "    1 / 0\n    register(", "ZeroDivisionError: division by zero (line"),
        ("from ltbench", "import not_there\nfrom ltbench", "ModuleNotFoundError: No module named"),
        (
            "register(CountingTrack())",
            "register(CountingTrack)",
            "is not an instance of a subclass of ltbench.Track",
        ),
        ("register(CountingTrack())", "register('counting')", "'counting' is not an instance of a"),
    ],
)
def test_a_broken_track_is_left_out_with_its_reason(install, method_source, old, new, reason):
    assert old in COUNTING
    install("broken-track", COUNTING.replace(old, new, 1))
    install("sound-track", COUNTING.replace("counting", "sounding"))
    install("sound-method", method_source("sound"))
    registry = Registry()
    told = left_out(registry)
    assert told.keys() == {"broken-track"}
    assert reason in told["broken-track"]
    assert "\n" not in told["broken-track"]
    assert registry.tracks().keys() == {*SHIPPED, "sounding"}
    assert "sound" in registry.methods()


def test_of_two_tracks_of_one_name_the_first_package_brings_it(install, method_source):
    install("package-b", COUNTING.replace("How far", "B: how far") + method_source("method-b"))
    install("package-a", COUNTING.replace("How far", "A: how far"))
    registry = Registry()
    registry.method("method-b")  # which loads the second package first
    assert registry.track("counting").__doc__ == "A: how far one can count."
    assert left_out(registry) == {"package-b": "the track 'counting' is taken"}


def test_the_name_of_a_shipped_track_is_taken(install):
    install("their-track", COUNTING.replace('"counting"', '"recognition"'))
    registry = Registry()
    assert left_out(registry) == {"their-track": "the track 'recognition' is built in"}
    assert type(registry.track("recognition")).__module__.startswith("ltbench.")


def test_a_protocol_of_a_track_that_is_not_here_is_refused_with_the_nearest(protocol):
    file = protocol('track = "counting"', 'track = "recogniton"')
    with pytest.raises(LTBenchError) as refusal:
        Registry().protocol(file)
    assert str(refusal.value) == (
        f"protocol {file}: unknown track 'recogniton'; did you mean 'recognition' or 'regression'? "
        "(ltbench list tracks shows all 17)"
    )


def test_a_protocol_tells_which_plugin_would_bring_its_track(install, protocol):
    install("counting", "import fingers  # register_tracks")
    with pytest.raises(LTBenchError) as refusal:
        Registry().protocol(protocol())
    first, second = str(refusal.value).splitlines()
    assert "unknown track 'counting'" in first
    assert second == (
        "plugin 'counting' of counting left out: "
        "ModuleNotFoundError: No module named 'fingers' (line 1)"
    )


def test_a_protocol_tells_why_its_track_was_left_out(install, protocol):
    install("their-track", COUNTING.replace("def run(", "def walk("))
    with pytest.raises(LTBenchError) as refusal:
        Registry().protocol(protocol())
    assert str(refusal.value).splitlines()[1:] == [
        "plugin 'their-track' of their-track left out: track counting lacks run"
    ]


def test_a_protocol_tells_that_plugins_were_left_out(install, protocol):
    install("their-tracks", "1 / 0  # register_tracks")
    with pytest.raises(LTBenchError) as refusal:
        Registry().protocol(protocol())
    assert str(refusal.value).splitlines()[1:] == ["plugins left out: 1; ltbench plugins tells why"]


@pytest.mark.parametrize(
    ("track", "told"),
    [("", "key track is missing"), ("track = 3", "track is 3, not a text")],
)
def test_a_protocol_without_a_track_is_refused(protocol, track, told):
    file = protocol('track = "counting"', track)
    with pytest.raises(LTBenchError) as refusal:
        Registry().protocol(file)
    assert str(refusal.value) == f"protocol {file}: {told}"


def test_protocols_that_cannot_be_read_cost_a_package_those_alone(install, protocol):
    bad = protocol('track = "counting"', 'track = "tallying"', "bad.toml")
    worse = protocol('track = "counting"', "", "worse.toml")
    protocol()
    install("their-track", COUNTING + registers("bad.toml", "worse.toml", "to-three.toml"))
    registry = Registry()
    registry.load_all()
    assert [one.reason for one in registry.left_out] == [
        f"protocol {bad}: unknown track 'tallying' (ltbench list tracks shows all 18)",
        f"protocol {worse}: key track is missing",
    ]
    assert registry.protocol("to-three").upto == 3
    assert len(registry.protocols()) > 100


@pytest.fixture
def file(tmp_path, protocol):
    """A single file that brings the track and a protocol."""
    protocol()
    path = tmp_path / "site" / "counting.py"
    path.write_text(COUNTING + registers("to-three.toml"))
    return path


def test_a_single_file_brings_a_track_and_a_protocol(ltbench, file, tmp_path):
    done = ltbench("run", "to-three", "--plugin", file, "--results", "results")
    assert done.exit_code == 0, done.output
    assert "hits" in done.output
    kept = list(records.read_all(tmp_path / "results", "to-three"))
    assert [record.measures["hits"] for record in kept] == [0.5, 0.6]
    assert "How far one can count." in ltbench("list", "tracks", "--plugin", file).output
    assert "to-three" in ltbench("list", "protocols", "--plugin", file).output
    assert "to-three" not in ltbench("list", "protocols").output


def test_a_single_file_is_not_blamed_for_a_broken_package(install, file):
    install("broken-track", COUNTING.replace("counting", "tallying").replace("def run(", "def r("))
    registry = Registry([file])
    assert registry.protocol("to-three").track == "counting"
    assert left_out(registry) == {"broken-track": "track tallying lacks run"}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("def run(", "def walk(", "track counting lacks run"),
        ('"counting"', '"recognition"', "the track 'recognition' is built in"),
        ("to-three.toml", "none.toml", "none.toml cannot be read"),
    ],
)
def test_a_single_file_with_a_broken_track_is_an_error(file, old, new, told):
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(LTBenchError) as refusal:
        Registry([file])
    assert str(refusal.value).startswith(f"plugin file {file}: ")
    assert told in str(refusal.value)


@pytest.fixture
def results(ltbench, file, tmp_path):
    """The results of a run of the single file's protocol."""
    ltbench("run", "to-three", "--plugin", file, "--results", "results")
    return tmp_path / "results"


def test_records_of_a_track_that_is_not_here_are_left_in_place(ltbench, results):
    before = {path: path.read_bytes() for path in results.rglob("*.json")}
    assert len(before) == 2
    done = ltbench("leaderboard", "to-three", "--results", results)
    assert done.exit_code == 2
    assert "unknown protocol 'to-three'" in done.output
    assert (
        f"{results}/to-three holds records of track counting, which is not here; "
        "they are left in place"
    ) in done.output
    assert {path: path.read_bytes() for path in results.rglob("*.json")} == before


def test_a_record_of_another_track_is_told_and_not_aggregated(ltbench, results, file):
    (first, _) = records.read_all(results, "to-three")
    foreign = structs.replace(first, track="tallying", hash="0" * 16, seed=7)
    records.write(results, foreign, None)
    path = records.place_of(results, foreign)
    done = ltbench("leaderboard", "to-three", "--plugin", file, "--results", results)
    assert done.exit_code == 2
    assert "2 ok" in done.stdout
    assert done.stderr == (
        f"{path} is left in place, not counted: it is a record of track tallying, not of counting\n"
    )
    assert path.exists()
