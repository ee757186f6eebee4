"""What a plugin's import changes around it is put back, or told."""

import os
import random
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ltbench import LTBenchError
from ltbench.registry.registry import Registry
from ltbench.registry.surroundings import put_back
from ltbench.running import plan  # noqa: F401, so that it is there to be changed
from ltbench.scoring import metrics  # noqa: F401


def state():
    """What the rows of others hang on."""
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    scores = torch.nn.Linear(4, 3)(torch.randn(5, 4))
    return (
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch._C._len_torch_function_stack(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        F.cross_entropy(scores, torch.tensor([0, 1, 2, 0, 1])).item(),
        (torch.full((1,), 1e-40) * 1).item(),
        np.random.rand(),
        np.geterr(),
        random.random(),
        list(warnings.filters),
        os.getcwd(),
        {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        signal.getsignal(signal.SIGINT),
        sys.getrecursionlimit(),
        sys.stdout,
        sys.excepthook,
    )


SWITCHES = [
    "torch.set_default_dtype(torch.float64)",
    "torch.set_default_device('meta')",
    "torch.set_default_device('cpu')",
    "torch.overrides.TorchFunctionMode().__enter__()",
    "torch.set_num_threads(torch.get_num_threads() + 1)",
    "torch.set_grad_enabled(False)",
    "torch.use_deterministic_algorithms(True)",
    "torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark",
    "torch.set_float32_matmul_precision('medium')",
    "torch.set_flush_denormal(True)",
    "torch.nn.modules.module.register_module_forward_hook(lambda m, i, o: o * 2)",
    "np.seterr(all='raise')",
    "warnings.simplefilter('error')",
    "os.chdir('/')",
    "os.environ['OMP_NUM_THREADS'] = '7'",
    "os.environ.pop('LTBENCH_CACHE')",
    "signal.signal(signal.SIGINT, signal.SIG_IGN)",
    "sys.setrecursionlimit(77777)",
    "sys.stdout = sys.stderr = open(os.devnull, 'w')",
    "sys.excepthook = print",
    "__import__('gc').disable()",
    "__import__('locale').setlocale(__import__('locale').LC_ALL, 'C.UTF-8')",
    "__import__('multiprocessing').set_start_method('spawn', force=True)",
]
PATCHES = [
    "F.cross_entropy = lambda scores, labels, **more: scores.sum()",
    "F.cross_entropy.__defaults__ = (None, None, -100, None, 'sum', 0.3)",
    "F.cross_entropy.__code__ = (lambda *given, **more: torch.zeros(())).__code__",
    "torch.nn.functional = None",
    "torch.softmax = None",
    "torch.Tensor.__add__ = lambda self, other: self",
    "torch.nn.Linear.forward = lambda self, inputs: inputs",
    "torch.nn.Linear.__call__ = lambda self, inputs: inputs",
    "torch.nn.CrossEntropyLoss = None",
    "torch.randn = torch.rand",
    "np.random.rand = lambda *shape: 0.5",
    "np.log = np.exp",
    "np.pi = 3.0",
    "random.random = lambda: 0.5",
    "__import__('math').log = None",
    "__import__('time').perf_counter = lambda: 0.0",
    "__import__('builtins').sorted = list",
    "del torch.nn.functional.relu",
    "sys.modules['torch.nn'] = sys",
    "__import__('ltbench.scoring.metrics').scoring.metrics.recalls = lambda *given: None",
    "__import__('ltbench.running.plan').running.plan.RESULTS = None",
    "__import__('ltbench.contract.method').contract.method.Method.decide = None",
]


@pytest.fixture
def unharmed(ctrl_c):
    """What the rows of others hang on, before and after a test."""
    before = state()
    yield before
    assert state() == before


@pytest.mark.parametrize("line", SWITCHES + PATCHES)
def test_what_is_changed_is_put_back_and_named(line, unharmed):
    with put_back() as changes:
        exec(line)
    assert state() == unharmed
    assert len(changes.undone) >= 1
    assert changes.lasting == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.manual_seed(0)",
        "np.random.seed(0)",
        "random.seed(0)",
        "torch.rand(1), np.random.rand(), random.random()",
    ],
)
def test_chance_goes_on_where_it_was(line):
    def drawn():
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()

    state()
    expected = drawn()
    state()
    with put_back():
        exec(line)
    assert drawn() == expected


