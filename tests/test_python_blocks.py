"""The Python blocks of the documents: each is run, and does what the text around it says."""

import inspect
import re
from pathlib import Path

import pandas
import pytest
import torch
from msgspec import structs

import ltbench
from ltbench.contract.method import declared
from ltbench.contract.parts import LEARNERS
from ltbench.contract.spaces import unsound
from ltbench.registry.interface import unserved
from ltbench.registry.registry import Registry, installed
from ltbench.tracks.recognition.checks import small

ROOT = Path(__file__).parent.parent
PAGES = (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/*.md"))
PUBLIC = {name: getattr(ltbench, name) for name in ltbench.__all__}
"""What a piece of a file may use without saying where it is from."""


def blocks():
    """Each block with the page that it stands on."""
    for page in sorted(PAGES):
        for code in re.findall(r"```python.*?\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            yield page.relative_to(ROOT).as_posix(), code


def run(code, **names):
    """What a block defines, with further names that it uses."""
    namespace = {**PUBLIC, **names, "__name__": "block"}
    exec(compile(code, "block", "exec"), namespace)
    return namespace


def written(folder, code, name="mine.py"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    return path


def used_from_python(code, folder, request):
    class Mine(ltbench.Method):
        name = "mine"

        def __init__(self, tau: float = 1.0):
            self.tau = tau

        def adjust(self, scores, labels, run):
            return scores + self.tau * run.seen.log()

    # two seeds do as well as three
    found = run(code.replace("seeds=3", "seeds=2").replace('"digits-lt", [Mine', "tiny, [Mine"),
                Mine=Mine, tiny=str(request.getfixturevalue("tiny")))  # fmt: skip
    assert [record.recipe for record in found["records"]][::2] == ["erm", "mine", "mine(tau=2.0)"]
    assert isinstance(found["table"], pandas.DataFrame)
    assert set(found["cells"]["recipe"]) == {"erm", "ldam+drw"}
    assert found["recipe"].text == "ldam+drw+sam(rho=0.8)"
    assert found["protocol"].name == "digits-lt"


def a_method_as_it_is_shipped(code, folder, request):
    shown = run(code)["LogitAdjustment"]
    ours = installed().method("logit-adjustment")
    scores, labels = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([0, 1])
    losses = [ltbench_loss(one(tau=0.5), scores, labels) for one in (shown, ours)]
    assert torch.equal(*losses)


def ltbench_loss(method, scores, labels):
    from ltbench.testing import probe_loss

    return probe_loss(method, scores, labels, (9, 1))


def a_first_method(code, folder, request):
    assert "power-weights" in Registry([written(folder, code)]).methods()


def a_test_of_a_formula(code, folder, request):
    (method,) = (c for _, c in blocks() if "class PowerWeights" in c)
    written(folder, method, "plugins/losses/power_weights.py")
    run(code)["test_rows_are_weighed_by_the_root_of_how_rare_their_class_is"]()


def parts_of_a_problem(code, folder, request):
    registry = Registry([written(folder, code)])
    measures = registry.track("recognition").measures
    try:
        assert LEARNERS.parts["naive-bayes"].options == {"var_smoothing": 1e-6}
        assert "wrong" in {measure.name for measure in measures}
    finally:
        LEARNERS.parts.pop("naive-bayes")


def a_second_network(code, folder, request):  # tests/test_toolbox.py has it checked
    assert "averaged" in Registry([written(folder, code)]).methods()


def checks_as_tests(code, folder, request):
    call = request.getfixturevalue("ltbench")
    assert call("new", "method", "soft-margins", "--into", folder / "new").exit_code == 0
    source = (folder / "new" / "soft_margins.py").read_text(encoding="utf-8")
    request.getfixturevalue("install")("soft-margins-package", source)
    installed.cache_clear()
    try:
        (mark,) = run(code)["test_checks"].pytestmark
    finally:
        installed.cache_clear()
    assert {given.values[0].text for given in mark.args[1]} == {"soft-margins", "soft-margins+drw"}
    method, check = mark.args[1][0].values
    run(code.partition("@")[2].partition("\n")[2])["test_checks"](method, check)


def a_test_of_a_track(code, folder, request):
    marked = request.getfixturevalue("marked_task")
    protocol = small(marked.dataset)
    data = structs.replace(protocol.data, test_per_class=None)
    names = {"protocol": structs.replace(protocol, data=data), "device": torch.device("cpu")}
    found = run(code, track=installed().track("recognition"), **names)
    found["test_rows_to_test_on_reach_no_hook"](marked)


def a_version_of_the_interface(code, folder, request):
    assert run(code)["LTBENCH_INTERFACE"] == "1.0"
    assert unserved(code) == ""


def a_hook_of_a_track(code, folder, request):
    contract = installed().track("incremental").hooks
    assert inspect.signature(run(code)["remember"]).parameters.keys() == (
        inspect.signature(contract.remember).parameters.keys()
    )


def an_observer(code, folder, request):
    assert "bell" in Registry([written(folder, code)]).observers()


def a_contract_with_a_hook_of_its_own(code, folder, request):
    found = run(code, mean_of=None)["Rounds"]
    assert declared(found)["aggregate"].decides == "sum up the rounds"


def a_space(code, folder, request):
    found = run(code)["LDAM"]
    assert unsound(found) is None
    assert repr(found.space) == repr({"max_margin": ltbench.Uniform(0.1, 1.0)})


KNOWN = {
    "ltbench.run(": used_from_python,
    "class LogitAdjustment": a_method_as_it_is_shipped,
    "class PowerWeights": a_first_method,
    "probe_loss(power_weights": a_test_of_a_formula,
    "register_learners": parts_of_a_problem,
    "class Averaged": a_second_network,
    "parametrize_with_checks": checks_as_tests,
    "marked_task": a_test_of_a_track,
    "LTBENCH_INTERFACE": a_version_of_the_interface,
    "def remember": a_hook_of_a_track,
    "class Bell": an_observer,
    "class Rounds": a_contract_with_a_hook_of_its_own,
    "class LDAM": a_space,
}
"""What runs a block, by words that stand in it."""


@pytest.mark.parametrize(("page", "code"), [*blocks()])
def test_a_block_runs_and_does_what_is_said(page, code, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    (does,) = (does for words, does in KNOWN.items() if words in code)
    does(code, tmp_path, request)


def test_there_is_nothing_here_for_blocks_that_are_gone():
    assert [words for words in KNOWN if not any(words in code for _, code in blocks())] == []
