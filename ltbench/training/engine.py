"""The training loop, once, for every track."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial, reduce
from operator import add
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ltbench.contract.context import (
    PREDICTED_AT_ONCE,
    Batch,
    Output,
    Phase,
    Rows,
    Run,
    frozen_statistics,
    scored,
)
from ltbench.contract.method import Method
from ltbench.errors import Diverged, LTBenchError
from ltbench.training import events, method_state

State = dict[str, Any]
"""Where a training stands at the end of an epoch: tensors, numbers, and containers of them."""

STREAMS = ("order", "views")  # what the engine draws, with a generator for each


def train(
    method: Method,
    rows: Rows,
    run: Run,
    batch_size: int,
    validation: Rows | None = None,
    *,
    checkpoint: Callable[[State], None] | None = None,
    due: Callable[[], bool] = lambda: True,
    resume: State | None = None,
    ended: Callable[[State], None] | None = None,
) -> nn.Module:
    """The network that `method` makes of `run.model` and `rows`, within `run.phase` as budget.

    `checkpoint` is called at the end of each epoch that is `due` with the state of the training;
    `resume` takes such a state and continues to the same bits. With what `method_state.told` tells
    in it, under "hidden", methods too stand as they stood. `ended` is called with the state at the
    end of the first phase, where that was trained here.

    Raises:
        Diverged: the loss became NaN or infinite.
        Unresumable: the state to resume from is not one of this training.
        LTBenchError: the method handed back rows that cannot be used.
    """
    epoch_rows = len(rows)
    rows, plan = begin(method, rows, run)
    go_on(method, rows, plan, run, batch_size, epoch_rows, checkpoint, due, resume, ended=ended)
    return finish(method, run, validation)


def begin(method: Method, rows: Rows, run: Run) -> tuple[Rows, list[Phase]]:
    """The rows to train on and the phases to train in, once `method` has built `run.model`.

    Raises:
        LTBenchError: the method handed back rows that cannot be used.
    """
    assert run.model is not None
    run.kept.clear()
    run.train, run.chance = rows, {stream: generator(run, stream) for stream in STREAMS}
    rows = checked(method.resample(rows, run), rows, run)
    run.train, run.recipe = rows, method
    with seeded(run, "build"):
        run.model = method.build(run.model, run).to(run.device)
    return rows, method.phases([run.phase], run)


def go_on(
    method: Method,
    rows: Rows,
    plan: Sequence[Phase],
    run: Run,
    batch_size: int,
    epoch_rows: int,
    checkpoint: Callable[[State], None] | None = None,
    due: Callable[[], bool] = lambda: True,
    resume: State | None = None,
    first: int = 0,
    ended: Callable[[State], None] | None = None,
) -> None:
    """Trains `run.model` on rows through the phases of a plan, of which `first` is the number.

    An epoch takes as many steps as `epoch_rows` rows make. `ended` is called with the state at the
    end of phase 0, where that was trained here. A track that goes on training one
    network calls this again, with numbers that go on as well: two calls end in the bits of one with
    the phases of both. Each takes the same state to resume from, which lies in one of them: those
    before it pass.
    """
    if resume is not None and resume["position"] < first:
        resume = None
    epochs = [phase.epochs for phase in plan]
    for position, phase in enumerate(plan, first):
        if resume is not None and position < resume["position"]:
            continue
        run.phase = phase
        if position > 0:  # so that a phase draws the same whether or not the training was resumed
            run.rng.manual_seed(stream_seed(run.seed, f"methods {position}"))
        with seeded(run, f"phase {position}"):
            ends = _train_phase(method, rows, epoch_rows, run, batch_size, resume)
            for epoch, losses, state in ends:
                passed = sum(epochs[: position - first]) + epoch
                events.passed(passed, sum(epochs), losses)
                if checkpoint is not None and due():
                    checkpoint({"position": position, **state()})
                if ended is not None and (position, epoch) == (0, phase.epochs):
                    ended({"position": 0, **state()})
        resume = None


def finish(method: Method, run: Run, validation: Rows | None = None) -> nn.Module:
    """The network as `method` leaves it after training, which is over with this."""
    assert run.model is not None
    run.progress.fill_(1)
    run.groups = None
    run.model.eval().requires_grad_(False)
    run.model = method.finish(run.model, validation, run).eval()
    return run.model


def _train_phase(
    method: Method,
    rows: Rows,
    epoch_rows: int,
    run: Run,
    batch_size: int,
    resume: State | None,
) -> Iterator[tuple[int, Tensor, Callable[[], State]]]:
    """Trains epoch by epoch; after each tells how many there were, the losses of its steps, and
    what gives the state at that moment.
    """
    model, phase = run.model, run.phase
    assert model is not None
    model.zero_grad(set_to_none=True)
    run.groups = None
    if resume is not None:
        model.load_state_dict(resume["model"], strict=False)  # what `enter` adds is not there yet
    run.train = rows = entered(method.enter(rows, run), rows, run)
    if resume is not None:
        model.load_state_dict(resume["model"])
        _put_back(resume.get("kept", {}), run)
    elif phase.reset is not None:
        model.get_submodule(phase.reset).apply(_reset)
    set_learning(model, phase)
    optimizer = method.optimizer(model, run)
    rates = [group["lr"] for group in optimizer.param_groups]
    if resume is not None:
        if "optimizer" in resume:
            optimizer.load_state_dict(resume["optimizer"])
        _restore(resume, run)
        if "hidden" in resume:
            method_state.put_back(method, run, resume["hidden"])
    closure, held_beside = LossClosure(method, optimizer, run), rows.beside()
    steps = len(portions(epoch_rows, batch_size))
    factors = schedule(phase, steps)
    first = resume["epoch"] if resume is not None else 0
    if first == phase.epochs:
        _weights(method, rows, run)
        run.progress.fill_(max(len(factors) - 1, 0) / max(len(factors), 1))  # of the last step
    for epoch in range(first, phase.epochs):
        run.progress.fill_(epoch / phase.epochs)
        weights = _weights(method, rows, run)
        drawn = draw(len(rows), epoch_rows, weights, run.chance["order"])
        losses = torch.zeros(steps, device=run.device, dtype=run.counts.dtype)
        for k, index in enumerate(drawn.split(portions(epoch_rows, batch_size))):
            now = epoch * steps + k
            run.progress.fill_(now / len(factors))
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factors[now]
            inputs = rows.inputs_at(index)
            if not phase.on_features:
                inputs = run.views.augmented(inputs, run.chance["views"])
            beside = {name: held[index] for name, held in held_beside.items()}
            batch = Batch(inputs, [(rows.labels[index], 1.0)], index, **_of_batch(beside))
            closure.take(method.batch(batch, run), losses[k])
            method.step(closure, optimizer, run)
        _refuse_divergence(losses, epoch * steps, len(factors), phase)
        yield epoch + 1, losses, partial(_state, epoch + 1, model, optimizer, run)


def _of_batch(beside: dict[str, Tensor]) -> dict[str, Any]:
    """What a batch holds of what its rows hold beside inputs and labels."""
    if "groups" in beside:
        return {**beside, "groups": (beside["groups"],)}
    return beside


def _weights(method: Method, rows: Rows, run: Run) -> Tensor | None:
    """The sampling weights of an epoch, once `run.seen` and the method's constants fit them."""
    weights = method.sampling_weights(rows.labels, run)
    run.seen = shares(rows.labels, weights, run.counts)
    method.prepare(run)
    return weights


