import subprocess
import sys

import pytest

from ltbench import LTBenchError
from ltbench.registry.families import BRANCHES, family
from ltbench.registry.listing import KINDS, lines
from ltbench.registry.registry import Registry

PROTOCOL = """
name = "{name}"
version = 1
base = "digits-lt"
description = "{description}"
"""
BRINGS_PROTOCOLS = """
from pathlib import Path
from ltbench import hookimpl

@hookimpl
def register_protocols(register):
    for file in sorted((Path(__file__).parent / "protocols").glob("*.toml")):
        register(file)
"""
NAMESAKE = """
from ltbench import Method, hookimpl

class Focal(Method):
    name = "focal2"

@hookimpl
def register_methods(register):
    register(Focal)
"""
BRINGS_AN_OBSERVER = """
from ltbench import Observer, hookimpl

class Log(Observer):
    \"\"\"{}.\"\"\"

@hookimpl
def register_observers(register):
    register("their-log", Log)
"""


def listed(kind):
    return [line[0] for line in lines(Registry(), kind)]


@pytest.fixture
def protocols(install):
    """A package with protocols; gives the folder of their files."""
    folder = install("their-protocols", BRINGS_PROTOCOLS).parent / "protocols"
    folder.mkdir()
    (folder / "first.toml").write_text(PROTOCOL.format(name="first", description="As it was"))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_listing_is_in_order_of_name_and_has_all(kind):
    names = listed(kind)
    assert names == sorted(names)
    assert set(names) == getattr(Registry(), kind)().keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_remembered_listing_loads_no_plugin(kind, monkeypatch):
    before = lines(Registry(), kind)
    monkeypatch.setattr(Registry, "_load", None)
    assert lines(Registry(), kind) == before


def test_remembered_listings_import_neither_torch_nor_pluggy():
    source = (
        "import sys\n"
        "from ltbench.commands.main import main\n"
        "main(['list'], standalone_mode=False)\n"
        "sys.exit(' '.join({'torch', 'numpy', 'pluggy', 'importlib.metadata'} & {*sys.modules}))"
    )
    calls = [sys.executable, "-c", source]
    subprocess.run(calls, capture_output=True)
    again = subprocess.run(calls, capture_output=True, text=True)
    assert again.stderr.strip() == ""


def test_a_protocol_that_was_changed_added_or_removed_is_noticed(protocols):
    def told():
        return [line for line in lines(Registry(), "protocols") if "-" not in line[0]]

    assert told() == [("first", "version 1", "As it was")]
    (protocols / "first.toml").write_text(PROTOCOL.format(name="first", description="As it is"))
    assert told() == [("first", "version 1", "As it is")]
    (protocols / "second.toml").write_text(PROTOCOL.format(name="second", description="New"))
    assert [line[0] for line in told()] == ["first", "second"]
    (protocols / "first.toml").unlink()
    assert [line[0] for line in told()] == ["second"]


def test_a_track_that_says_something_else_of_itself_is_noticed(install):
    source = """
        from ltbench import Measure, Protocol, Track, hookimpl

        class Counting(Protocol, frozen=True, kw_only=True, tag="counting"):
            pass

        class CountingTrack(Track[Counting]):
            \"\"\"{}.\"\"\"

            name = "counting"
            problem = Counting
            measures = (Measure("hits"),)

            def load(self, registry, protocol): ...
            def seconds(self, protocol, source, device): ...
            def run(self, protocol, recipe, seed, source, device): ...

        @hookimpl
        def register_tracks(register):
            register(CountingTrack())
    """
    file = install("their-track", source.format("Counts"))
    assert ("counting", "Counts.") in lines(Registry(), "tracks")
    file.write_text(file.read_text().replace("Counts", "Counts on"))
    sys.modules.pop("their_track")
    assert ("counting", "Counts on.") in lines(Registry(), "tracks")


def test_a_data_set_that_came_or_went_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path / "data"))
    assert "flowers" not in listed("datasets")
    (tmp_path / "data" / "flowers" / "train").mkdir(parents=True)
    assert "flowers" in listed("datasets")
    (tmp_path / "data" / "flowers" / "train").rmdir()
    assert "flowers" not in listed("datasets")
    (tmp_path / "data" / "flowers" / "train").mkdir()
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path / "elsewhere"))
    assert "flowers" not in listed("datasets")


def test_observers_are_told_without_loading_them_again(install, monkeypatch):
    file = install("their-log", BRINGS_AN_OBSERVER.format("Writes"))
    assert ("their-log", "Writes.") in lines(Registry(), "observers")
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "observers", None)
        assert ("their-log", "Writes.") in lines(Registry(), "observers")
    file.write_text("1 / 0  # register_observers")
    sys.modules.pop("their_log")
    assert "their-log" not in listed("observers")
    with pytest.raises(LTBenchError, match="left out: ZeroDivisionError"):
        lines(Registry(strict=True), "observers")


def test_single_files_of_one_text_are_told_apart_by_where_they_stand(tmp_path):
    for name in ("here", "there"):
        folder = tmp_path / name / "protocols"
        folder.mkdir(parents=True)
        (folder.parent / "brings.py").write_text(BRINGS_PROTOCOLS)
        (folder / "one.toml").write_text(PROTOCOL.format(name=f"from-{name}", description=name))
    for name in ("here", "there"):
        told = lines(Registry([tmp_path / name / "brings.py"]), "protocols")
        assert (f"from-{name}", "version 1", name) in told


def test_each_name_of_a_branch_is_a_method_and_of_no_other_branch():
    placed = [name for names in BRANCHES.values() for name in names.split()]
    assert len(placed) == len(set(placed))
    assert set(placed) <= set(Registry().methods())


@pytest.mark.parametrize("folder", ["contrast", "margins", "sampling", "stages"])
def test_what_the_survey_is_about_has_a_branch(folder):
    outlines = Registry().outlines()
    families = {family(plugin, one.name) for one, plugin in outlines if plugin.family == folder}
    assert families and families <= set(BRANCHES)


def test_what_others_bring_is_of_their_own_family(tmp_path):
    file = tmp_path / "focal.py"
    file.write_text(NAMESAKE)
    registry = Registry([file])
    assert family(registry.owner("focal2"), "focal") == "file"
