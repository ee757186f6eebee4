"""What a plain cell holds at its peak, over what its data take: read `ratio`."""

import subprocess
import sys
import textwrap

import pytest

CELL = """
    import sys, time, torch
    from dataclasses import dataclass
    from pathlib import Path
    from ltbench import Dataset, Recipe, Rows
    from ltbench.contract.method import Method
    from ltbench.registry.registry import installed
    from ltbench.training import environment, timing
    from ltbench.tracks.recognition.track import run

    protocol = installed().protocol(sys.argv[1])
    environment.import_ahead()
    def cell(rows):
        labels = torch.arange(rows) % 10
        inputs = torch.zeros(rows, 3, 32, 32, dtype=torch.uint8)
        inputs += (7 * labels)[:, None, None, None].to(torch.uint8)
        data = Dataset(Rows(inputs, labels), tuple("0123456789"), Rows(inputs[:100], labels[:100]))
        data.fingerprint
        Path("/proc/self/clear_refs").write_text("5")
        run(protocol, Recipe(Method()), 0, data, torch.device("cpu"))
        return inputs.numel(), timing._status("VmHWM")

    environment.own(1, 0).__enter__()
    _, before = cell(1000)
    size, peak = cell(100_000)
    print((peak - before) / size)
"""
PROTOCOL = """
    name = "heavy"
    version = 1
    track = "recognition"
    description = "300 MB of images, for the memory that a cell takes."
    recipes = ["erm"]
    seeds = 1
    data = {source = "heavy", fingerprint = "any", validation_share = 0.1}
    imbalance = {profile = "source", class_order = "label", draw = "fixed"}
    network = {name = "mlp", widths = [8]}
    scoring = {metrics = ["balanced_accuracy"], shot_splits = [5, 10]}
    compute = {threads = 1}

    [budget]
    epochs = 2
    batch_size = 200
    lr = 0.01
    momentum = 0.9
    nesterov = false
    weight_decay = 0.0
    warmup = 0.0
    decay = "cosine"
    augmentation = "none"
"""


@pytest.mark.benchmark(group="memory of a plain cell")
@pytest.mark.skipif(sys.platform != "linux", reason="its peak is told by Linux")
def test_a_cell_takes_little_more_than_its_data(benchmark, tmp_path):
    path = tmp_path / "heavy.toml"
    path.write_text(textwrap.dedent(PROTOCOL))
    words = [sys.executable, "-c", textwrap.dedent(CELL), str(path)]
    told = benchmark.pedantic(subprocess.check_output, [words], {"text": True})
    benchmark.extra_info["ratio"] = ratio = round(float(told), 2)
    assert ratio <= 1.6
