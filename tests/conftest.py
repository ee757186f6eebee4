"""What several test files share: a protocol that runs in a blink, and installed plugins."""

import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest_plugins = "ltbench.testing.fixtures"

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small tensors; it counts before torch is loaded

LONG = (
    "test_testing",
    "test_cluster",
    "test_new",
    "test_documents",
    "test_review",
    "test_devices",
    "test_wheels",
    "test_pages",
    "test_outside_track",
    "test_printing",
    "test_processes",
    "test_shared_fits",
    "test_api",
    "test_threads",
    "test_spawning",
    "test_tracks",
)
"""Files that take a minute or more; processes that share files begin with these."""

TINY = """
name = "tiny"
version = 1
track = "recognition"
description = "Digits, for tests of everything around the training."
recipes = ["erm", "logit-adjustment"]
seeds = 2

[data]
source = "digits"
fingerprint = "c10b9250e22f3a67"
test_per_class = 20

[imbalance]
profile = "exponential"
n_max = 30
factor = 10
class_order = "seed"
draw = "seed"

[network]
name = "mlp"
widths = [16]

[budget]
epochs = 8
batch_size = 16
lr = 0.1
momentum = 0.9
nesterov = false
weight_decay = 5e-4
warmup = 0.1
decay = "cosine"
augmentation = "none"

[scoring]
metrics = ["balanced_accuracy", "many", "few", "accuracy"]
shot_splits = [5, 15]

[compute]
threads = 1
"""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """What tests make is not kept in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def ctrl_c():
    """Ctrl-C as a terminal has it; what a shell starts in the background is deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def tiny(tmp_path):
    """The path of a protocol that trains in milliseconds."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def ltbench(tmp_path, monkeypatch):
    """Calls the command in an empty folder; gives its result."""
    from ltbench.commands.main import main

    monkeypatch.chdir(tmp_path)

    def call(*words):
        return CliRunner().invoke(main, [str(word) for word in words])

    return call


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a package of one module with an entry point, as a stranger's would be."""
    site = tmp_path / "site"
    site.mkdir()
    added = []
    monkeypatch.syspath_prepend(str(site))

    def add(package: str, source: str, version: str = "1.0") -> Path:
        module = package.replace("-", "_")
        added.append(module)
        (site / f"{module}.py").write_text(textwrap.dedent(source))
        info = site / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text(f"[ltbench]\n{package} = {module}\n")
        return site / f"{module}.py"

    yield add
    for module in added:
        sys.modules.pop(module, None)


METHOD = """
    from ltbench import Method, hookimpl

    class {cls}(Method):
        name = "{name}"
        reference = "none"

        def __init__(self, strength: float = 1.0):
            self.strength = strength

        def scores(self, scores, run):
            return scores * self.strength

    @hookimpl
    def register_methods(register):
        register({cls})
"""


@pytest.fixture
def method_source():
    """The source of a harmless method of a given name."""

    def source(name: str, cls: str = "Mine") -> str:
        return textwrap.dedent(METHOD.format(name=name, cls=cls))

    return source
