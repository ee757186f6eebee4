"""Federated learning: clients train in rounds on rows that stay with them, and send parameters.

The network that all have in common is scored on the test split, and so is that of each client, by
the classes that the client has.
"""

import copy
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch
from msgspec import Struct, structs
from numpy.typing import NDArray
from torch import Tensor, nn

from ltbench.contract.context import Phase, Rows, Run
from ltbench.contract.method import hooks
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import (
    Answer,
    Arrays,
    Asked,
    Divided,
    Followed,
    Outcome,
    around,
    undivided,
)
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError, Unmet
from ltbench.results.records import Record
from ltbench.scoring import metrics
from ltbench.tracks import classification
from ltbench.tracks.classification import (
    EXACT,
    WARM_UP_STEPS,
    Parts,
    begin,
    over_networks,
    recalls_of,
    refuse_adapting,
    refuse_foreign,
    refuse_needs,
    score,
    seconds_of,
    split,
    time_plain,
    timed,
)
from ltbench.tracks.dividing import Given, asked
from ltbench.tracks.federated.contract import (
    CLIENTS,
    PEERS,
    FederatedGrants,
    FederatedRecipe,
    State,
    Update,
    mean_of,
)
from ltbench.tracks.federated.division import Index, divided
from ltbench.tracks.federated.problem import Federated, Federation
from ltbench.tracks.federated.scores import scored_clients
from ltbench.training import engine, events
from ltbench.training.engine import STREAMS, answered, checked, generator, go_on, stream_seed
from ltbench.training.timing import Clock

SUPPLIES = frozenset({CLIENTS, PEERS})
CHOICE, ATTACK = "chosen clients", "attack"  # streams of chance
LARGEST_SEED = 2**32  # what libraries take is below it
SHARED = "shared"  # whether there is a network that all have in common


class OfClients(Struct, frozen=True):
    """What a record keeps beside its measures: of each honest client its training rows of each
    class [K, C] and the recalls of its network there, None where there are no test rows.

    `shared` says that there is a network that all have in common.
    """

    rows: list[list[int]]
    recalls: list[list[float | None]]
    shared: bool


@dataclass
class Client:
    """One who has rows: a run, a copy of the recipe, and the rows to train and to validate on."""

    number: int
    method: FederatedRecipe
    run: Run
    rows: Rows
    validation: Rows | None
    epoch_rows: int
    epochs: int
    batch_size: int
    learn: str
    phases: int = 0
    lr: float = 0.0

    @property
    def model(self) -> nn.Module:
        assert self.run.model is not None
        return self.run.model

    def take(self, state: State, round_: int) -> None:
        """Begin a round with what came."""
        put_in(self.model, state)
        self.run.granted = replace(self.run.granted, received=frozen(state), round=round_)

    def go_on(self, phase: Phase) -> None:
        """Train for another phase, with an optimizer of its own."""
        go_on(
            self.method,
            self.rows,
            [phase],
            self.run,
            self.batch_size,
            self.epoch_rows,
            first=self.phases,
        )
        self.phases += 1
        self.model.eval()

    def train(self, epochs: int, lr: float | None = None, learn: str = "") -> None:
        """Train further, after the last round, by itself and at a rate that stays."""
        main, rate = self.run.phase, self.lr if lr is None else lr
        self.go_on(_still(replace(main, role="personal", learn=learn), epochs, rate))
        self.run.phase = main

    def update(self) -> Update:
        """What it sends once it has trained."""
        reported = self.method.report(self.model, self.rows, self.run)
        return Update(self.number, sent_of(self.model, self.learn), len(self.rows), reported)


def _still(phase: Phase, epochs: int, lr: float) -> Phase:
    """A phase whose rate stays as it is."""
    return replace(phase, epochs=epochs, lr=lr, warmup=0.0, milestones=(0.0,), factors=(1.0,))


