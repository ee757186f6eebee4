"""What packages and files bring is found, whatever stands beside it."""

import json
import os
import sys

import pytest

from ltbench import LTBenchError
from ltbench.registry.discovery import Outline, outlines
from ltbench.registry.registry import Registry

HEAD = "from typing import ClassVar\nfrom ltbench import Method, hookimpl\n"
TAIL = "\n@hookimpl\ndef register_methods(register):\n    register(Mine)\n"
BODY = "\n    def adjust(self, scores, labels, run):\n        return scores\n"


def source(line, tail=TAIL, head=HEAD):
    return f"{head}\nclass Mine(Method):\n    '''Mine.'''\n    {line}\n{BODY}{tail}"


READ = {
    "plain": "name = 'mine'",
    "annotated": "name: ClassVar[str] = 'mine'",
    "annotated by a text": "name: 'ClassVar[str]' = 'mine'",
    "in two parts": "name = 'mi' 'ne'",
    "twice": "name = 'other'; name = 'mine'",
    "two names": "title = name = 'mine'",
    "with more": "other: int; name = 'mine'; reference: str = 'arXiv:1'",
}
NOT_READ = {
    "a constant": source("name = NAME", head=f"NAME = 'mine'\n{HEAD}"),
    "a formatted text": source("name = f'{\"mine\"}'"),
    "added to": source("name = 'mi'; name += 'ne'"),
    "within a condition": source("if True:\n        name = 'mine'"),
    "set afterwards": source("name = 'other'", "\nMine.name = 'mine'" + TAIL),
    "decorated": source("name = 'other'")
    .replace("class Mine", "@named\nclass Mine")
    .replace(HEAD, HEAD + "def named(cls):\n    cls.name = 'mine'\n    return cls\n"),
    "in a loop": source(
        "name = 'mine'", TAIL.replace("register(Mine)", "[register(m) for m in [Mine]]")
    ),
    "called otherwise": source(
        "name = 'mine'",
        "\n@hookimpl(specname='register_methods')\ndef bring(register):\n    register(Mine)\n",
    ),
    "made by a function": source(
        "name = 'other'",
        TAIL.replace("register(Mine)", "register(type('M', (Mine,), {'name': 'mine'}))"),
    ),
    "another class of the name": source(
        "name = 'other'", "\nMine = type('M', (Mine,), {'name': 'mine'})" + TAIL
    ),
}


@pytest.mark.parametrize("line", READ.values(), ids=READ)
def test_a_name_that_stands_in_a_class_is_read_without_importing_it(line):
    (outline,) = outlines(source(line))
    assert (outline.name, outline.summary) == ("mine", "Mine.")


def test_what_a_class_inherits_within_its_file_is_read():
    more = (
        "\nclass Other(Mine):\n    '''Other.'''\n    name = 'other'\n"
        + TAIL
        + "    register(Other)\n"
    )
    found = outlines(source("name = 'mine'; reference = 'arXiv:1'", more))
    assert found == [Outline("mine", "arXiv:1", "Mine."), Outline("other", "arXiv:1", "Other.")]


@pytest.mark.parametrize("text", NOT_READ.values(), ids=NOT_READ)
def test_what_plain_reading_does_not_tell_is_found_by_importing_it(install, text):
    assert outlines(text) is None
    install("their-method", text)
    assert "mine" in {outline.name for outline, _ in Registry().outlines()}
    assert Registry().method("mine").name == "mine"


def test_methods_of_a_module_that_only_hands_them_over_are_found(install):
    site = install("their-method", source("name = 'mine'")).parent
    for name, line in (
        ("named", "from their_method import register_methods"),
        ("starred", "from their_method import *"),
    ):
        install(f"hands-{name}", line)
        (site / "their_method-1.0.dist-info" / "entry_points.txt").unlink(missing_ok=True)
        assert "mine" in {outline.name for outline, _ in Registry().outlines()}
        (site / f"hands_{name}-1.0.dist-info" / "entry_points.txt").unlink()


@pytest.mark.parametrize(
    "text",
    [
        source("name = 'mine'", tail=""),
        source("name = 'mine'", tail="\ndef register_methods(register):\n    register(Mine)\n"),
    ],
    ids=["never handed over", "no hook"],
)
def test_a_class_that_no_hook_registers_is_not_listed(text):
    assert outlines(text) == []


