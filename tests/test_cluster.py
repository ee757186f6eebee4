"""The same cells on a cluster of two nodes: the same numbers, whatever becomes of a node."""

import dataclasses
import pickle
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from ltbench import LTBenchError
from ltbench.api import leaderboard, run
from ltbench.registry.registry import Registry
from ltbench.results.merging import merge
from ltbench.results.records import Record, read_all
from ltbench.running.cluster import Cluster, _connected, fitting, packed, unpacked
from ltbench.running.plan import plan
from ltbench.running.processes import Limits

ray = pytest.importorskip("ray", reason="ray is not installed")

COST = ["relative", "relative_low", "relative_high", "passes", "work", "peak_memory_mb"]
CODE = """
    import ctypes, os, time
    from pathlib import Path
    from ltbench import Method, hookimpl

    HERE = Path({folder!r})

    class Waits(Method):
        name = "waits"
        def prepare(self, run):
            (HERE / str(os.getpid())).touch()
            while not (HERE / "go").exists():
                time.sleep(0.02)

    class Raises(Method):
        name = "raises"
        def adjust(self, scores, labels, run):
            raise ValueError("as always")

    class Crashes(Method):
        name = "crashes"
        def prepare(self, run):
            print("reading from nowhere", flush=True)
            ctypes.string_at(0)

    class Hangs(Method):
        name = "hangs"
        def prepare(self, run):
            ctypes.CDLL(None).pause()

    class Slow(Method):
        name = "slow"
        def build(self, model, run):
            time.sleep(0.5)
            return model

    @hookimpl
    def register_methods(register):
        for method in (Waits, Raises, Crashes, Hangs, Slow):
            register(method)
"""


@pytest.fixture(scope="module")
def nodes():
    """A cluster of two nodes on this machine, to which this process is connected."""
    from ray.cluster_utils import Cluster as Nodes

    with socket.socket() as free, pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_AUTH_MODE", "disabled")
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        few = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
        started = Nodes(
            head_node_args={**few, "ray_client_server_port": port}, initialize_head=True
        )
        started.second = started.add_node(num_cpus=1, object_store_memory=100 * 2**20)
        started.client = f"ray://127.0.0.1:{port}"
        _connected(started.address)
        yield started
        ray.shutdown()
        started.shutdown()


@pytest.fixture
def code(tmp_path):
    """The file of some methods, and the folder in which they leave their marks."""
    folder = tmp_path / "marks"
    folder.mkdir()
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(CODE).format(folder=str(folder)))
    return path, folder


def table(tiny, results, plugins=()):
    return leaderboard(tiny, results, plugins=plugins).drop(columns=COST).to_csv(index=False)


def test_several_cells_share_a_gpu():
    node = {"CPU": 8.0, "GPU": 2.0}
    assert fitting(node, 1, 0.0) == 8
    assert fitting(node, 1, 1.0) == 2
    assert fitting(node, 1, 0.25) == 8
    assert fitting(node, 2, 0.25) == 4
    assert fitting({"CPU": 8.0}, 1, 0.5) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--address", "127.0.0.1:9"], "--address 127.0.0.1:9 is for --executor ray"),
        (["--executor", "ray", "--gpu-share", "2"], "a GPU share of 2 is none"),
        (["--executor", "ray", "--address", "127.0.0.1:9"], "no Ray cluster answers at 127.0.0.1"),
        (["--executor", "ray", "--device", "cuda:1"], "Ray deals out the GPUs; say 'cuda'"),
    ],
)
def test_a_wrong_request_is_refused(ltbench, tiny, words, told):
    done = ltbench("run", tiny, *words)
    assert done.exit_code == 2
    assert told in done.output
    assert len(done.output.splitlines()) <= 3


