"""How one method learns task after task: its rows, its network that grows, what it keeps."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from msgspec import structs
from torch import Tensor, nn

from ltbench.contract.context import Rows, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.errors import LTBenchError
from ltbench.tracks import classification, kept_networks
from ltbench.tracks.classification import Parts
from ltbench.tracks.dividing import Given
from ltbench.tracks.incremental.contract import (
    PAST_ROWS,
    ClassIncremental,
    IncrementalGrants,
    Past,
)
from ltbench.tracks.incremental.problem import Incremental
from ltbench.training import engine
from ltbench.training.engine import stream_seed

WORD = 4  # bytes of a float32, in which all that is kept is counted


@dataclass(frozen=True)
class Network:
    """What a method was after a task: its run, a copy of itself, and a hash of its network then."""

    method: Recipe
    run: Run
    digest: str

    @property
    def model(self) -> nn.Module:
        assert self.run.model is not None
        return self.run.model


@dataclass(frozen=True)
class Learned:
    """The network after each task, and the floats that were carried along to the end."""

    networks: list[Network]
    kept_floats: float

    @property
    def passes(self) -> int:
        return sum(network.run.passes for network in self.networks)

    @property
    def notes(self) -> list[str]:
        return list(dict.fromkeys(note for network in self.networks for note in network.run.notes))


def learn(
    protocol: Incremental, recipe: Recipe, seed: int, given: Given, device: torch.device
) -> Learned:
    """What `recipe` makes of the tasks of one cell, one after the other.

    Rows of an earlier task are given again only if memory holds them, or, all of them, to a method
    that needs them and is a bound.

    Raises:
        Diverged: a loss became NaN or infinite.
        LTBenchError: a method keeps what is not there or more than memory holds, or changes the
            frozen network of the task before.
    """
    method = Recipe(*copy.deepcopy(recipe.methods), contract=ClassIncremental)
    every, known, again = given.train.to(device), given.beside, PAST_ROWS in recipe.all_needs
    arrived = torch.tensor(given.class_counts, dtype=torch.float32, device=device)
    memory = torch.zeros(0, dtype=torch.long, device=device)
    networks: list[Network] = []
    kept = 0.0
    for task, classes in enumerate(known):
        old, before = (known[task - 1], networks[-1]) if task else (0, None)
        if again:
            memory = (every.labels < old).nonzero()[:, 0]
        new = ((every.labels >= old) & (every.labels < classes)).nonzero()[:, 0]
        present = torch.cat([memory, new])
        rows, room = every[present], protocol.memory.room(classes)
        run = begin(protocol, rows, task, classes, seed, device)
        plain = floats_in(run.model)
        past = None
        if before is not None:
            past = Past(known[:task], arrived[:classes], room, before.method, before.run)
        run.granted = IncrementalGrants(past=past)
        train(method, rows, run, before, protocol.budget_of(task).batch_size)
        memory = present[remembered(method, rows, room, run)]
        assert run.model is not None
        networks.append(Network(copy.deepcopy(method), run, kept_networks.digest(run.model)))
        held: list[Any] = [] if again else [every.inputs_at(memory)]
        if before is not None and past is not None and past.used:
            held.append(before.model)
        kept = max(floats_in([run.model, *run.kept.values(), *held, *method.methods]) - plain, 0.0)
    refuse_changed(recipe, networks)
    return Learned(networks, kept)


def refuse_changed(recipe: Recipe, networks: list[Network]) -> None:
    """Refuses networks of earlier tasks that are not what they were.

    Raises:
        LTBenchError: a method changed one.
    """
    for task, network in enumerate(networks):
        if kept_networks.digest(network.model) != network.digest:
            raise LTBenchError(
                f"{recipe.text} changed the network of task {task + 1} once that was over, and it "
                "is frozen; let it work on a copy (copy.deepcopy)"
            )


def begin(
    protocol: Incremental, rows: Rows, task: int, classes: int, seed: int, device: torch.device
) -> Run:
    """A run at the start of a task, with a fresh network; that of the first is the seed's own."""
    counts = rows.labels.bincount(minlength=classes).tolist()
    own = seed if task == 0 else stream_seed(seed, f"task {task}")
    budget = structs.replace(protocol, budget=protocol.budget_of(task))
    parts = Parts(rows, None, lambda: rows, counts)
    return classification.begin(budget, parts, own, device)