@pytest.mark.parametrize("line", [*READ.values()], ids=READ)
def test_a_single_file_is_listed_as_it_was_loaded(tmp_path, line):
    (tmp_path / "mine.py").write_text(source(line))
    registry = Registry([tmp_path / "mine.py"])
    assert "mine" in {outline.name for outline, _ in registry.outlines()}


@pytest.mark.parametrize(
    "content",
    [
        source("name = 'mine'").encode("utf-8-sig"),
        source("name = 'mine'").replace("\n", "\r\n").encode(),
        b"# -*- coding: latin-1 -*-\n"
        + source("name = 'mine'; reference = 'café'").encode("latin-1"),
    ],
    ids=["mark", "CRLF", "Latin-1"],
)
def test_a_source_is_read_in_the_encoding_that_python_reads_it_in(install, content):
    install("their-method", "").write_bytes(content)
    found = {outline.name: (outline, plugin) for outline, plugin in Registry().outlines()}
    outline, plugin = found["mine"]
    assert outline.reference in ("", "café")
    assert "class Mine" in plugin.source


def entry_points(install, package, text):
    """A package with a file of entry points of its own."""
    file = install(package, "")
    info = file.parent / f"{file.stem}-1.0.dist-info"
    info.joinpath("entry_points.txt").write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )
    return info


MALFORMED = [
    "[ltbench]\nno value\n",
    "[ltbench]\nbad = not a module at all!\n",
    "[ltbench]\nbad = \n",
    "[ltbench]\n= module\n",
    "[ltbench]\nbad = ..\n",
    "[ltbench]\nbad = \udce9\n".encode("utf-8", "surrogateescape"),
    "no section = at.all\n",
    "[console_scripts]\nno value\n[other]\n???\n",
    "[ltbench\nbad = module\n",
    b"\xff\xfe\x00\n",
    "[ltbench]\nbad = not_there\n",
    "[ltbench]\nbad = json:not_there\n",
]


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_entry_point_costs_its_own_rows(install, method_source, text):
    install("sound", method_source("sound"))
    entry_points(install, "damaged", text)
    registry = Registry()
    assert {"erm", "sound"} <= registry.methods().keys()
    assert {"erm", "sound"} <= {outline.name for outline, _ in registry.outlines()}
    for one in registry.left_out:
        assert one.package == "damaged"
        assert len(str(one).splitlines()) == 1


def test_a_malformed_entry_point_is_left_out_with_its_reason(install):
    entry_points(install, "damaged", "[ltbench]\nbad = not a module!\n")
    registry = Registry()
    registry.load_all()
    assert [str(one) for one in registry.left_out] == [
        "plugin 'bad' of damaged left out: its entry point 'not a module!' is malformed; "
        "it names a module"
    ]


def test_a_sound_entry_point_beside_malformed_ones_is_found(install, method_source):
    install("their-method", method_source("theirs"))
    entry_points(
        install,
        "mixed",
        "[console_scripts]\n???\n[ ltbench ]\n# a word\n; another\nno value\ngood=their_method\n",
    )
    registry = Registry()
    assert "theirs" in registry.methods()


@pytest.mark.parametrize("metadata", [None, b"", b"\xff\xfe", b"Name: \nVersion:\n", b"no colon"])
def test_a_package_whose_metadata_are_damaged_is_called_unknown(install, method_source, metadata):
    file = install("their-method", method_source("theirs"))
    told = file.parent / "their_method-1.0.dist-info" / "METADATA"
    told.unlink() if metadata is None else told.write_bytes(metadata)
    registry = Registry()
    assert "theirs" in registry.methods()
    assert registry.owner("theirs").package


