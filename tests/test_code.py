"""What a method's file says is told by its syntax tree alone, in every version of Python."""

import ast

import pytest

from ltbench.registry import code
from ltbench.registry.code import digest, digest_of, said
from ltbench.registry.discovery import imports, outlines
from ltbench.registry.registry import installed

SOURCE = '''"""Weights that fall with a class's share."""

import torch.nn.functional as F

from ltbench import Method, hookimpl
from ltbench_plugins.losses.weights import balanced, root as of_root

SCALE = -1.5e-3


class Weights(Method):
    """Rarer classes weigh more."""

    name = "weights"

    def __init__(self, power: float = 1.0, *, root: bool = False):
        self.power = power  # the paper's
        self.root = root

    def weight(self, labels, run):
        """The weight [N] of each row."""
        from math import inf

        shares = run.seen.clamp(max=inf) ** -self.power
        if self.root:
            shares = of_root(shares)
        elif not run.granted:
            return None
        run.note(f"{self.name}: {len(labels):>4} rows, {SCALE!r}")
        return {**balanced(shares), "all": [F.relu(share) for share in shares[1:]]}["all"][labels]


@hookimpl
def register_methods(register):
    register(Weights)
'''


def changed(*pairs):
    text = SOURCE
    for old, new in pairs:
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


def test_the_digest_is_the_same_in_every_version_of_python():
    assert digest(SOURCE) == "20b35f16555a8457"


SAME = {
    "another docstring of the module": [("that fall with", "that sink with")],
    "no docstring of the module": [('"""Weights that fall with a class\'s share."""\n', "")],
    "another docstring of a class": [("Rarer classes weigh more.", "More for the rare.\n\n    ")],
    "no docstring of a function": [('        """The weight [N] of each row."""\n', "")],
    "another comment": [("# the paper's", "# as in the paper")],
    "blank lines": [("\n\n\nclass", "\n\n\n\n\nclass")],
    "spacing and quotes": [('["all"]', "[ 'all' ]")],
    "lines": [("(self, labels, run)", "(\n        self,\n        labels,\n        run,\n    )")],
    "numbers spelled otherwise": [("-1.5e-3", "-0.0015")],
    "a moved module": [("ltbench_plugins.losses.weights", "ltbench_plugins.weights")],
    "a moved module, by its full name": [("torch.nn.functional as", "torch.functional as")],
    "a relative import": [("from ltbench_plugins.losses.weights", "from ..losses.weights")],
    "imports on lines of their own": [
        ("import balanced, root as of_root", "import balanced\nfrom .roots import root as of_root")
    ],
    "an import in another place": [
        ("        from math import inf\n\n", ""),
        ("\nSCALE", "from math import inf\n\nSCALE"),
    ],
}
OTHER = {
    "another number": [("-1.5e-3", "-1.5e-4")],
    "a number of another type": [("float = 1.0", "float = 1")],
    "another text": [('name = "weights"', 'name = "weight"')],
    "another default": [("root: bool = False", "root: bool = True")],
    "another annotation": [("root: bool", "root: int")],
    "another operator": [("** -self.power", "* -self.power")],
    "another sign": [("** -self.power", "** self.power")],
    "another order": [
        ("        self.power = power  # the paper's\n        self.root = root\n", ""),
        (
            "root: bool = False):\n",
            "root: bool = False):\n        self.root = root\n        self.power = power\n",
        ),
    ],
    "another name": [("shares[1:]", "share[1:]")],
    "another slice": [("shares[1:]", "shares[:1]")],
    "a whole slice": [("shares[1:]", "shares[:]")],
    "another attribute": [("run.seen", "run.counts")],
    "another grant": [("run.granted", "run.granted.ipc")],
    "nothing in the place of None": [("return None", "return")],
    "another condition": [("elif not run.granted", "elif run.granted")],
    "no condition": [("        elif not run.granted:\n            return None\n", "")],
    "another form of a number in a text": [(":>4}", ":>5}")],
    "another conversion in a text": [("{SCALE!r}", "{SCALE!s}")],
    "a keyword that may be given by place": [("*, root", "root")],
    "no decorator": [("@hookimpl\n", "")],
    "another base": [("(Method)", "(hookimpl)")],
    "another import": [("import balanced,", "import even,")],
    "another name for an import": [("root as of_root", "root as a_root")],
    "one import more": [("import Method, hookimpl", "import Method, Run, hookimpl")],
    "a statement more": [("        return {**", "        pass\n        return {**")],
    "a keyword more": [("max=inf", "max=inf, min=0")],
    "a function that waits": [("    def weight", "    async def weight")],
}


@pytest.mark.parametrize("pairs", SAME.values(), ids=SAME)
def test_what_says_the_same_has_the_same_digest(pairs):
    assert changed(*pairs) != SOURCE
    assert digest(changed(*pairs)) == digest(SOURCE)