def frozen(state: State) -> dict[str, Tensor]:
    """Copies of tensors, which nobody else holds."""
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def sent_of(model: nn.Module, learn: str) -> dict[str, Tensor]:
    """Copies of the tensors of the part of a network that learns, all of it for ""."""
    part = f"{learn}." if learn else ""
    return frozen({n: tensor for n, tensor in model.state_dict().items() if n.startswith(part)})


def put_in(model: nn.Module, state: State) -> None:
    """Puts what came into a network; what did not come stays as it is."""
    own = model.state_dict()
    model.load_state_dict({name: state.get(name, tensor) for name, tensor in own.items()})


def floats(state: State) -> int:
    """How many numbers a state has."""
    return sum(tensor.numel() for tensor in state.values())


def seconds(protocol: Federated, dataset: Dataset, device: torch.device) -> float:
    """About what a cell of plain training takes here, measured for a moment."""
    whole, parts = of_rounds(protocol), split(protocol, dataset, 0)
    return seconds_of(partial(time_plain, whole, parts, 0, device), protocol, device)


def of_rounds(protocol: Federated) -> Federated:
    """The protocol with the epochs of all rounds in its budget, for a row that is in each."""
    federation = protocol.federation
    chosen = federation.a_round / federation.clients
    epochs = max(1, round(protocol.budget.epochs * federation.rounds * chosen))
    return structs.replace(protocol, budget=structs.replace(protocol.budget, epochs=epochs))


def divide(
    protocol: Federated, seed: int, dataset: Dataset, needs: Set[str] = frozenset()
) -> Divided:
    """The data of a cell: rows of each client, test inputs to be asked, and labels to mark with."""
    parts = split(protocol, dataset, seed)
    classes = len(dataset.classes)
    owners = owned(protocol, parts, classes, seed)
    rows = np.stack([np.bincount(of(parts, own), minlength=classes) for own in owners])
    honest = protocol.federation.honest
    test = cache(parts.test)
    paper = cache(lambda: asked(test(), seed))

    def mark(answer: Answer) -> Outcome:
        labels, place = test().labels, paper()[1]
        shared, sent = bool(answer.told[SHARED]), float(answer.told["sent_floats"])
        if not sent >= 0:
            raise LTBenchError(f"a client cannot send {sent} numbers")
        of_all = slice(0, 1) if shared else slice(1, None)
        scored = [
            score(protocol, parts, labels, scores[place], predicted[place])
            for scores, predicted in zip(
                answer.scores[of_all], answer.predicted[of_all], strict=True
            )
        ]
        measures, predictions = over_networks(scored)
        own = answer.predicted[1:, place].numpy()
        recall = np.stack([metrics.recalls(labels.numpy(), one, classes) for one in own])
        return Outcome(
            measures={
                **measures,
                **scored_clients(recall, rows[:honest]),
                "sent_floats": sent,
            },
            timing=answer.timing,
            recall=recalls_of(predictions.labels, predictions.predicted, classes),
            class_counts=parts.class_counts,
            arrays=predictions.arrays(classes),
            notes=answer.notes,
            details=OfClients(rows[:honest].tolist(), listed(recall), shared),
        )

    given = Given(parts.train, parts.validation, parts.class_counts, classes, owners)
    return Divided(given, lambda: paper()[0], mark, classes, honest + 1)


def of(parts: Parts, own: Index) -> NDArray[np.int64]:
    """The labels of the rows at some positions."""
    labels: NDArray[np.int64] = parts.train.labels.numpy()[own]
    return labels


def owned(protocol: Federated, parts: Parts, classes: int, seed: int) -> list[Index]:
    """The positions of each client's rows among those to train on.

    Raises:
        LTBenchError: a client has none, or fewer than the protocol asks for.
    """
    labels = parts.train.labels.numpy()
    try:
        return divided(protocol.federation, labels, classes, seed)
    except LTBenchError as error:
        raise LTBenchError(f"{protocol.name}, seed {seed}: {error}") from None


