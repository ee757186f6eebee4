"""The checks of a method that acts between clients; none knows a formula."""

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from msgspec import structs
from torch import Tensor, nn

from ltbench.contract.context import Batch, Rows, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Check
from ltbench.datasets import Dataset
from ltbench.errors import Diverged, LTBenchError
from ltbench.testing.checks import shared
from ltbench.testing.report import Failure, expect, named
from ltbench.testing.task import Everywhere, Spy, Task, Trained, counts_for, expect_unseen, rows_of
from ltbench.tracks.dividing import Given
from ltbench.tracks.federated.contract import PEERS, Federating
from ltbench.tracks.federated.division import Index
from ltbench.tracks.federated.problem import Federated, Federation
from ltbench.tracks.federated.track import SUPPLIES, Made, federated, run
from ltbench.tracks.marked import expect_deaf, fields, marked
from ltbench.training.engine import predict

CPU = torch.device("cpu")
NEEDS = SUPPLIES | {"two_classes"}
CLIENTS = 3  # of the small task
ROUNDS = 2
MARKED = 31.4159  # and a client's number stand in its rows
NEAR = 1e-4
OTHERWISE = ("it resumes", "frozen parts stay", "statistics move once a step")
"""Checks of one training from its start, which a cell of this track is not."""


def checks(recipe: Recipe) -> Mapping[str, Check]:
    """The checks of a recipe of networks that asks for clients; none of any other."""
    of_networks = all("network" in method.models for method in recipe.methods)
    if not of_networks or recipe.all_needs - NEEDS or not recipe.all_needs & SUPPLIES:
        return {}
    common = {name: one for name, one in shared(Task(trained)).items() if name not in OTHERWISE}
    own = (rows_stay_with_their_clients, a_client_may_lack_classes, a_client_may_sit_out)
    return {**common, **named((*own, held_out_rows_stay_out))}


def small(
    dataset: Dataset, recipe: Recipe | None = None, chosen: float = 1.0, clients: int = CLIENTS
) -> Federated:
    """A small protocol over a data set; among peers for a recipe that needs them."""
    keys = fields(dataset)
    data = structs.replace(keys["data"], validation_share=None)
    peers = recipe is not None and PEERS in recipe.all_needs
    federation = Federation(
        clients=clients,
        rounds=ROUNDS,
        division="classes",
        classes=len(dataset.classes),
        chosen=1.0 if peers else chosen,
        topology="peers" if peers else "server",
    )
    return Federated(**{**keys, "data": data}, federation=federation)


def dealt(labels: Tensor, clients: int = CLIENTS) -> list[Index]:
    """The rows of each class, one to a client after the other, so that everybody has all."""
    order = np.argsort(labels.numpy(), kind="stable")
    return [np.sort(order[k::clients]) for k in range(clients)]


def apart(labels: Tensor, clients: int = CLIENTS) -> list[Index]:
    """All rows of a class to one client, so that everybody lacks classes."""
    return [np.flatnonzero(labels.numpy() % clients == k) for k in range(clients)]


def taught(
    method: Method,
    counts: Sequence[int],
    rows: Rows | None = None,
    owners: Sequence[Index] | None = None,
    chosen: float = 1.0,
) -> Made:
    """What a method makes of the clouds of the small task, which a few clients have."""
    rows = rows_of(counts) if rows is None else rows
    whole = method if isinstance(method, Recipe) else Recipe(method)
    owners = dealt(rows.labels) if owners is None else owners
    names = tuple(map(str, range(len(counts))))
    protocol = small(Dataset(rows, names), whole, chosen, len(owners))
    given = Given(rows, None, list(counts), len(counts), owners)
    return federated(protocol, whole, 7, given, CPU)


def trained(
    method: Method, counts: Sequence[int], rows: Rows | None = None, **options: Any
) -> Trained:
    """What a short training on a few clients makes of a method: the network of the first."""
    made = taught(method, counts, rows, **options)
    own, its_run, model = made.networks[1]
    predicted = partial(predict, own, model, run=its_run)
    test = rows_of([4] * len(counts), seed=1)
    return Trained(its_run, model, predicted(test.inputs)[0], predicted)