def test_a_missing_package_is_told_in_a_line(ltbench, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = ltbench("run", tiny, "--executor", "ray")
    assert done.exit_code == 2
    assert done.output == "Error: ray is not installed; pip install 'ltbench[ray]' brings it\n"


def test_local_sharded_and_ray_runs_have_the_same_bits(nodes, tiny, tmp_path):
    recipes = ("erm", "mixup", "crt", "smote")
    run(tiny, recipes, results=tmp_path / "local")
    for part in (1, 2):
        run(tiny, recipes, results=tmp_path / f"part-{part}", shard=(part, 2))
    merge([tmp_path / "part-1", tmp_path / "part-2"], tmp_path / "sharded")
    run(tiny, recipes, results=tmp_path / "ray", cluster=Cluster())
    local, sharded, on_ray = (
        {(r.recipe, r.seed): (r.measures, r.recall, r.arrays) for r in read_all(path, "tiny")}
        for path in (tmp_path / "local", tmp_path / "sharded", tmp_path / "ray")
    )
    assert local == sharded == on_ray
    assert len(local) == 8
    tables = [table(tiny, tmp_path / name) for name in ("local", "sharded", "ray")]
    assert tables[0] == tables[1] == tables[2]


def test_a_method_that_breaks_on_a_node_costs_its_own_cells_only(nodes, tiny, tmp_path, code):
    found = run(
        tiny,
        ("raises", "crashes", "hangs", "erm"),
        seeds=1,
        results=tmp_path / "results",
        timeout=10,
        plugins=[code[0]],
        cluster=Cluster(),
    )
    told = {record.recipe: (record.status, record.reason) for record in found}
    assert told["erm"] == ("ok", "")
    assert told["raises"] == ("failed", "ValueError: as always (mine.py, line 18)")
    assert told["crashes"][0] == "failed"
    assert told["crashes"][1].startswith("its process ended with signal 11 before the cell was")
    assert "reading from nowhere" in told["crashes"][1]
    assert told["hangs"] == ("timeout", "killed after 10 s")


def started(code, *words, **options):
    """The command, begun on a cluster, with a method of a file."""
    command = [sys.executable, "-m", "ltbench", "run", *words, "--plugin", code[0]]
    command += ["--executor", "ray", "--results", "results"]
    return subprocess.Popen(
        [str(word) for word in command], stderr=subprocess.PIPE, text=True, **options
    )


def test_an_interrupt_finishes_what_is_in_hand_on_the_cluster(nodes, tiny, tmp_path, code):
    words = [tiny, "-m", "slow", "--seeds", 30, "--address", nodes.address]
    process = started(code, *words, cwd=tmp_path)
    try:
        for line in process.stderr:
            if line.startswith("[1/60]"):  # plain training is in every run
                break
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 130, told
    assert "finishing the cells in hand; Ctrl-C again stops now" in told
    kept = list(read_all(tmp_path / "results", "tiny"))
    assert 0 < len(kept) < 60
    assert {(type(record), record.status) for record in kept} == {(Record, "ok")}
    assert f"{60 - len(kept)} cells left; to continue: ltbench run" in told


def test_a_cluster_is_reached_from_elsewhere(nodes, tiny, tmp_path, code):
    words = [tiny, "-m", "erm", "--seeds", 2, "--address", nodes.client]
    process = started(code, *words, cwd=tmp_path, stdout=subprocess.DEVNULL)
    told = process.communicate(timeout=120)[1]
    if "no Ray cluster answers" in told:
        pytest.skip("Ray's own proxy did not begin in the time that it gives itself")
    assert process.returncode == 0, told
    found = list(read_all(tmp_path / "results", "tiny"))
    local = run(tiny, ("erm",), seeds=2, results=tmp_path / "local")
    assert [record.measures for record in found] == [record.measures for record in local]


def test_fail_fast_stops_what_is_in_hand_on_the_cluster(nodes, ltbench, tiny, code):
    words = ["--executor", "ray", "--plugin", code[0], "-m", "raises", "-m", "hangs"]
    done = ltbench("run", tiny, *words, "--seeds", 20, "--fail-fast")
    assert done.exit_code == 1
    assert "raises seed 0 failed: ValueError: as always" in done.output
    assert re.search("stopped with 5[789] cells left", done.output)
    freed = ltbench("run", tiny, "--executor", "ray", "-m", "erm", "--seeds", 1, "--fresh")
    assert freed.exit_code == 0


def test_what_no_node_has_is_refused(nodes, tiny, tmp_path):
    tiny.write_text(tiny.read_text().replace("threads = 1", "threads = 64"))
    with pytest.raises(LTBenchError, match="needs 64 CPUs, which none of the 2 nodes"):
        run(tiny, results=tmp_path / "results", cluster=Cluster())
    assert ray.is_initialized()  # whoever connected disconnects


def test_the_cells_of_a_node_that_dies_are_done_elsewhere(nodes, tiny, tmp_path, code):
    path, marks = code
    recipes = ("waits", "erm", "crt")

    def kill_the_second():
        while len(list(marks.iterdir())) < 2:  # a cell waits on each node
            time.sleep(0.02)
        began = [Path("/proc", mark.name) for mark in marks.iterdir()]
        nodes.remove_node(nodes.second, allow_graceful=False)
        while all(process.exists() for process in began):
            time.sleep(0.02)
        (marks / "go").touch()

    killer = threading.Thread(target=kill_the_second, daemon=True)
    killer.start()
    found = run(
        tiny,
        recipes,
        seeds=2,
        results=tmp_path / "ray",
        plugins=[path],
        cluster=Cluster(jobs=6),
    )
    killer.join(timeout=30)
    assert [record.status for record in found] == ["ok"] * 6
    assert len(list(marks.iterdir())) == 2 + 1 + 1  # two cells, one of them again, and the sign
    run(tiny, recipes, seeds=2, results=tmp_path / "local", plugins=[path])
    told = [table(tiny, tmp_path / name) for name in ("ray", "local")]
    assert told[0] == told[1]


@pytest.fixture
def cell(tiny, tmp_path, code):
    return plan(Registry([code[0]]), tiny, ["mixup+crt+slow"], 1, tmp_path).cells[1]


@pytest.fixture
def task(cell, code):
    """The cell as it arrives in another process."""
    files = ((code[0].name, code[0].read_text()),)
    return pickle.loads(pickle.dumps(packed(cell, files, torch.device("cpu"), Limits(timeout=9))))


def test_a_cell_arrives_as_it_left(cell, task):
    arrived = unpacked(task)
    assert str(arrived) == str(cell)
    assert (arrived.protocol, arrived.protocol.hash) == (cell.protocol, cell.protocol.hash)
    assert arrived.origins == cell.origins
    assert task.limits == Limits(timeout=9)


def test_a_node_with_other_code_is_refused(task):
    origins = {name: replace(origin, source="0") for name, origin in task.origins.items()}
    with pytest.raises(LTBenchError, match="method .* is of other code here; all nodes need this"):
        unpacked(dataclasses.replace(task, origins=origins))
    with pytest.raises(LTBenchError, match="protocol tiny reads otherwise here"):
        unpacked(dataclasses.replace(task, hash="0"))
