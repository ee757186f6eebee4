"""Whole cells beside the same training written by hand, in processor time: read the ratios."""

import ctypes
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import written_out
from msgspec import structs
from side_by_side import ratio
from torch.utils.data import DataLoader, TensorDataset

from ltbench import Rows, protocol, recipe
from ltbench.datasets import built_in
from ltbench.running.processes import Limits, Worker
from ltbench.tracks import classification
from ltbench.training.engine import train
from ltbench.training.environment import import_ahead, own
from ltbench.training.timing import Clock

CPU = torch.device("cpu")
DIGITS = protocol("digits-lt")
NOISE = structs.replace(  # ResNet-8 on noise in the shape of CIFAR-10
    protocol("cifar10-jpeg-lt-100-short"),
    compute=structs.replace(DIGITS.compute, memory_format="channels_last"),
)


def digits():
    return DIGITS, classification.split(DIGITS, built_in()["digits"](), 0)


def noise(rows=1280):
    chance = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (rows, 3, 32, 32), generator=chance, dtype=torch.uint8)
    given = Rows(pixels, torch.arange(rows) % 10)
    budget = structs.replace(NOISE.budget, epochs=1)
    parts = classification.Parts(given, None, lambda: given, [rows // 10] * 10)
    return structs.replace(NOISE, budget=budget), parts


def cell(task, method):
    given, parts = task
    run = classification.begin(given, parts, 0, CPU)
    return train(method, parts.train, run, given.budget.batch_size)


def usual(task):
    """The loop of most research code on the same rows: a DataLoader, `.item()` at each step."""
    given, parts = task
    run = classification.begin(given, parts, 0, CPU)
    model, phase = run.model.train(), run.phase
    rows = TensorDataset(run.plain(parts.train.inputs), parts.train.labels)
    loader = DataLoader(rows, batch_size=given.budget.batch_size, shuffle=True)
    optimizer = torch.optim.SGD(
        model.parameters(), phase.lr, phase.momentum, weight_decay=phase.weight_decay
    )
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, phase.epochs)
    criterion, losses, right = torch.nn.CrossEntropyLoss(), 0.0, 0
    for _ in range(phase.epochs):
        for inputs, labels in loader:
            optimizer.zero_grad()
            scores = model(inputs)
            loss = criterion(scores, labels)
            loss.backward()
            optimizer.step()
            losses += loss.item() * len(labels)
            right += (scores.argmax(dim=1) == labels).sum().item()
        falling.step()


def bits(model):
    return [value.clone() for value in model.state_dict().values()]


def clocked(call, threads=1):
    """The clock of a call in a process of its own, as a run gives it to each cell."""

    def timed():
        with own(threads, 0), Clock(CPU) as clock:
            call()
        return clock

    worker = Worker(timed, Limits())
    clock = worker.answer.recv()
    worker.kill()
    return clock


def in_workers(calls, rounds=10):
    """The processor time of each call in each round [rounds], every other one backwards."""
    import_ahead()
    seconds = {name: [] for name in calls}
    for turn in range(rounds):
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            seconds[name].append(clocked(calls[name]).work)
    return seconds


def on_one_thread(benchmark, call):
    """Puts a call on the benchmarks' clock; a process with several threads is not to fork."""
    with own(1, 0):
        benchmark.pedantic(call, rounds=1)


@pytest.mark.parametrize("task", [digits, noise])
@pytest.mark.parametrize("text", written_out.METHODS)
def test_both_ways_are_equal_to_the_bit(task, text):
    with own(1, 0):
        ours, hand = bits(cell(task(), recipe(text))), bits(written_out.trained(task(), text))
    assert all(map(torch.equal, ours, hand))


@pytest.mark.benchmark(group="a cell over the same by hand")
@pytest.mark.parametrize("text", written_out.METHODS)
@pytest.mark.parametrize("task", [digits, noise])
def test_hooks(benchmark, task, text):
    given, method = task(), recipe(text)
    calls = {
        "ours": lambda: cell(given, method),
        "by hand": lambda: written_out.trained(given, text),
    }
    seconds = in_workers(calls)
    on_one_thread(benchmark, calls["ours"])
    benchmark.extra_info["ratio"] = ratio(seconds["ours"], seconds["by hand"])


@pytest.mark.benchmark(group="digits cells beside the usual loop")
def test_digits_beside_the_usual_loop(benchmark):
    """In seconds, as one who starts a single program waits for them."""
    given, method = digits(), recipe("erm")
    import_ahead()
    ways = {
        "usual, threads as torch sets them": (lambda: usual(given), os.cpu_count()),
        "usual, one thread": (lambda: usual(given), 1),
        "ours": (lambda: cell(given, method), 1),
    }
    seconds = {name: [] for name in ways}
    for _ in range(10):
        for name, (call, threads) in ways.items():
            seconds[name].append(clocked(call, threads).seconds)
    on_one_thread(benchmark, ways["ours"][0])
    for peer in list(ways)[:2]:
        benchmark.extra_info[f"{peer} / ours"] = ratio(seconds[peer], seconds["ours"])


@pytest.mark.benchmark(group="two gradients a step")
@pytest.mark.parametrize("rows", [None, 5120], ids=["digits", "noise"])
def test_sam(benchmark, rows):
    """On digits, and on so many images that what a process does once counts for little."""
    given, sam, erm = digits() if rows is None else noise(rows), recipe("sam"), recipe("erm")
    calls = {"sam": lambda: cell(given, sam), "erm": lambda: cell(given, erm)}
    seconds = in_workers(calls, rounds=6)
    on_one_thread(benchmark, calls["sam"])
    benchmark.extra_info["sam / erm"] = ratio(seconds["sam"], seconds["erm"])


@pytest.mark.benchmark(group="memory of a cell")
def test_memory(benchmark):
    """A cell's own memory over the most that its tensors take at a time, as torch counts them.

    Pages of libraries, which cells of one machine share, are told apart.
    """
    given, parts = noise(512)
    given = structs.replace(given, network={"name": "resnet", "depth": 32}), parts

    method = recipe("erm")

    def risen():
        shared = resident("RssFile")
        with own(1, 0), Clock(CPU) as clock:
            cell(given, method)
        return clock.peak_memory_mb, resident("RssFile") - shared

    import_ahead()
    ctypes.CDLL(None).malloc_trim(0)  # what other benchmarks have freed, a run would not have
    rises = []
    for _ in range(5):
        worker = Worker(risen, Limits())
        rises.append(worker.answer.recv())
        worker.kill()
    rise, pages = np.median(rises, axis=0)
    with own(1, 0), torch.profiler.profile(profile_memory=True, acc_events=True) as profile:
        benchmark.pedantic(lambda: cell(given, method), rounds=1)
    found = profile.profiler.kineto_results.events()
    most = float(np.cumsum([e.nbytes() for e in found if "[mem" in e.name()]).max()) / 2**20
    told = {"tensors": most, "risen": rise, "of it pages of libraries": pages}
    benchmark.extra_info |= {f"{name}, MB": round(float(value), 1) for name, value in told.items()}
    benchmark.extra_info["ratio"] = round((rise - pages) / most, 3)


def resident(kind):
    """MB of this process, as the system tells them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1024
