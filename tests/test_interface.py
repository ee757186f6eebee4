"""Which plugins are served: by the version of the interface that they say they are written for."""

import pytest

from ltbench import LTBenchError
from ltbench.registry import interface
from ltbench.registry.interface import INTERFACE, unserved
from ltbench.registry.registry import Registry

CHANGES = {(1, 1): "call it so", (1, 2): "return that", (2, 0): "begin anew"}
STATED = 'LTBENCH_INTERFACE = "{}"\n'


def of(version, interface):
    return unserved(STATED.format(version), interface, CHANGES)


def test_a_module_that_says_nothing_or_the_present_version_is_served():
    assert unserved("import ltbench\n") == ""
    assert unserved(STATED.format("{}.{}".format(*INTERFACE))) == ""
    assert of("1.2", (1, 2)) == ""
    assert unserved('LTBENCH_INTERFACE: str = "1.2"  # since May\n', (1, 2), CHANGES) == ""


@pytest.mark.parametrize("asked", ["1.3", "2.0", "9999.0"])
def test_a_newer_one_is_refused_with_the_way_out(asked):
    with pytest.raises(LTBenchError, match=f"interface {asked}, but .* has 1.2; .* --upgrade"):
        of(asked, (1, 2))


def test_the_one_before_is_served_with_what_to_change():
    told = of("1.1", (1, 2))
    assert "1.1, which 1.2 still serves and the next will not; to change: return that" in told


@pytest.mark.parametrize(
    ("asked", "there", "told"),
    [("1.0", (1, 2), "call it so; return that"), ("1.2", (2, 0), "begin anew")],
)
def test_older_ones_are_refused_with_all_that_changed(asked, there, told):
    with pytest.raises(LTBenchError, match=f"no longer serves; to change: {told}"):
        of(asked, there)


@pytest.mark.parametrize("stated", ["1.0", '"1"', '"one"', "(1, 0)", "'1.0.0'", '"12345.0"'])
def test_what_is_no_version_is_refused(stated):
    with pytest.raises(LTBenchError, match="LTBENCH_INTERFACE is .*; say a version, as in"):
        unserved(f"LTBENCH_INTERFACE = {stated}\n")


def test_every_version_after_the_first_tells_what_to_change():
    major, minor = INTERFACE
    assert {(major, step) for step in range(1, minor + 1)} <= interface.CHANGES.keys()


def test_a_plugin_for_a_newer_ltbench_is_left_out_before_it_is_imported(install, method_source):
    install("newer", STATED.format("77.0") + "import what_only_that_has\n" + method_source("newer"))
    install("other", method_source("other"))
    registry = Registry()
    registry.load_all()
    (left_out,) = registry.left_out
    assert left_out.plugin.startswith("newer") and "asks for plugin interface 77.0" in str(left_out)
    assert "other" in registry.methods() and "newer" not in registry.methods()


def test_an_older_plugin_is_used_and_told_of(install, method_source, monkeypatch, capsys, ltbench):
    monkeypatch.setattr(
        "ltbench.registry.registry.unserved",
        lambda source: unserved(source, (1, 1), {(1, 1): "call it so"}),
    )
    install("older", STATED.format("1.0") + method_source("older"))
    registry = Registry()
    registry.load_all()
    assert "older" in registry.methods() and registry.left_out == []
    assert capsys.readouterr().err.count("still serves") == 1
    assert "  warning: it is written for plugin interface 1.0" in ltbench("plugins").output