def _state(
    epoch: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    run: Run,
) -> State:
    state = {
        "epoch": epoch,
        "model": model.state_dict(),
        "kept": {name: network.state_dict() for name, network in run.kept.items()},
        "optimizer": optimizer.state_dict(),
        "passes": run.passes,
        "chance": {stream: generator.get_state() for stream, generator in run.chance.items()},
        "rng": run.rng.get_state(),
        "torch": torch.get_rng_state(),
    }
    if run.device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(run.device)
    return state


def _put_back(kept: dict[str, State], run: Run) -> None:
    """Has the networks beside the one that is trained stand as they stood.

    Raises:
        Unresumable: one was not made again.
    """
    for name, state in kept.items():
        if name not in run.kept:
            raise method_state.Unresumable(
                f"the network kept as {name!r} was not made again; keep it in build, or in enter "
                "in each phase that uses it"
            )
        run.kept[name].load_state_dict(state)


def _restore(state: State, run: Run) -> None:
    run.passes = state["passes"]
    for stream, generator in run.chance.items():
        generator.set_state(state["chance"][stream])
    if "rng" in state:
        run.rng.set_state(state["rng"])
        torch.set_rng_state(state["torch"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], run.device)


class LossClosure:
    """What `Method.step` calls for fresh gradients; see `ltbench.contract.method.Closure`.

    Running statistics of BatchNorm move in the first pass over a batch and stay where they are
    in further ones.
    """

    def __init__(self, method: Method, optimizer: torch.optim.Optimizer, run: Run) -> None:
        assert run.model is not None
        self.method, self.model, self.optimizer, self.run = method, run.model, optimizer, run
        self.norms = [m for m in self.model.modules() if isinstance(m, _BatchNorm) and m.training]

    def take(self, batch: Batch, loss: Tensor) -> None:
        """Turn to the next batch; `loss` gathers what comes of it."""
        self.batch, self.loss, self.first = batch, loss, True

    @property
    def present(self) -> Tensor:
        """Which classes [C] have rows in the batch."""
        labels = torch.cat([labels for labels, _ in self.batch.targets])
        return in_classes(labels, None, self.run.num_classes) > 0

    def __call__(self, factor: Tensor | None = None) -> Tensor:
        statistics = nullcontext() if self.first else frozen_statistics(self.norms)
        self.first = False
        self.optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad(), statistics:
            if self.run.phase.on_features:
                output = scored(self.model, self.batch.inputs)
            else:
                output = forward(self.model, self.batch.inputs, self.run, self.batch.mask)
            loss = objective(self.method, output, self.batch, self.run, factor)
            loss.backward()
        self.run.passes += self.batch.inputs.shape[0]
        loss = loss.detach()
        self.loss += loss
        return loss