def test_a_search_space_and_the_imports_for_it_alone_say_nothing_of_what_a_method_does():
    space = ('name = "weights"', 'name = "weights"\n    space = {"power": Uniform(0, 2)}')
    imports = ("import Method, hookimpl", "import Method, Uniform, hookimpl")
    typed = (space[0], space[1].replace("space =", "space: dict ="))
    assert digest(changed(space, imports)) == digest(SOURCE)
    assert digest(changed(typed, imports)) == digest(SOURCE)
    # what is used elsewhere as well still counts, and so does a function's own `space`
    used = ("class Weights(Method)", "class Weights(Uniform)")
    alone = digest(changed(used, imports))
    assert digest(changed(used, space, imports)) == alone != digest(SOURCE)
    assert digest(changed(("SCALE = -1.5e-3", "SCALE = -1.5e-3\nspace = {}"))) != digest(SOURCE)


@pytest.mark.parametrize("pairs", OTHER.values(), ids=OTHER)
def test_what_says_something_else_has_another_digest(pairs):
    ast.parse(changed(*pairs))
    assert digest(changed(*pairs)) != digest(SOURCE)


def test_all_changes_differ_from_each_other():
    assert len({digest(changed(*pairs)) for pairs in OTHER.values()}) == len(OTHER)


def test_empty_fields_that_other_versions_of_python_have_change_nothing():
    tree = ast.parse(SOURCE)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):  # as 3.12 has them, for generics
            node._fields = tuple(dict.fromkeys((*node._fields, "type_params", "later")))
            node.type_params = []
            node.later = None
    assert said(tree) == said(ast.parse(SOURCE))
    tree = ast.parse(SOURCE)
    for node in ast.walk(tree):
        for field, value in list(ast.iter_fields(node)):
            if value is None and not isinstance(node, ast.Constant):
                delattr(node, field)
    assert said(tree) == said(ast.parse(SOURCE))


def test_a_field_that_tells_something_is_not_left_out():
    tree = ast.parse(SOURCE)
    function = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    function._fields = tuple(dict.fromkeys((*function._fields, "type_params")))
    function.type_params = [ast.Name("T", ast.Load())]
    assert said(tree) != said(ast.parse(SOURCE))


@pytest.mark.parametrize(
    "values",
    [("0", "0.0", "False", "None", "''", "b''", "()", "[]", "{}", "...", "'None'", "''''''")],
)
def test_values_that_look_empty_are_told_apart(values):
    told = {digest(f"x = f({value})") for value in values if value != "''''''"}
    assert len(told) == len(values) - 1
    assert digest("x = f(None)") != digest("x = f()")
    assert digest("def f(a=None): return") != digest("def f(a): return")


def test_a_docstring_is_that_of_code_not_any_text():
    assert digest('x = """one"""') != digest('x = """two"""')
    assert digest("def f():\n    'one'\n    return 1") == digest("def f():\n    return 1")
    assert digest("def f():\n    return 1\n    'one'") != digest("def f():\n    return 1")


@pytest.mark.parametrize(
    "source",
    ["def f(:\n", "x = (", "\0", "x = " + "(" * 5000 + ")" * 5000, "x = " + "-" * 5000 + "1"],
    ids=["a colon", "a bracket", "a null", "brackets", "signs"],
)
def test_what_does_not_parse_or_is_nested_too_deeply_is_taken_letter_by_letter(source):
    assert digest(source) == digest(source)
    assert digest(source) != digest(source + "# more")


def test_letters_are_told_alike_by_every_version_of_python(monkeypatch):
    told = []
    monkeypatch.setattr(code, "ascii", lambda value: told.append(ascii(value)) or told[-1], False)
    digest("x = 'Matérn \U0001fae9'")
    assert told[0].isascii()
    assert digest("x = 'é'") != digest("x = 'è'")


def test_several_sources_have_one_digest_in_any_order():
    assert digest_of(["x = 1", "y = 2"]) == digest_of(["y = 2  # two", "x = 1"])
    assert digest_of(["x = 1", "y = 2"]) != digest_of(["x = 1"]) != digest_of([]) == ""
    assert digest_of(["x = 1"]) != digest("x = 1")


def test_what_tells_the_code_of_a_shipped_method_is_the_digest_of_its_file():
    installed().method("bic")
    plugin = installed().owner("bic")
    assert plugin.digest == digest(plugin.file.read_text(encoding="utf-8"))
    assert plugin.imported == digest_of(plugin.imported_sources) != ""


def test_a_plugin_that_cannot_be_read_as_code_is_outlined_as_nothing():
    for source in ("def f(:", "\0", "x = " + "-" * 5000 + "1"):
        assert outlines(source) == list(imports(source, "theirs.module", None)) == []
