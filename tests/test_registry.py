import pytest

from ltbench import LTBenchError
from ltbench.registry.discovery import outlines
from ltbench.registry.registry import Registry


def reasons(registry):
    registry.load_all()
    return {left_out.plugin: left_out.reason for left_out in registry.left_out}


def test_built_in_methods_are_found_by_entry_points():
    registry = Registry()
    assert {"erm", "ldam", "drw", "logit-adjustment", "sam", "crt"} <= registry.methods().keys()
    assert registry.left_out == []
    assert registry.owner("ldam").built_in
    assert registry.owner("drw").name == "class-weights"


def test_plain_reading_finds_the_same_methods_as_importing():
    registry = Registry()
    read = {outline.name: outline for outline, _ in registry.outlines()}
    assert read.keys() == registry.methods().keys()
    for name, method in registry.methods().items():
        assert read[name].reference == method.reference
        assert read[name].summary == method.__doc__.partition("\n")[0]


def test_a_source_that_cannot_be_parsed_has_no_outline():
    assert outlines("def (") == []
    assert outlines("class A: name = f'x'") == []


def test_a_strangers_package_is_found(install, method_source):
    install("their-method", method_source("theirs"), version="2.3")
    registry = Registry()
    assert registry.recipe("theirs(strength=2)+ldam").text == "ldam+theirs(strength=2.0)"
    plugin = registry.owner("theirs")
    assert (plugin.package, plugin.version, plugin.built_in) == ("their-method", "2.3", False)


def test_an_unknown_data_set_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    told = (
        f"unknown data set 'cifar1'; did you mean .* \\(nor is it in {tmp_path}; set LTBENCH_DATA"
    )
    with pytest.raises(LTBenchError, match=told):
        Registry().dataset("cifar1")


def methods():
    return {outline.name for outline, _ in Registry().outlines()}


def test_what_is_installed_is_remembered_until_it_changes(install, method_source, monkeypatch):
    source = install("their-method", method_source("theirs"))
    entry_points = source.with_name("their_method-1.0.dist-info") / "entry_points.txt"
    assert "theirs" in methods()
    with monkeypatch.context() as patch:
        patch.setattr("importlib.metadata.entry_points", None)  # asked no more
        assert "theirs" in methods()
    install("another", method_source("other"))
    assert {"theirs", "other"} <= methods()
    moved = source.with_name("moved.py")
    source.rename(moved)
    entry_points.write_text("[ltbench]\ntheir-method = moved\n")
    assert "theirs" in methods()
    entry_points.unlink()
    assert "theirs" not in methods()
    assert "other" in methods()


def test_a_module_that_became_a_package_is_found_again(install, method_source):
    source = install("their-method", method_source("theirs"))
    assert "theirs" in methods()
    package = source.with_suffix("")
    package.mkdir()
    source.rename(package / "__init__.py")
    assert "theirs" in methods()


def test_looking_up_one_method_imports_no_other_plugin(install, method_source):
    install("their-method", method_source("theirs"))
    install("loud", "raise RuntimeError('imported')")
    registry = Registry()
    registry.method("theirs")
    assert registry.left_out == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero (line 1)"),
        ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
        ("def (", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("x = 1", "it has no function marked @hookimpl"),
        (
            "from ltbench import hookimpl\n@hookimpl\ndef register_method(register): pass",
            "hook 'register_method' is unknown; did you mean 'register_methods'",
        ),
        (
            "from ltbench import hookimpl\n@hookimpl\ndef register_methods(registrar): pass",
            "PluginValidationError",
        ),
        (
            "from ltbench import hookimpl\n@hookimpl\ndef register_methods(register): register(3)",
            "3 is not a subclass of ltbench.Method",
        ),
        (
            "from ltbench import Method, hookimpl\nclass A(Method):\n    name = 'My Method'\n"
            "@hookimpl\ndef register_methods(register): register(A)",
            "A.name is 'My Method'; a name looks like 'logit-adjustment'",
        ),
        (
            "from ltbench import Method, hookimpl\nclass A(Method):\n    name = 'a'\n"
            "    def adjsut(self, scores, labels, run): return scores\n"
            "@hookimpl\ndef register_methods(register): register(A)",
            "A overrides no hook; did you mean 'adjust' by 'adjsut'?",
        ),
        (
            "from ltbench import Method, hookimpl\nclass A(Method):\n    name = 'a'\n"
            "    def __init__(self, tau): self.tau = tau\n"
            "@hookimpl\ndef register_methods(register): register(A)",
            "A() cannot be made without arguments",
        ),
        (
            "from ltbench import Method, hookimpl\nclass A(Method):\n    name = 'a'\n"
            "    def __init__(self, tau=1.0): self.t = tau\n"
            "@hookimpl\ndef register_methods(register): register(A)",
            "A does not store its parameter as self.tau",
        ),
        (
            "from ltbench import hookimpl\n@hookimpl\n"
            "def register_protocols(register): register('none.toml')",
            "protocol none.toml cannot be read",
        ),
    ],
)
def test_a_broken_plugin_is_left_out_with_its_reason(install, method_source, source, reason):
    install("broken", source)
    install("sound", method_source("sound"))
    registry = Registry()
    assert reason in reasons(registry)["broken"]
    assert {"erm", "sound"} <= registry.methods().keys()
    assert "\n" not in reasons(registry)["broken"]


