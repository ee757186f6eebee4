"""Whole cells beside the same training written by hand, in processor time: read the ratios."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from msgspec import structs
from side_by_side import in_turn, ratio
from torch.utils.data import DataLoader, TensorDataset

from ltbench import Rows, protocol, recipe
from ltbench.datasets import built_in
from ltbench.engine import draw, generator, portions, schedule, train
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


def cell(task, text):
    given, parts = task
    run = recognition.begin(given, parts, 0, CPU)
    return train(recipe(text), parts.train, run, given.budget.batch_size)


def by_hand(task, text):
    """The training of a recipe without hooks, phases or plugins; equal to the cell's to the bit."""
    given, parts = task
    run = recognition.begin(given, parts, 0, CPU)
    model, phase, rows = run.model.train(), run.phase, parts.train
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=phase.lr,
        momentum=phase.momentum,
        nesterov=phase.nesterov,
        weight_decay=phase.weight_decay,
        fused=True,
    )
    order, views = generator(run, "order"), generator(run, "views")
    sizes = portions(len(rows), given.budget.batch_size)
    rates = iter(schedule(phase, len(sizes)))
    parameters = list(model.parameters())
    prior = (run.counts / run.counts.sum()).log()

    def backward(inputs, labels):
        scores = model.head(run.through(model, inputs))
        if text == "logit-adjustment":
            scores = scores + prior
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(scores, labels, reduction="none").mean()
        loss.backward()
        return loss.detach()

    for _ in range(phase.epochs):
        losses = torch.zeros(len(sizes))
        drawn = draw(len(rows), len(rows), None, order)
        for k, index in enumerate(drawn.split(sizes)):
            optimizer.param_groups[0]["lr"] = phase.lr * next(rates)
            inputs, labels = run.views.augmented(rows.inputs[index], views), rows.labels[index]
            losses[k] = backward(inputs, labels)
            if text == "sam":
                climb(parameters, lambda x=inputs, y=labels: backward(x, y))
            optimizer.step()
        assert torch.isfinite(losses).all()
    return model


def climb(parameters, backward, rho=0.05):
    """Gradients taken where sharpness-aware minimisation takes them, the parameters as before."""
    gradients = [p.grad for p in parameters]
    length = torch.stack([g.norm() for g in gradients]).norm()
    with torch.no_grad():
        steps = [g * (rho / (length + 1e-12)) for g in gradients]
        torch._foreach_add_(parameters, steps)
    backward()
    with torch.no_grad():
        torch._foreach_sub_(parameters, steps)


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


@pytest.mark.parametrize("task", [digits, noise])
@pytest.mark.parametrize("text", ["erm", "logit-adjustment"])
def test_both_ways_are_equal_to_the_bit(task, text):
    with own(1, 0):
        ours, hand = bits(cell(task(), text)), bits(by_hand(task(), text))
    assert all(map(torch.equal, ours, hand))


@pytest.mark.benchmark(group="a cell over the same by hand")
@pytest.mark.parametrize("text", ["erm", "logit-adjustment", "sam"])
@pytest.mark.parametrize("task", [digits, noise])
def test_hooks(benchmark, task, text):
    given = task()
    calls = {"ours": lambda: cell(given, text), "by hand": lambda: by_hand(given, text)}
    with own(1, 0):
        seconds = in_turn(calls, rounds=7)
        benchmark.pedantic(calls["ours"], rounds=1)
    benchmark.extra_info["ratio"] = ratio(seconds["ours"], seconds["by hand"])


@pytest.mark.benchmark(group="digits cells beside the usual loop")
def test_digits_beside_the_usual_loop(benchmark):
    given = digits()
    calls = {"usual": lambda: usual(given), "ours": lambda: cell(given, "erm")}
    with own(1, 0):
        seconds = in_turn(calls, rounds=7)
        benchmark.pedantic(calls["ours"], rounds=1)
    benchmark.extra_info["usual / ours"] = ratio(seconds["usual"], seconds["ours"])


@pytest.mark.benchmark(group="two gradients a step")
@pytest.mark.parametrize("task", [digits, noise])
def test_sam(benchmark, task):
    given = task()
    calls = {"sam": lambda: cell(given, "sam"), "erm": lambda: cell(given, "erm")}
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
            cell(given, "erm")
        return clock.peak_memory_mb

    import_ahead()
    worker = Worker(risen, Limits())
    rise = worker.answer.recv()
    worker.kill()
    with own(1, 0), torch.profiler.profile(profile_memory=True, acc_events=True) as profile:
        benchmark.pedantic(lambda: cell(given, "erm"), rounds=1)
    found = profile.profiler.kineto_results.events()
    most = float(np.cumsum([e.nbytes() for e in found if "[mem" in e.name()]).max()) / 2**20
    benchmark.extra_info |= {"tensors MB": round(most, 1), "risen MB": round(rise, 1)}
    benchmark.extra_info["ratio"] = round(rise / most, 3)
