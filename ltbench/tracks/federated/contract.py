"""What federated learning asks of methods beyond the contract of all, and what it grants them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ltbench.contract.context import Grants, Rows, Run
from ltbench.contract.method import Method, Rule, hook, one
from ltbench.contract.recipes import Recipe
from ltbench.errors import LTBenchError

CLIENTS = "clients"
"""What a method needs that acts between clients."""

PEERS = "peers"
"""What a method needs that acts where there is no server."""

State = Mapping[str, Tensor]
"""Tensors by name, as clients and server send them."""


@dataclass(frozen=True)
class Update:
    """What a client sent in a round: the `state` of its network, how many `rows` it trained on,
    and, by name, what its methods `reported` beside."""

    client: int
    state: State
    rows: int
    reported: State = field(default_factory=dict)


def mean_of(states: Sequence[State], weights: Sequence[float]) -> dict[str, Tensor]:
    """The mean of several states, weighted; each tensor keeps its kind.

    Whole numbers, as steps that BatchNorm counted, are rounded down.
    """
    shares = torch.tensor(weights, dtype=torch.float64)
    shares = shares / shares.sum()
    found = {}
    for name, first in states[0].items():
        every = torch.stack([state[name] for state in states])
        kind = first.dtype if first.is_floating_point() else torch.float64
        mean = torch.tensordot(shares.to(first.device, kind), every.to(kind), dims=1)
        found[name] = mean.to(first.dtype)
    return found


def averaged(updates: Sequence[Update]) -> dict[str, Tensor]:
    """FedAvg (McMahan et al., AISTATS 2017): the mean of what clients trained, by their rows."""
    return mean_of([update.state for update in updates], [update.rows for update in updates])


def last_layer(state: State, who: str) -> Tensor:
    """The linear classifier [C, D + 1] in a state, weights beside biases.

    Raises:
        LTBenchError: there is none, which the method `who` needs.
    """
    if "head.weight" not in state or "head.bias" not in state:
        raise LTBenchError(f"{who} needs a linear classifier, which another method has replaced")
    return torch.cat([state["head.weight"], state["head.bias"][:, None]], dim=1)


def merged(given: Sequence[dict[str, Tensor] | None]) -> dict[str, Tensor]:
    """What several methods report, as one."""
    return {name: tensor for part in given if part for name, tensor in part.items()}


class Federating(Method):
    """A method with the hooks that federated learning adds; any other method joins it in a recipe.

    Each client has a copy of the method of its own, and so has the server: what one keeps on
    itself reaches nobody else. What is to be shared is in the network, in `report`, or in what
    `aggregate` gives.
    """

    @hook(Rule(many=True, join=merged))
    def report(self, model: nn.Module, rows: Rows, run: Run) -> dict[str, Tensor] | None:
        """What a client sends beside its parameters, once it has trained: tensors by name.

        `rows` are its own. Everything is seen by the server and counted as sent. The mean of what
        clients report, by their rows, comes back under the same names in `run.granted.received`.
        """
        return None

    @hook(one("aggregate what clients send"))
    def aggregate(self, updates: Sequence[Update], run: Run) -> State | None:
        """The state from which the next round starts, of the `updates` of this one.

        Entries beside those of the network go to the clients as well, in `run.granted.received`.
        None says that clients share nothing. Over a server it is called there, without rows;
        among peers by each, of whom `run` is.
        """
        return averaged(updates)

    @hook(one("make the networks of clients"))
    def personal(self, model: nn.Module, rows: Rows, run: Run) -> nn.Module:
        """The network that a client decides its own rows by, of a copy of the one that all have.

        `run.granted.train` trains `run.model`, which is that copy, further on its rows.
        """
        return model


class FederatedRecipe(Recipe):
    """A recipe with the hooks of the track."""

    def __init__(self, *methods: Method) -> None:
        super().__init__(*methods, contract=Federating)


def _nobody(epochs: int, lr: float | None = None, learn: str = "") -> None:
    raise AssertionError("training goes on for a client alone")


@dataclass(frozen=True, kw_only=True)
class FederatedGrants(Grants):
    """What the track grants, on the server and on clients.

    `client` is who is at work, of so many `clients`; None is the server, who has no rows and knows
    no counts: its `run.counts` are one for each class. `received` are the parameters as they came
    at the beginning of the round, and what else the server sent; they are not to be changed.
    `round` goes from 0. `train(epochs, lr, learn)` trains `run.model` of a client on its rows in a
    phase of role "personal", at a rate, by default the protocol's, that stays; `learn` is the part
    of the network that learns. `validation` are rows that a client put aside, where it has such.
    """

    client: int | None = None
    clients: int = 1
    round: int = 0
    received: State = field(default_factory=dict)
    train: Callable[..., None] = _nobody
    validation: Rows | None = None


def received_by(run: Run) -> State:
    """The tensors that came at the beginning of the round; none outside of this track."""
    found: State = getattr(run.granted, "received", {})
    return found
