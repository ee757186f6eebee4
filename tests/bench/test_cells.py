"""Whole cells beside the same training written by hand, in processor time: read the ratios."""

import by_hand
import numpy as np
import pytest
import torch
from msgspec import structs
from side_by_side import in_turn, ratio
from torch.utils.data import DataLoader, TensorDataset

from ltbench import Rows, protocol, recipe
from ltbench.datasets import built_in
from ltbench.engine import train
from ltbench.environment import import_ahead, own
from ltbench.processes import Limits, Worker
from ltbench.timing import Clock
from ltbench.tracks import recognition

CPU = torch.device("cpu")
DIGITS = protocol("digits-lt")
NOISE = structs.replace(  # ResNet-8 on noise in the shape of CIFAR-10
    protocol("cifar10-jpeg-lt-100-short"),
    compute=structs.replace(DIGITS.compute, memory_format="channels_last"),
)


def digits():
    return DIGITS, recognition.split(DIGITS, built_in()["digits"](), 0)


def noise(rows=1280):
    chance = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (rows, 3, 32, 32), generator=chance, dtype=torch.uint8)
    given = Rows(pixels, torch.arange(rows) % 10)
    budget = structs.replace(NOISE.budget, epochs=1)
    parts = recognition.Parts(given, None, lambda: given, [rows // 10] * 10)
    return structs.replace(NOISE, budget=budget), parts


def cell(task, method):
    given, parts = task
    run = recognition.begin(given, parts, 0, CPU)
    return train(method, parts.train, run, given.budget.batch_size)


def usual(task):
    """The loop of most research code on the same rows: a DataLoader, `.item()` at each step."""
    given, parts = task
    run = recognition.begin(given, parts, 0, CPU)
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


def seconds_of(call):
    """The processor time of a call in a process of its own, as a run gives it to each cell."""

    def timed():
        with own(1, 0), Clock(CPU) as clock:
            call()
        return clock.work

    worker = Worker(timed, Limits())
    seconds = worker.answer.recv()
    worker.kill()
    return seconds


def in_workers(calls, rounds):
    """The processor time of each call in each round [rounds], every other one backwards."""
    import_ahead()
    seconds = {name: [] for name in calls}
    for turn in range(rounds):
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            seconds[name].append(seconds_of(calls[name]))
    return seconds


@pytest.mark.parametrize("task", [digits, noise])
@pytest.mark.parametrize("text", by_hand.METHODS)
def test_both_ways_are_equal_to_the_bit(task, text):
    with own(1, 0):
        ours, hand = bits(cell(task(), recipe(text))), bits(by_hand.trained(task(), text))
    assert all(map(torch.equal, ours, hand))


@pytest.mark.benchmark(group="a cell over the same by hand")
@pytest.mark.parametrize("text", by_hand.METHODS)
@pytest.mark.parametrize("task", [digits, noise])
def test_hooks(benchmark, task, text):
    given, method = task(), recipe(text)
    calls = {"ours": lambda: cell(given, method), "by hand": lambda: by_hand.trained(given, text)}
    seconds = in_workers(calls, rounds=10)
    benchmark.pedantic(calls["ours"], rounds=1)
    benchmark.extra_info["ratio"] = ratio(seconds["ours"], seconds["by hand"])


@pytest.mark.benchmark(group="digits cells beside the usual loop")
def test_digits_beside_the_usual_loop(benchmark):
    given = digits()
    calls = {"usual": lambda: usual(given), "ours": lambda: cell(given, recipe("erm"))}
    with own(1, 0):
        seconds = in_turn(calls, rounds=7)
        benchmark.pedantic(calls["ours"], rounds=1)
    benchmark.extra_info["usual / ours"] = ratio(seconds["usual"], seconds["ours"])


@pytest.mark.benchmark(group="two gradients a step")
@pytest.mark.parametrize("task", [digits, noise])
def test_sam(benchmark, task):
    given = task()
    calls = {"sam": lambda: cell(given, recipe("sam")), "erm": lambda: cell(given, recipe("erm"))}
    with own(1, 0):
        seconds = in_turn(calls, rounds=7)
        benchmark.pedantic(calls["sam"], rounds=1)
    benchmark.extra_info["sam / erm"] = ratio(seconds["sam"], seconds["erm"])


@pytest.mark.benchmark(group="memory of a cell")
def test_memory(benchmark):
    """The rise of memory over the most that its tensors take at a time, as torch counts them."""
    given, parts = noise(512)
    given = structs.replace(given, network={"name": "resnet", "depth": 32}), parts

    def risen():
        with own(1, 0), Clock(CPU) as clock:
            cell(given, recipe("erm"))
        return clock.peak_memory_mb

    import_ahead()
    worker = Worker(risen, Limits())
    rise = worker.answer.recv()
    worker.kill()
    with own(1, 0), torch.profiler.profile(profile_memory=True, acc_events=True) as profile:
        benchmark.pedantic(lambda: cell(given, recipe("erm")), rounds=1)
    found = profile.profiler.kineto_results.events()
    most = float(np.cumsum([e.nbytes() for e in found if "[mem" in e.name()]).max()) / 2**20
    benchmark.extra_info |= {"tensors MB": round(most, 1), "risen MB": round(rise, 1)}
    benchmark.extra_info["ratio"] = round(rise / most, 3)