def test_what_an_import_does_for_itself_is_no_change(tmp_path):
    with put_back() as changes:
        (tmp_path / "fine.py").write_text("import torch\n\nclass A(torch.nn.Linear):\n    pass\n")
        exec((tmp_path / "fine.py").read_text(), {})
    assert (changes.undone, changes.lasting) == ([], [])


def test_what_is_raised_within_is_raised_and_what_it_left_put_back(unharmed):
    with pytest.raises(ZeroDivisionError), put_back():
        torch.set_default_dtype(torch.float64)
        raise ZeroDivisionError
    assert state() == unharmed


METHOD = """
import torch

{line}

from ltbench import Method, hookimpl


class Mine(Method):
    name = "mine"

    def adjust(self, scores, labels, run):
        return scores


@hookimpl
def register_methods(register):
    {within}
    register(Mine)
"""


def test_what_cannot_be_put_back_is_told_and_left_out_if_that_is_asked_for(tmp_path):
    path = tmp_path / "mine.py"
    line = "library = torch.library.Library('aten', 'IMPL')\n"
    line += "library.impl('relu', lambda inputs: inputs * 0 + 1, 'CPU')"
    path.write_text(METHOD.format(line=line, within="pass"))
    code = "import sys\nfrom ltbench.registry.registry import Registry\n"
    code += "Registry([sys.argv[1]], strict=bool(sys.argv[2:])).method('mine'); print('used')"
    told, strict = (
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, path, *more],
            capture_output=True,
            text=True,
        )
        for more in ([], ["strict"])
    )
    words = "it changed what torch and NumPy compute, which cannot be put back"
    assert f"plugin 'mine' of file: {words}; it may falsify other rows" in told.stderr
    assert told.stdout == "used\n"
    assert words in strict.stderr.splitlines()[-1]
    assert strict.returncode == 1


@pytest.mark.parametrize(
    "line",
    [
        "from ltbench.boards import stability; stability.evaluate = None",
        "import ltbench.boards.stability as m; m.evaluate = None",
        "from ltbench.boards.stability import *; import sys; "
        "sys.modules['ltbench.boards.stability'].evaluate = None",
    ],
)
def test_what_was_not_yet_loaded_is_known_as_it_was_too(tmp_path, line):
    path = tmp_path / "mine.py"
    path.write_text(METHOD.format(line=line, within="pass"))
    code = "import sys\nfrom ltbench.registry.registry import Registry\n"
    code += "Registry([sys.argv[1]])\nfrom ltbench.boards import stability\n"
    code += "print(stability.evaluate)"
    told = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert told.stdout.startswith("<function evaluate"), told.stderr


@pytest.mark.parametrize("where", ["line", "within"])
def test_a_plugin_changes_nothing_at_its_import_nor_where_it_registers(tmp_path, unharmed, where):
    path = tmp_path / "mine.py"
    parts = {"line": "pass", "within": "pass"}
    parts[where] = "torch.set_default_dtype(torch.float64); torch.softmax = None"
    path.write_text(METHOD.format(**parts))
    registry = Registry([path])
    assert registry.method("mine").name == "mine"
    assert state() == unharmed
    assert registry.put_back[registry.owner("mine")] == ["torch's default dtype", "torch.softmax"]


def test_a_data_set_of_a_plugin_changes_nothing_and_fails_in_a_line(install, unharmed):
    install(
        "their-data",
        """
        import torch

        from ltbench import Dataset, Rows, hookimpl

        def load():
            torch.set_default_dtype(torch.float64)
            rows = Rows(torch.zeros(2, 1), torch.tensor([0, 1]))
            return Dataset(rows, ("a", "b"))

        class Strange(BaseException):
            def __str__(self):
                raise ValueError

        def fail():
            raise Strange

        @hookimpl
        def register_datasets(register):
            register("theirs", load)
            register("broken", fail)
            register("none", lambda: 3)
            register("sized", lambda size: 3)
            register(3, load)
            register("uncalled", 3)
        """,
    )
    registry = Registry()
    assert len(registry.dataset("theirs")().train) == 2
    assert state() == unharmed
    for name, words in (
        ("broken", "data set broken of their-data cannot be read: Strange: it cannot say"),
        ("none", "data set none of their-data is 3, not a ltbench.Dataset"),
        ("sized", "cannot be read: TypeError: .* missing 1 required positional argument"),
    ):
        with pytest.raises(LTBenchError, match=words):
            registry.dataset(name)()
    assert "it registers 3 and <function load" in registry.left_out[0].reason
    assert "it registers 'uncalled' and 3, where a name" in registry.left_out[1].reason