def train(method: Recipe, rows: Rows, run: Run, before: Network | None, batch_size: int) -> None:
    """Trains the network of a task, which begins as that of the task before, grown.

    Raises:
        LTBenchError: there are too few rows to train on.
    """
    if len(rows) < 2:
        raise LTBenchError(
            f"a task of {run.num_classes} known classes has {len(rows)} rows, too few to train on; "
            "state fewer tasks, or a larger memory"
        )
    trained, plan = engine.begin(method, rows, run)
    if before is not None:
        assert run.model is not None
        grow(run.model, before.model, run)
    engine.go_on(method, trained, plan, run, batch_size, len(rows))
    engine.finish(method, run)


@torch.no_grad()
def grow(model: nn.Module, before: nn.Module, run: Run) -> None:
    """Gives a network every tensor of the one before; where that has fewer rows, the first ones.

    What the earlier one has and this one does not, as what was added in training, is left behind.
    """
    ours = model.state_dict()
    for name, tensor in before.state_dict().items():
        if name not in ours:
            continue
        own = ours[name]
        if own.shape == tensor.shape:
            own.copy_(tensor)
        elif own.shape[1:] == tensor.shape[1:] and own.dim() and len(own) > len(tensor):
            own[: len(tensor)] = tensor
        else:
            run.note(
                f"{name} begins anew with each task: it is {list(own.shape)}, and was "
                f"{list(tensor.shape)}"
            )


def remembered(method: Method, rows: Rows, room: int, run: Run) -> Tensor:
    """The positions of the rows that a method keeps, if it may.

    Raises:
        LTBenchError: they are no positions, not there, twice there, or more than memory holds.
    """
    who = f"{method.text}: remember" if isinstance(method, Recipe) else "remember"
    kept: Any = method.remember(rows, room, run)  # type: ignore[attr-defined]
    whole = isinstance(kept, Tensor) and not (kept.is_floating_point() or kept.is_complex())
    if not whole or kept.dim() != 1 or kept.dtype == torch.bool:
        told = f"{kept.dtype} {list(kept.shape)}" if isinstance(kept, Tensor) else repr(kept)
        raise LTBenchError(f"{who} gave {told[:80]}; it gives positions, whole numbers [M]")
    at: Tensor = kept.to(rows.labels.device, torch.long)
    outside = at[(at < 0) | (at >= len(rows))]
    if len(outside):
        raise LTBenchError(
            f"{who} gave position {int(outside[0])}, and there are {len(rows)} rows; positions are "
            f"from 0 to {len(rows) - 1}"
        )
    if len(at.unique()) < len(at):
        twice = at.sort().values
        again = int(twice[:-1][twice[1:] == twice[:-1]][0])
        raise LTBenchError(f"{who} gave position {again} twice; a row is kept once")
    if len(at) > room:
        raise LTBenchError(
            f"{who} gave {len(at)} positions, and memory holds {room} rows; give fewer"
        )
    return at


def plain_rows(protocol: Incremental, given: Given) -> list[int]:
    """How many rows plain training with memory has in each task."""
    counts, rows = np.array(given.class_counts), []
    starts = [0, *given.beside[:-1]]
    for start, known in zip(starts, given.beside, strict=True):
        each = protocol.memory.room(start) // start if start else 0
        rows.append(int(counts[start:known].sum() + np.minimum(counts[:start], each).sum()))
    return rows


def floats_in(value: Any, found: set[int] | None = None) -> float:
    """What an object holds in tensors, in words of float32, each of them counted once."""
    found = set() if found is None else found
    if id(value) in found:
        return 0.0
    found.add(id(value))
    if isinstance(value, Tensor):
        return value.numel() * value.element_size() / WORD
    if isinstance(value, np.ndarray):
        return value.nbytes / WORD
    held: Iterable[Any] = ()
    if isinstance(value, nn.Module):
        held = value.state_dict(keep_vars=True).values()
    elif isinstance(value, dict):
        held = value.values()
    elif isinstance(value, list | tuple | set):
        held = value
    elif isinstance(value, Method | Rows):
        held = vars(value).values()
    return sum(floats_in(one, found) for one in held)