def forward(model: nn.Module, inputs: Tensor, run: Run, mask: Tensor | None = None) -> Output:
    """Scores of every head, and features.

    A lower precision is for the features alone; heads score in float32, margins need it.
    """
    return scored(model, run.through(model, inputs, mask))


def objective(
    method: Method, output: Output, batch: Batch, run: Run, factor: Tensor | None = None
) -> Tensor:
    """The scalar to minimise: the heads' weighted mean losses, added up, plus what is extra.

    Each of the batch's targets has a mean of its own, divided by the sum of its rows' weights.
    A `factor` [C] scales the loss of each class's rows and the extra term by its mean. All
    the while `run.output` is the output.
    """
    losses, run.output = [], output
    try:
        for run.head, scores in enumerate(output.heads):
            losses.append(_mean_loss(method, scores, batch, run, factor))
        loss = reduce(add, losses)
        for term in method.beside(output, batch, run):
            if term is not None:
                loss = loss + (term if factor is None else term * factor.mean())
    finally:
        run.output = None  # and the graph with it
    return loss


def _mean_loss(
    method: Method, scores: Tensor, batch: Batch, run: Run, factor: Tensor | None
) -> Tensor:
    means = []
    rows = batch.rows.shape[0]
    if scores.shape[0] > rows:  # the rest has no labels
        scores = scores[:rows]
    for k, (labels, share) in enumerate(batch.targets):
        run.groups = _groups(batch, k, run)
        losses = method.criterion(method.adjust(scores, labels, run), labels, run)
        weight = method.weight(labels, run)
        if factor is not None:
            losses = _of_classes(factor, labels) * losses
        if len(batch.targets) > 1:
            losses = share * losses
        means.append(losses.mean() if weight is None else (weight * losses).sum() / weight.sum())
    return reduce(add, means)


def _of_classes(factor: Tensor, labels: Tensor) -> Tensor:
    """The factor [N] of each row's class.

    Raises:
        LTBenchError: rows have other targets than one class.
    """
    if labels.dim() > 1 or labels.is_floating_point():
        raise LTBenchError(
            f"a step that takes classes apart needs a class for each row, but targets are "
            f"{labels.dtype} {list(labels.shape)}"
        )
    return factor[labels]


def _groups(batch: Batch, target: int, run: Run) -> Tensor | None:
    """The groups of the rows whose labels a target has.

    Raises:
        LTBenchError: a method mixed rows that have groups, and did not tell which.
    """
    if not batch.groups and (run.train is None or run.train.groups is None):
        return None
    if target >= len(batch.groups):
        raise LTBenchError(
            f"a batch mixes labels {len(batch.targets)} times, but tells the groups of "
            f"{len(batch.groups)}; what mixes rows that have groups tells them in Batch.groups"
        )
    return batch.groups[target]