def listed(values: NDArray[np.float64]) -> list[list[float | None]]:
    """Numbers [K, C] as lists, None for NaN."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]


def answer(
    protocol: Federated,
    recipe: Recipe,
    seed: int,
    given: Given,
    ask: Callable[[], Asked],
    device: torch.device,
) -> Answer:
    """Trains on the rows of clients, then says what test rows are by the network of all, and by
    that of each honest client."""
    refuse_unmet(protocol, recipe, given.classes)
    parts, whole = given.parts, of_rounds(protocol)
    time_plain(whole, parts, seed, device, WARM_UP_STEPS)
    before = time_plain(whole, parts, seed, device)
    with Clock(device) as clock:
        made = federated(protocol, recipe, seed, given, device)
    after = time_plain(whole, parts, seed, device)

    inputs, said = ask().inputs.to(device), []
    every = torch.arange(len(inputs), device=device)
    for method, its_run, network in made.networks:
        said.append(answered(method, network, inputs, every, its_run))
    runs = [its_run for _, its_run, _ in made.networks]
    passes = made.passes / (len(parts.train) * whole.budget.epochs)
    return Answer(
        scores=torch.stack([scores.double().cpu() for scores, _ in said]),
        predicted=torch.stack([predicted.cpu() for _, predicted in said]),
        timing=timed(clock, (before + after) / 2, passes),
        notes=list(dict.fromkeys(note for its_run in runs for note in its_run.notes)),
        told={SHARED: int(made.shared), "sent_floats": made.sent},
    )


@dataclass(frozen=True)
class Made:
    """What a federation comes to.

    `networks` are that of all, then that of each honest client, each with the method and the run
    that it answers by; `shared` says whether all have the first in common. `passes` are the rows
    whose gradient was computed, `sent` the numbers that a client sends and gets in a round,
    `updates` what came of the last one.
    """

    networks: list[tuple[FederatedRecipe, Run, nn.Module]]
    shared: bool
    passes: int
    sent: float
    updates: Sequence[Update]


def federated(
    protocol: Federated,
    recipe: Recipe,
    seed: int,
    given: Given,
    device: torch.device,
) -> Made:
    """The networks that clients and server make of the rows of each client in all rounds."""
    federation = protocol.federation
    server, method = _server(protocol, recipe, seed, given, device)
    clients = _clients(protocol, seed, given, server, device)
    factors = rates(protocol)
    chance = np.random.default_rng(stream_seed(seed, CHOICE))
    noise = torch.Generator().manual_seed(stream_seed(seed, ATTACK))
    assert server.model is not None
    start = sent_of(server.model, federation.learn)
    states: list[State] = [start] * federation.clients
    sent: list[float] = []
    for round_, factor in enumerate(factors):
        chosen = np.sort(chance.permutation(federation.clients)[: federation.a_round])
        trained = []
        for position, k in enumerate(chosen):
            client = clients[k]
            client.take(states[k], round_)
            client.lr = protocol.budget.lr * factor
            with events.part(round_ * len(chosen) + position, len(factors) * len(chosen)):
                client.go_on(_still(client.run.phase, client.epochs, client.lr))
            trained.append(client.update())
        updates = attacked(federation, trained, noise)
        up = float(np.mean([floats(update.state) + floats(update.reported) for update in trained]))
        if federation.topology == "peers":
            found = [_aggregated(client.method, updates, client.run) for client in clients]
            heard = any(state is not None for state in found)
            sent.append(2 * (len(clients) - 1) * up * heard)
            states = [new or old for new, old in zip(found, states, strict=True)]
        else:
            server.granted = replace(server.granted, received=states[0], round=round_)
            state = _aggregated(method, updates, server)
            sent.append(0 if state is None else up + floats(states[0]))
            states = [state or states[0]] * federation.clients
    return Made(
        networks=_finished(protocol, server, clients, states),
        shared=federation.topology == "server" and bool(sent[-1]),
        passes=sum(client.run.passes for client in clients),
        sent=float(np.mean(sent)),
        updates=updates,
    )


def _server(
    protocol: Federated, recipe: Recipe, seed: int, given: Given, device: torch.device
) -> tuple[Run, FederatedRecipe]:
    """The run of the server, who has no rows, with the network that all begin with."""
    parts = given.parts
    none = torch.zeros(0, dtype=torch.int64)
    run = begin(protocol, replace(parts, train=parts.train[none]), seed, device)
    run.granted = FederatedGrants(clients=protocol.federation.clients)
    method = FederatedRecipe(*copy.deepcopy(recipe.methods))
    run.recipe, run.train = method, parts.train[none]
    assert run.model is not None
    with engine.seeded(run, "build"):
        run.model = method.build(run.model, run).to(device)
    return run, method


def _clients(
    protocol: Federated, seed: int, given: Given, server: Run, device: torch.device
) -> list[Client]:
    """The clients before the first round, each with copies of the server's network and methods."""
    clients = []
    held = kept_aside(protocol, given, seed)
    for k, own in enumerate(given.beside):
        rows = copied(given.train, own)
        its_seed = stream_seed(seed, f"client {k}") % LARGEST_SEED
        run = begin(protocol, replace(given.parts, train=rows), its_seed, device)
        # together, so that what a method holds of its network is that of the copy
        run.model, methods = copy.deepcopy((server.model, server.recipe.methods))
        run.recipe = method = FederatedRecipe(*methods)
        rows, validation = rows.to(device), None if held is None else held[k].to(device)
        run.train, run.chance = rows, {stream: generator(run, stream) for stream in STREAMS}
        budget = protocol.budget
        run.phase = replace(run.phase, learn=protocol.federation.learn)
        client = Client(
            k,
            method,
            run,
            rows,
            validation,
            len(rows),
            budget.epochs,
            budget.batch_size,
            protocol.federation.learn,
        )
        run.granted = FederatedGrants(
            client=k,
            clients=protocol.federation.clients,
            train=client.train,
            validation=validation,
        )
        client.rows = checked(method.resample(rows, run), rows, run)
        clients.append(client)
    return clients