def test_a_finder_that_raises_hides_no_module(install, method_source, monkeypatch):
    class Finder:
        def find_spec(self, *given):
            raise RuntimeError("no")

    install("their-method", method_source("theirs"))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert "theirs" in {outline.name for outline, _ in Registry().outlines()}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("reference = 3", "Mine.reference is 3, not a text"),
        ("roles = 'main'", "Mine.roles is 'main', not texts"),
        ("needs = 'ood'", "Mine.needs is 'ood', not texts"),
        ("needs = {3}", "Mine.needs is {3}, not texts"),
        ("models = None", "Mine.models is None, not texts"),
        ("corrects = ['prior']", "Mine.corrects is ['prior'], not a text or None"),
        ("expected_failures = ['a']", "Mine.expected_failures is ['a'], not a dict"),
        ("neutral = 0", "Mine.neutral is 0, not a dict or None"),
        ("def __init__(self, tau=float('nan')): self.tau = tau", "has nan as the default of tau"),
        ("def __init__(self, tau=float('inf')): self.tau = tau", "has inf as the default of tau"),
        (
            "def __init__(self, kind=len): self.kind = kind",
            "as the default of kind, which no record",
        ),
        ("def __init__(self, tau=1j): self.tau = tau", "has 1j as the default of tau"),
        ("def __init__(self, tau=1.0): self.tau = object()", "as the default of tau, which no"),
        ("def __init__(self, tau=1.0): raise KeyError('no')", "KeyError: 'no'"),
        ("def __init__(self, tau=1.0): raise Strange", "Strange: it cannot say what it is"),
    ],
)
def test_a_class_that_cannot_be_told_in_a_record_is_left_out_alone(install, line, reason):
    strange = "class Strange(Exception):\n    def __str__(self):\n        raise ValueError\n"
    other = "\nclass Sound(Method):\n    name = 'sound'\n" + TAIL + "    register(Sound)\n"
    install("their-method", source(f"name = 'mine'\n    {line}", other, head=HEAD + strange))
    registry = Registry()
    assert "sound" in registry.methods()
    assert "mine" not in registry.methods()
    assert [reason in one.reason for one in registry.left_out] == [True]


ODD = """
    __doc__ = 3

    def __init__(self, a: 1 / 2 = 1, b: "nowhere.Type" = 2.0, c: [int] = None, d: object = "x"):
        self.a, self.b, self.c, self.d = a, b, c, d
"""


def test_what_a_class_annotates_is_its_own_affair(install, ltbench):
    install("their-method", source(f"name = 'mine'\n{ODD}"))
    assert Registry().recipe("mine(a=2.0, b=3)").text == "mine(a=2, b=3.0)"
    told = json.loads(ltbench("list", "methods", "--json").stdout)
    mine = next(method for method in told if method["name"] == "mine")
    assert {name: one["default"] for name, one in mine["parameters"].items()} == {
        "a": 1,
        "b": 2.0,
        "c": None,
        "d": "x",
    }
    assert ltbench("info", "mine").exit_code == 0
    assert "mine" in ltbench("list", "methods").stdout


@pytest.mark.parametrize(
    "raised", ["KeyError()", "Strange()", "Exit()", "GeneratorExit()", "SystemExit('a\\nb')"]
)
def test_whatever_an_import_raises_leaves_its_plugin_out_in_a_line(install, method_source, raised):
    install("sound", method_source("sound"))
    install(
        "broken",
        f"""
        class Strange(Exception):
            def __str__(self):
                raise ValueError

        class Exit(BaseException):
            pass

        raise {raised}  # register_methods
        """,
    )
    registry = Registry()
    assert "sound" in registry.methods()
    assert [len(str(one).splitlines()) for one in registry.left_out] == [1]


def test_ctrl_c_at_an_import_is_ctrl_c(install):
    install("broken", "raise KeyboardInterrupt  # register_methods")
    with pytest.raises(KeyboardInterrupt):
        Registry().methods()


def test_a_plugin_file_may_be_named_in_another_encoding(tmp_path, method_source):
    path = tmp_path / os.fsdecode(b"caf\xe9.py")
    path.write_text(method_source("mine"))
    registry = Registry([path])
    assert registry.owner("mine").name == "café"
    assert "mine" in {outline.name for outline, _ in registry.outlines()}
    path.write_text("1 / 0")
    with pytest.raises(LTBenchError) as refusal:
        Registry([path])
    assert "café.py: ZeroDivisionError" in str(refusal.value)
    with pytest.raises(LTBenchError, match="café-2.py does not exist"):
        Registry([tmp_path / os.fsdecode(b"caf\xe9-2.py")])


def test_a_folder_of_modules_in_another_encoding_is_remembered_by_nobody(tmp_path, monkeypatch):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    assert "erm" in {outline.name for outline, _ in Registry().outlines()}


def test_a_home_may_be_written_for_a_plugin_file(tmp_path, monkeypatch, method_source):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text(method_source("mine"))
    assert Registry(["~/mine.py"]).method("mine").name == "mine"
