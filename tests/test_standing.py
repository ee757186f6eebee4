import json

import pytest

from ltbench.registry.registry import Registry
from ltbench.running.cell_locks import Claims
from ltbench.running.execute import execute
from ltbench.running.plan import plan
from ltbench.running.standing import standing_of

BAD = """
from ltbench import Method, hookimpl

class Bad(Method):
    '''Fails.'''
    name = "bad"

    def build(self, model, run):
        raise RuntimeError("as always")

@hookimpl
def register_methods(register):
    register(Bad)
"""


@pytest.fixture
def with_bad(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text(BAD)
    return Registry([path])


def test_status_tells_what_is_done_running_to_be_tried_again_and_left(tiny, tmp_path, with_bad):
    results = tmp_path / "results"

    def planned(seeds):
        return plan(with_bad, tiny, ["erm", "bad"], seeds, results)

    list(execute(planned(1)))
    third = planned(3)
    other = Claims(results, "tiny")
    assert other.take(next(cell for cell in third.todo if cell.recipe.text == "erm"))
    found = standing_of(third, jobs=2)
    assert (found.cells, found.done, found.left) == (6, {"ok": 1}, 4)
    assert found.running == ["erm seed 1"]
    assert list(found.faults) == ["bad seed 0"]
    assert found.faults["bad seed 0"].startswith("failed: RuntimeError: as always")
    assert 0 < found.seconds < 60


def test_status_is_printed(tiny, ltbench):
    ltbench("run", tiny, "--seeds", 1, "--jobs", 1)
    told = ltbench("status", tiny).stdout
    assert told.splitlines()[0] == "tiny: 4 cells; done: 2 ok; left: 2"
    assert "about 0 s left" in told
    assert json.loads(ltbench("status", tiny, "--json").stdout)["left"] == 2