def copied(rows: Rows, own: Index) -> Rows:
    """Copies of the rows at some positions, behind which no others stand."""
    index = torch.from_numpy(own)
    return Rows(rows.inputs_at(index).clone(), rows.labels[index].clone())


def kept_aside(protocol: Federated, given: Given, seed: int) -> list[Rows] | None:
    """The rows that each client put aside, of the classes that it has, or None.

    Those of a class are dealt to the clients who have it, one after the other.
    """
    if given.validation is None:
        return None
    labels, owners = given.train.labels.numpy(), given.beside
    aside = given.validation.labels.numpy()
    has = np.stack([np.bincount(labels[own], minlength=given.classes) > 0 for own in owners])
    dealt: list[list[Index]] = [[] for _ in owners]
    for c in range(given.classes):
        having = np.flatnonzero(has[:, c])
        for k, part in zip(
            having, np.array_split(np.flatnonzero(aside == c), len(having)), strict=True
        ):
            dealt[k].append(part)
    return [copied(given.validation, np.concatenate(rows)) for rows in dealt]


def rates(protocol: Federated) -> list[float]:
    """The factor on the rate in each round."""
    budget, rounds = protocol.budget, protocol.federation.rounds
    phase = Phase(
        role="main",
        epochs=rounds,
        lr=budget.lr,
        weight_decay=budget.weight_decay,
        warmup=budget.warmup,
        milestones=budget.milestones,
        factors=budget.factors,
    )
    return engine.schedule(phase, 1)


def attacked(
    federation: Federation, updates: Sequence[Update], noise: torch.Generator
) -> list[Update]:
    """The updates of a round, those of attackers replaced by what they send."""
    honest = [update for update in updates if update.client < federation.honest]
    if len(honest) == len(updates) or not honest:
        return list(updates)
    mean = mean_of([update.state for update in honest], [1.0] * len(honest))
    found = []
    for update in updates:
        if update.client >= federation.honest:
            update = replace(update, state=_attack(federation, mean, noise))
        found.append(update)
    return found