def test_a_built_in_name_always_wins(install, method_source):
    install("shady-crt", method_source("crt"))
    install("shady-too", method_source("theirs") + method_source("ldam", "Other"))
    registry = Registry()
    assert registry.method("crt").__module__.endswith(".crt")
    registry.load_all()
    assert "theirs" not in registry.methods()  # its hook was defined again below
    assert str(registry.left_out[0]) == (
        "plugin 'shady-crt' of shady-crt left out: the name 'crt' is built in"
    )
    assert reasons(registry)["shady-too"] == "the name 'ldam' is built in"
    assert registry.method("ldam").__module__.endswith(".ldam")


def test_a_taken_name_goes_to_the_first_package_by_name(install, method_source):
    install("package-b", method_source("theirs"))
    install("package-a", method_source("theirs"))
    registry = Registry()
    registry.load_all()
    assert registry.owner("theirs").package == "package-a"
    assert reasons(registry) == {"package-b": "the name 'theirs' is taken"}


def test_a_built_in_name_wins_even_if_the_stranger_is_looked_up_first(install, method_source):
    two = method_source("theirs").replace("register(Mine)", "register(Mine)\n    register(Crt)")
    install("shady", "from ltbench import Method\nclass Crt(Method):\n    name = 'crt'\n" + two)
    registry = Registry()
    registry.method("theirs")
    assert registry.method("crt").__module__.endswith(".crt")


def test_strict_makes_a_broken_plugin_an_error(install):
    install("broken", "1 / 0")
    with pytest.raises(LTBenchError, match="plugin 'broken' of broken left out: ZeroDivisionError"):
        Registry(strict=True).load_all()


def test_a_single_file_is_a_plugin(tmp_path, method_source):
    path = tmp_path / "mine.py"
    path.write_text(method_source("mine"))
    registry = Registry([path])
    assert registry.recipe("mine").text == "mine"
    assert registry.owner("mine").package == "file"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero (line 1)"),
        ("x = 1", "no function marked @hookimpl"),
    ],
)
def test_a_single_file_that_is_broken_is_an_error(tmp_path, source, words):
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(LTBenchError) as refusal:
        Registry([path])
    assert words in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_a_single_file_may_not_take_a_built_in_name(tmp_path, method_source):
    path = tmp_path / "mine.py"
    path.write_text(method_source("ldam"))
    with pytest.raises(LTBenchError, match="the name 'ldam' is built in"):
        Registry([path])


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(LTBenchError, match="does not exist"):
        Registry([tmp_path / "none.py"])


def test_an_unknown_method_may_be_that_of_a_plugin_left_out(install):
    install("their-method", "1 / 0")
    with pytest.raises(LTBenchError) as refusal:
        Registry().method("their-method")
    assert "unknown method 'their-method'" in str(refusal.value)
    assert "plugin 'their-method' of their-method left out: ZeroDiv" in str(refusal.value)


def test_an_unknown_method_is_refused_with_the_nearest():
    with pytest.raises(LTBenchError) as refusal:
        Registry().method("lda")
    assert "unknown method 'lda'; did you mean 'ldam'" in str(refusal.value)
    assert "ltbench list methods shows all" in str(refusal.value)


def test_each_plugin_tells_all_that_it_provides_though_kinds_share_a_name(install, method_source):
    install("their-method", method_source("json"))
    registry = Registry()
    registry.load_all()
    for package in ("their-method", "ltbench"):
        owners = [p for p in registry.plugins if p.package == package]
        assert "json" in [name for plugin in owners for name in registry.provided_by(plugin)]
    assert registry.left_out == []