class Watching(Federating):
    """Notes whose rows reach the hooks of whom, by the marks that stand in them."""

    name = "watching"
    roles = Everywhere(("main",))

    def __init__(self) -> None:
        self.found: set[tuple[int | None, int]] = set()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Watching":
        return self  # a copy would keep to itself what it saw

    def see(self, inputs: Tensor, run: Run) -> None:
        self.found |= {(run.granted.client, owner) for owner in owners_in(inputs)}

    def resample(self, train: Rows, run: Run) -> Rows:
        self.see(train.inputs, run)
        return train

    def enter(self, train: Rows, run: Run) -> Rows:
        self.see(train.inputs, run)
        return train

    def batch(self, batch: Batch, run: Run) -> Batch:
        self.see(batch.inputs, run)
        return batch

    def report(self, model: nn.Module, rows: Rows, run: Run) -> dict[str, Tensor] | None:
        self.see(rows.inputs, run)
        return None


class Ending(Watching):
    """The same, as the last of all methods."""

    name = "ending"


def owners_in(tensor: Tensor) -> set[int]:
    """The clients whose marks stand in a tensor."""
    marks = MARKED + torch.arange(CLIENTS)
    near = (tensor.double().flatten()[:, None] - marks).abs() < NEAR
    return set(near.any(dim=0).nonzero()[:, 0].tolist())


def rows_stay_with_their_clients(method: Recipe) -> None:
    """No row of a client may reach the server or another client, in a hook or in what is sent."""
    counts = counts_for(method)
    rows = rows_of(counts)
    owners = dealt(rows.labels)
    for k, own in enumerate(owners):
        rows.inputs[torch.from_numpy(own), 0, 0, 0] = MARKED + k
    first, last = Watching(), Ending()
    made = taught(Recipe(first, *copy.deepcopy(method.methods), last), counts, rows, owners)
    found = first.found | last.found
    expect(found, "expected the hooks of clients to be called, but none was")
    strayed = {"the server" if who is None else f"client {who}": k for who, k in found if who != k}
    for who, k in sorted(strayed.items()):
        raise Failure(
            f"expected each client to see rows of its own, but those of client {k} reached {who}; "
            "keep nothing of rows where others can read it"
        )
    for update in made.updates:
        for name, tensor in {**update.state, **update.reported}.items():
            expect(
                not owners_in(tensor),
                f"expected no row to be sent, but one stands in what clients send as {name}; send "
                "what is computed of many",
            )


def a_client_may_lack_classes(method: Recipe) -> None:
    """Clients without rows of some classes must train, or be refused in a sentence."""
    counts = counts_for(method)
    rows = rows_of(counts)
    owners = apart(rows.labels, min(CLIENTS, len(counts)))
    _expect_numbers(method, counts, "clients that lack classes", rows=rows, owners=owners)


def a_client_may_sit_out(method: Recipe) -> None:
    """A client that is never chosen must have a network too, or be refused in a sentence."""
    _expect_numbers(method, counts_for(method), "one client a round", chosen=1 / CLIENTS)


def _expect_numbers(method: Recipe, counts: Sequence[int], what: str, **options: Any) -> None:
    test = rows_of([4] * len(counts), seed=1)
    try:
        made = taught(copy.deepcopy(method), counts, **options)
        scores = [predict(m, model, test.inputs, one)[0] for m, one, model in made.networks]
    except Diverged as error:
        raise Failure(
            f"expected numbers with {what}, but {error}; a class may have no rows on a client"
        ) from None
    except LTBenchError:
        return  # refused in a sentence
    expect(
        all(one.shape[1] == len(counts) and torch.isfinite(one).all() for one in scores),
        f"expected finite scores of {len(counts)} classes with {what}, but saw others",
    )


def held_out_rows_stay_out(method: Recipe) -> None:
    """No row of the test split may reach a hook."""
    of = partial(small, recipe=method, clients=2)
    protocol, dataset = marked(min(3, len(counts_for(method))), of)
    spy = Spy()
    run(protocol, Recipe(*method.methods, spy), 0, dataset, CPU)
    expect_unseen(spy)


def decoys_change_nothing(method: Recipe) -> None:
    """A cell of digits must decide alike where the labels of test rows are false."""

    def learning(dataset: Dataset) -> Federated:
        protocol = small(dataset, method, clients=2)
        budget = structs.replace(protocol.budget, epochs=10)
        return structs.replace(protocol, budget=budget)

    expect_deaf(method, learning, run)


THOROUGH = named((decoys_change_nothing,))