def _attack(federation: Federation, mean: State, noise: torch.Generator) -> dict[str, Tensor]:
    strength = federation.strength
    if federation.attack == "turned":
        return {name: _like(-strength * tensor, tensor) for name, tensor in mean.items()}
    drawn = {n: torch.rand(t.shape, generator=noise).to(t.device) - 0.5 for n, t in mean.items()}
    return {name: _like(strength * drawn[name], tensor) for name, tensor in mean.items()}


def _like(made: Tensor, tensor: Tensor) -> Tensor:
    """A tensor of another's kind; what is no parameter stays as it is."""
    return made.to(tensor.dtype) if tensor.is_floating_point() else tensor


def _aggregated(method: FederatedRecipe, updates: Sequence[Update], run: Run) -> State | None:
    """The state of the next round, with the mean of what clients reported; None where nothing is
    shared.

    Raises:
        LTBenchError: a method gave a state that the network cannot take, or clients do not report
            the same.
    """
    state = method.aggregate(updates, run)
    if state is None:
        return None
    for name, tensor in updates[0].state.items():
        if name not in state or state[name].shape != tensor.shape:
            raise LTBenchError(f"{method.text} aggregates to a state without a fitting {name}")
    reported = [update.reported for update in updates]
    names = set().union(*reported)
    for update in updates:
        for name in sorted(names - update.reported.keys()):
            raise LTBenchError(
                f"{method.text}: client {update.client} reports no {name}, which others do"
            )
    known = mean_of(reported, [update.rows for update in updates])
    return frozen({**known, **state})


def _finished(
    protocol: Federated, server: Run, clients: Sequence[Client], states: Sequence[State]
) -> list[tuple[FederatedRecipe, Run, nn.Module]]:
    """The network of all once the last round is over, and what each client makes of what came.

    Everybody calls `finish`, the server without rows. What a method derives of counts is that of
    whoever decides: also where a client was never chosen, or the server, who never trains.
    """
    rounds, common = protocol.federation.rounds, server.model
    assert common is not None
    server.granted = replace(server.granted, received=states[0], round=rounds)
    put_in(common, states[0])
    server.recipe.prepare(server)
    networks = [(server.recipe, server, engine.finish(server.recipe, server))]
    for client in clients[: protocol.federation.honest]:
        client.take(states[client.number], rounds)
        client.lr, run = protocol.budget.lr, client.run
        run.train = client.rows
        client.method.prepare(run)
        engine.finish(client.method, run, client.validation)
        own = client.method.personal(client.model, client.rows, run)
        run.progress.fill_(1)
        networks.append((client.method, run, own.eval().requires_grad_(False)))
    return networks


def measured(protocol: Federated, record: Record, arrays: Arrays, details: OfClients) -> Followed:
    """Every measure that follows from what a record keeps of its test rows and its clients."""
    found = arrays["labels"], np.atleast_2d(arrays["predicted"])
    recall = np.array(details.recalls, dtype=np.float64)
    told = scored_clients(recall, np.array(details.rows))
    return {
        **classification.measured(protocol, record, found, arrays),
        **{name: around(value, EXACT) for name, value in told.items()},
    }


def refuse_unmet(protocol: Federated, recipe: Recipe, num_classes: int) -> None:
    """Refuses, by name, what the track would pass over in silence.

    Raises:
        Unmet: a need is not met, a hook is never called, or a method acts on another kind of model.
    """
    refuse_foreign(protocol, recipe)
    refuse_adapting(protocol, recipe)
    for method in recipe.methods:
        if "phases" in hooks(type(method)):
            raise Unmet(
                f"{method.name} edits the phases of training; {protocol.name} has a phase for each "
                "client and round, so this cell is skipped"
            )
    supplied = {CLIENTS} | ({PEERS} if protocol.federation.topology == "peers" else set())
    supplied |= {"two_classes"} if num_classes == 2 else set()
    refuse_needs(protocol, recipe, frozenset(supplied))


run = undivided(divide, answer)