@torch.no_grad()
def predict(
    method: Method,
    model: nn.Module,
    inputs: Tensor,
    run: Run,
    batch_size: int = PREDICTED_AT_ONCE,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Scores [N, C] and decided labels [N] of `inputs`, filled where a `mask` [N, L] says so.

    The method sees the rows in a hidden order, so that where one stands tells nothing of its class.

    Raises:
        Diverged: a score is not a finite number.
    """
    order = hidden_order(inputs, run.seed)
    scores, decided = answered(method, model, inputs, order, run, batch_size, mask)
    place = order.argsort()
    return scores[place], decided[place]


@torch.no_grad()
def answered(
    method: Method,
    model: nn.Module,
    inputs: Tensor,
    order: Tensor,
    run: Run,
    batch_size: int = PREDICTED_AT_ONCE,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Scores [N, C] and decided labels [N] of the `inputs` at the places `order` [N].

    Raises:
        Diverged: a score is not a finite number.
    """
    parts = []
    for some in order.split(batch_size):
        masked = None if mask is None else mask[some]
        output = forward(model, run.plain(inputs[some]), run, masked)
        parts.append(method.scores(method.combine(output, run), run))
    scores = torch.cat(parts)
    if not torch.isfinite(scores).all():
        raise Diverged("the trained network gives scores that are not finite")
    return scores, method.decide(scores, run)


def hidden_order(inputs: Tensor, seed: int) -> Tensor:
    """An order [N] of rows to predict: the same for one seed, and out of the reach of methods.

    It follows from a hash of all rows as they stood, which nobody has who is given portions of them
    in this order. So no seed and no place tells a label, and one seed still gives the same bits.
    """
    content = hashlib.sha256(f"{seed}/{list(inputs.shape)}".encode())
    content.update(memoryview(inputs.cpu().contiguous().numpy()))  # type: ignore[arg-type]
    chance = torch.Generator().manual_seed(int.from_bytes(content.digest()[:6]))
    return torch.randperm(len(inputs), generator=chance).to(inputs.device)


def schedule(phase: Phase, steps: int) -> list[float]:
    """The factor on the learning rate at each step of a phase with `steps` in an epoch.

    With milestones both the rise and the falls come at whole epochs, as in LDAM-DRW's recipe;
    without, a line and a cosine go from step to step.
    """
    if phase.milestones:
        rising = round(phase.warmup * phase.epochs)
        return [
            _stepped(phase, epoch, rising) for epoch in range(phase.epochs) for _ in range(steps)
        ]
    total = phase.epochs * steps
    rising = round(phase.warmup * total)
    return [
        (step + 1) / rising
        if step < rising
        else 0.5 * (1 + math.cos(math.pi * (step - rising) / (total - rising)))
        for step in range(total)
    ]


def _stepped(phase: Phase, epoch: int, rising: int) -> float:
    if epoch < rising:
        return (epoch + 1) / rising
    passed = [
        factor
        for milestone, factor in zip(phase.milestones, phase.factors, strict=True)
        if epoch >= round(milestone * phase.epochs)
    ]
    return passed[-1] if passed else 1.0


def portions(rows: int, batch_size: int) -> list[int]:
    """How many rows each step of an epoch takes; none takes a row alone, which has no variance."""
    sizes = [min(batch_size, rows - start) for start in range(0, rows, batch_size)]
    return [*sizes[:-2], sizes[-2] + 1] if len(sizes) > 1 and sizes[-1] == 1 else sizes


def draw(rows: int, size: int, weights: Tensor | None, rng: torch.Generator) -> Tensor:
    """The positions of `size` rows to train on in one epoch.

    Without weights every row comes equally often, as far as `size` allows; with them, rows are
    drawn with replacement.
    """
    if weights is not None:
        return torch.multinomial(weights, size, replacement=True, generator=rng)
    rounds = range(math.ceil(size / rows))
    every = [torch.randperm(rows, generator=rng, device=rng.device) for _ in rounds]
    return torch.cat(every)[:size]


def shares(labels: Tensor, weights: Tensor | None, counts: Tensor) -> Tensor:
    """The share [C] of each class among rows that are drawn with `weights`.

    A class without rows is seen as if it had one, the least likely. Where a target is a number
    there are no classes to tell by it, and shares are those of `counts`.
    """
    if labels.is_floating_point() and labels.dim() == 1:
        return counts / counts.sum()
    presented = in_classes(labels, weights, len(counts)).to(counts.dtype)
    least = presented.new_ones(()) if weights is None else weights.min().to(counts.dtype)
    presented = torch.where(presented > 0, presented, least)
    return presented / presented.sum()


def in_classes(labels: Tensor, weights: Tensor | None, classes: int) -> Tensor:
    """How many rows [C], or what weight of rows, each class has; labels may be [N, C] as well.

    Numbers [N] tell no classes apart, so each has one.
    """
    if labels.dim() == 1 and labels.is_floating_point():
        return labels.new_ones(classes)
    if labels.dim() == 1:
        return torch.bincount(labels, weights, minlength=classes)
    return labels.sum(0) if weights is None else weights @ labels.to(weights.dtype)


def generator(run: Run, stream: str) -> torch.Generator:
    """A generator of its own for one use of chance, so that no use disturbs another."""
    return torch.Generator(run.device).manual_seed(stream_seed(run.seed, stream))


def stream_seed(seed: int, stream: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{stream}".encode()).digest()[:6])


@contextmanager
def seeded(run: Run, stream: str) -> Iterator[None]:
    """Torch's global generator, seeded for one use and afterwards as it was before."""
    devices = [run.device] if run.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(stream_seed(run.seed, stream))
        yield


def set_learning(model: nn.Module, phase: Phase) -> None:
    """Has learn what the phase lets learn, and BatchNorm stand still where it says so."""
    model.train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(f"{name}.".startswith(f"{phase.learn}." if phase.learn else ""))
    if phase.frozen_bn:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def _reset(module: nn.Module) -> None:
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()  # type: ignore[operator]


def checked(rows: Rows, before: Rows, run: Run) -> Rows:
    """Rows that a method handed back, if they can stand in for those it was given.

    Raises:
        LTBenchError: they are of another kind, lack a class, or lack what rows have beside labels.
    """
    if rows is before:
        return rows
    for what in ("inputs", "labels"):
        now, was = getattr(rows, what), getattr(before, what)
        if now.dtype != was.dtype or now.shape[1:] != was.shape[1:]:
            raise LTBenchError(
                f"the {what} of resampled rows are {now.dtype} {list(now.shape[1:])} each; "
                f"they were {was.dtype} {list(was.shape[1:])}"
            )
    had, has = (in_classes(part.labels, None, run.num_classes) > 0 for part in (before, rows))
    lost = had.to(has.device) & ~has
    if lost.any():
        none = "" if had.all() else f"; class {int((~had).nonzero()[0])} had none before"
        raise LTBenchError(f"resampling left class {int(lost.nonzero()[0])} without rows{none}")
    _refuse_lacking("resampled rows", rows, before.beside().keys())
    return replace(rows, categorical=before.categorical).to(run.device)


def entered(rows: Rows, before: Rows, run: Run) -> Rows:
    """Rows that a method handed back on entering a phase; they may be of another kind, or features.

    Raises:
        LTBenchError: there are none, or they lack what rows have beside labels.
    """
    if rows is not before:
        needed = before.beside().keys() - ({"mask"} if run.phase.on_features else set())
        _refuse_lacking(f"rows of phase {run.phase.role}", rows, needed)
    return rows.to(run.device)


def _refuse_lacking(who: str, rows: Rows, needed: Set[str]) -> None:
    if not len(rows):
        raise LTBenchError(f"{who}: there are none to train on")
    lacking = needed - rows.beside().keys()
    if lacking:
        raise LTBenchError(
            f"{who} come without {' and '.join(sorted(lacking))}, which all rows here have; "
            "rows that are chosen by an index keep them"
        )


def _refuse_divergence(losses: Tensor, first: int, steps: int, phase: Phase) -> None:
    finite = torch.isfinite(losses)
    if not finite.all():
        k = int((~finite).nonzero()[0])
        raise Diverged(
            f"the loss became {losses[k].item()} at step {first + k + 1} of {steps} "
            f"(phase {phase.role})"
        )
