"""Steps of csdm, all classes at once and one by one: read the ratio, not the milliseconds.

Each round is of `STEPS` steps, in processor time. The memory it took above the idle process stands
in the extra information. What bounds the ratio is the networks' own work on the images, most of a
step and the same either way; a loop pays for it in small portions, and for its calls.
"""

import copy
import time

import pytest
import torch
import torch.nn.functional as F
from msgspec import structs

from ltbench import Rows, protocol, recipe
from ltbench.contract.context import Phase, Run
from ltbench.models import build
from ltbench.training.engine import generator, seeded
from ltbench.training.environment import own
from ltbench.training.timing import Clock
from ltbench_plugins.distillation.csdm import frequencies, gaps
from ltbench_plugins.distillation.distribution_matching import batches, blends
from ltbench_plugins.distillation.selection import by_chance

STEPS = 10
DIGITS = protocol("distill-digits")
CPU = torch.device("cpu")


def task(classes, rows_a_class=40):
    """Noise in the shape of digits, and a function that makes a run to distil it."""
    chance = torch.Generator().manual_seed(0)
    labels = torch.arange(classes).repeat_interleave(rows_a_class)
    rows = Rows(torch.rand(len(labels), 1, 8, 8, generator=chance), labels)
    budget = structs.replace(DIGITS.distilling, iterations=STEPS)
    counts = labels.bincount().float()
    start = Run(counts, counts / counts.sum(), torch.zeros(()), Phase("main", 1, 0.1, 0.0))
    network = dict(DIGITS.network)
    with seeded(start, "network"):
        model = build(network.pop("name"), (1, 8, 8), classes, network)
    pool = [(model, copy.deepcopy(model))]

    def begun():
        run = copy.copy(start)
        run.model, run.pool = model, lambda balanced=False: pool
        run.ipc, run.distilling, run.rng = budget.ipc, budget, generator(run, "methods")
        return run

    return rows, begun


def one_by_one(rows, run, count):
    """The same steps as sdd's, with a loop over the classes in each."""
    kept = rows[by_chance(rows.labels, run)]
    pixels = kept.inputs.clone().requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=run.distilling.lr)
    networks, draw = blends(run), batches(rows.labels, run)
    for _ in range(run.distilling.iterations):
        network, _ = next(networks)
        view, index = run.views.alike(run.rng), next(draw)
        t = frequencies("gaussian", count, network.head.weight, 1.5, run.rng)
        losses = []
        for c in range(run.num_classes):
            own_rows = index[rows.labels[index] == c]
            with torch.no_grad():
                real = F.normalize(network.features(view(rows.inputs[own_rows])))
            made = F.normalize(network.features(view(pixels[kept.labels == c])))
            none = torch.zeros(len(real), dtype=torch.int64)
            amplitude, phase = gaps(real, none, made[None], t)
            losses.append(2 * (0.5 * amplitude + 0.5 * phase).mean())
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        optimizer.step()
        with torch.no_grad():
            pixels.clamp_(rows.inputs.min(), rows.inputs.max())
    return Rows(pixels.detach(), kept.labels)


def test_both_ways_learn_the_same():
    rows, begun = task(10)
    whole, parts = recipe("sdd").resample(rows, begun()), one_by_one(rows, begun(), 1024)
    torch.testing.assert_close(whole.inputs, parts.inputs, rtol=0, atol=1e-3)


@pytest.mark.benchmark(group="ten steps, 10 classes", timer=time.process_time)
@pytest.mark.parametrize("way", ["at once", "one by one"])
def test_ten_classes(benchmark, way):
    rows, begun = task(10)
    benched(benchmark, way, rows, begun)


@pytest.mark.benchmark(group="ten steps, 100 classes", timer=time.process_time)
@pytest.mark.parametrize("way", ["at once", "one by one"])
def test_a_hundred_classes(benchmark, way):
    rows, begun = task(100)
    benched(benchmark, way, rows, begun)


def benched(benchmark, way, rows, begun):
    method = recipe("sdd")
    with own(threads=1, seed=0):
        with Clock(CPU) as clock:
            benchmark.pedantic(
                (lambda: method.resample(rows, begun()))
                if way == "at once"
                else (lambda: one_by_one(rows, begun(), 1024)),
                rounds=5,
                warmup_rounds=1,
            )
        benchmark.extra_info["peak MB"] = round(clock.peak_memory_mb)


@pytest.mark.benchmark(group="a step's cost is linear", timer=time.process_time)
@pytest.mark.parametrize(("classes", "count"), [(10, 512), (10, 1024), (20, 512), (40, 512)])
def test_growth(benchmark, classes, count):
    rows, begun = task(classes)
    method = recipe(f"sdd(frequencies={count})")
    with own(threads=1, seed=0):
        benchmark.pedantic(lambda: method.resample(rows, begun()), rounds=5, warmup_rounds=1)
