"""Compression: a trained network made smaller with a few imbalanced rows, scored on the test split.

The track trains the teacher. A method's `build` prunes a copy of it for good, and what else the
recipe does in training recovers it, on a few long-tailed rows and once more on their balanced twin,
which has as many. The last epoch of each is scored.
"""

import copy
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from statistics import median

import numpy as np
import torch
from msgspec import Struct, structs
from torch import Tensor, nn

from ltbench.contract.context import Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Answer, Asked, Divided, Finder, Outcome, undivided
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError, Unmet
from ltbench.protocols.imbalance import long_tailed
from ltbench.results.records import Scores
from ltbench.tracks import classification, kept_networks
from ltbench.tracks.classification import (
    REFERENCE_SHARE,
    WARM_UP_STEPS,
    Parts,
    begin,
    recalls_of,
    refuse_adapting,
    refuse_foreign,
    refuse_needs,
    score,
    split,
    time_plain,
    timed,
)
from ltbench.tracks.compression import pools
from ltbench.tracks.compression.contract import CompressionGrants, Recovering
from ltbench.tracks.compression.problem import Compression, by_rank
from ltbench.tracks.compression.pruning import macs, size
from ltbench.tracks.dividing import Given, asked
from ltbench.tracks.kept_networks import digest
from ltbench.training import events
from ltbench.training.engine import answered, train
from ltbench.training.timing import Clock

OOD = "ood"
SUPPLIES = frozenset({"teacher", OOD})
NETWORKS = 3  # that answer: the compressed one, its twin's and the teacher
SIZES = ("parameters", "of_teacher", "macs", "of_teachers")
KIND = "teachers"
TEACHERS = 2  # kept in a process, so that the recipes of a seed share theirs
LATENCY_ROWS = 64
LATENCY_ROUNDS = 15


@dataclass(frozen=True)
class Source(Dataset):
    """The rows, with the pool of other images, or why it cannot be had."""

    pool: Tensor | LTBenchError | None = None


class Compressed(Struct, frozen=True):
    """The network that a cell made, beside its measures: a hash of its teacher's weights, and all
    metrics of the network that as many rows, but balanced, led to.
    """

    teacher: str
    twin: Scores


def left(parameters: int, of_teacher: int, operations: int, of_teachers: int) -> Scores:
    """What is left of the teacher's parameters and operations."""
    return {
        "parameters_left": parameters / of_teacher,
        "macs_left": operations / of_teachers,
    }


def load(registry: Finder, protocol: Compression) -> dict[str, Dataset]:
    """The protocol's one data set, with its pool of other images.

    A pool that cannot be had costs the cells alone that ask for it.

    Raises:
        LTBenchError: the data set cannot be had.
    """
    (dataset,) = classification.load(registry, protocol).values()
    try:
        pool: Tensor | LTBenchError = pools.read(protocol.ood, dataset.train, registry.dataset)
    except LTBenchError as error:
        pool = error
    kept = dataset.train, dataset.classes, dataset.test, dataset.fingerprint
    return {"": Source(*kept, pool=pool)}


def seconds(protocol: Compression, dataset: Dataset, device: torch.device) -> float:
    """About what training on the few rows takes, twice, with the teacher's share of its training.

    Measured for a moment.
    """
    parts = split(protocol, dataset, 0)
    time_plain(protocol, parts, 0, device, WARM_UP_STEPS)
    work = 2 * time_plain(protocol, few(protocol, parts, 0)[0], 0, device)
    if protocol.compressing.teacher == "seed":
        work += time_plain(of_teacher(protocol), parts, 0, device) / len(protocol.recipes)
    if device.type == "cpu":
        work /= protocol.compute.threads  # it is that of all threads
    return work * (1 + 2 * REFERENCE_SHARE)


def divide(protocol: Compression, seed: int, dataset: Dataset, needs: Set[str]) -> Divided:
    """The data of a cell: rows to train on, test inputs to be asked, and labels to mark with.

    The pool of other images is there for a recipe that needs it.
    """
    parts = split(protocol, dataset, seed)
    few_rows = few(protocol, parts, seed)
    ood = pool_of(dataset) if OOD in needs else None
    test = cache(parts.test)
    paper = cache(lambda: asked(test(), seed))

    def mark(answer: Answer) -> Outcome:
        if ood is not None:
            pools.refuse_overlap(ood, test().inputs, protocol.ood)
        labels, place = test().labels, paper()[1]
        (told, predictions), (told_twin, of_twin) = (
            score(protocol, rows, labels, answer.scores[k][place], answer.predicted[k][place])
            for k, rows in enumerate(few_rows)
        )
        taught = answer.predicted[2][place].numpy()
        sizes = {name: int(answer.told[name]) for name in SIZES}
        made = {
            "twin": told_twin[protocol.scoring.metrics[0]],
            "parameters": sizes["parameters"],
            "macs": sizes["macs"],
            **left(*sizes.values()),
            "latency": float(answer.told["latency"]),
            "agreement": float((predictions.predicted == taught).mean()),
            "twin_seconds": float(answer.told["twin_seconds"]),
        }
        counts = few_rows[0].class_counts
        arrays = predictions.arrays(len(counts))
        arrays["twin_predicted"] = of_twin.predicted.astype(arrays["predicted"].dtype)
        return Outcome(
            measures={**told, **made},
            timing=answer.timing,
            recall=recalls_of(predictions.labels, predictions.predicted, len(dataset.classes)),
            class_counts=counts,
            arrays=arrays,
            notes=answer.notes,
            details=Compressed(str(answer.told["teacher"]), told_twin),
            control=sizes["parameters"] >= sizes["of_teacher"],
        )

    classes = len(dataset.classes)
    given = Given(parts.train, parts.validation, parts.class_counts, classes, ood)
    return Divided(given, lambda: paper()[0], mark, classes, NETWORKS)


def answer(
    protocol: Compression,
    recipe: Recipe,
    seed: int,
    given: Given,
    ask: Callable[[], Asked],
    device: torch.device,
) -> Answer:
    """Compresses on what was given, then says what test rows are: by the network that the few rows
    led to, by the one of their balanced twin, and by the teacher."""
    refuse_unmet(protocol, recipe)
    parts = given.parts
    ood = None if given.beside is None else given.beside.to(device)
    tailed, twin = few(protocol, parts, seed)
    teacher = Teachers(protocol, parts, seed, device)()
    time_plain(protocol, tailed, seed, device, WARM_UP_STEPS)
    before = time_plain(protocol, tailed, seed, device)
    clocks = [Clock(device), Clock(device)]
    runs: list[tuple[Method, Run]] = []
    for clock, rows in zip(clocks, (tailed, twin), strict=True):
        run = begin(protocol, rows, seed, device)
        run.model = copy.deepcopy(teacher).requires_grad_(True)
        run.granted = CompressionGrants(
            run=run, teacher=teacher, compressing=protocol.compressing, ood=ood
        )
        own, train_rows = Recovering(*copy.deepcopy(recipe.methods)), rows.train.to(device)
        with events.part(len(runs), 2), clock:
            train(own, train_rows, run, protocol.budget.batch_size)
        runs.append((own, run))
    after = time_plain(protocol, tailed, seed, device)

    inputs = ask().inputs.to(device)
    every, said = torch.arange(len(inputs), device=device), []
    run, model = runs[0][1], runs[0][1].model
    assert model is not None
    for method, its_run, network in (
        *((own, one, one.model) for own, one in runs),
        (Method(), run, teacher),
    ):
        assert network is not None
        said.append(answered(method, network, inputs, every, its_run))
    some = run.plain(tailed.train.inputs[:LATENCY_ROWS].to(device))
    sizes = (size(model), size(teacher), macs(model, some), macs(teacher, some))
    passes = run.passes / (len(tailed.train) * protocol.budget.epochs)
    return Answer(
        scores=torch.stack([scores.double().cpu() for scores, _ in said]),
        predicted=torch.stack([predicted.cpu() for _, predicted in said]),
        timing=timed(clocks[0], (before + after) / 2, passes),
        notes=run.notes,
        told={
            **dict(zip(SIZES, sizes, strict=True)),
            "latency": round(latency(model, teacher, some), 4),
            "twin_seconds": round(clocks[1].seconds, 6),
            "teacher": digest(teacher),
        },
    )


def refuse_unmet(protocol: Compression, recipe: Recipe) -> None:
    """Refuses, by name, what the track would pass over in silence.

    Raises:
        Unmet: no method compresses or two do, a hook is never called, or a need is not met.
    """
    compressing = [method.name for method in recipe.methods if "teacher" in method.needs]
    if not compressing:
        raise Unmet(
            f"{recipe.text} compresses nothing; {protocol.name} trains pruned networks, so name a "
            f"method that prunes first, as in kd+{recipe.text}"
        )
    if len(compressing) > 1:
        raise Unmet(f"{' and '.join(compressing)} both compress; one of them is enough")
    refuse_foreign(protocol, recipe)
    refuse_adapting(protocol, recipe)
    refuse_needs(protocol, recipe, SUPPLIES)


def few(protocol: Compression, parts: Parts, seed: int) -> tuple[Parts, Parts]:
    """The few long-tailed rows of a seed, and as many balanced ones.

    The seed chooses which class is largest, where the protocol says so, and always the rows; of a
    class, the smaller set is part of the larger one.

    Raises:
        LTBenchError: a class has too few rows.
    """
    classes, granted = len(parts.class_counts), protocol.compressing
    order = np.arange(classes)
    if granted.class_order == "seed":
        order = np.random.RandomState(seed).permutation(classes)
    tailed = by_rank(granted.class_counts(classes), order.tolist())
    labels = parts.train.labels.numpy()

    def drawn(counts: list[int]) -> Parts:
        index = torch.from_numpy(long_tailed(labels, counts, seed))
        return replace(parts, train=parts.train[index], validation=None, class_counts=counts)

    return drawn(tailed), drawn([granted.rows] * classes)


def pool_of(dataset: Dataset) -> Tensor:
    """The pool of other images.

    Raises:
        LTBenchError: it cannot be had.
    """
    pool = getattr(dataset, "pool", None)
    if isinstance(pool, LTBenchError):
        raise pool
    assert pool is not None
    found: Tensor = pool
    return found


@dataclass(frozen=True)
class Teachers:
    """The teacher of a cell, trained plainly; its last epoch counts.

    It depends on what the key is made of alone, so cells share it: in the process, and on disk,
    where its name tells the hash of its weights.
    """

    protocol: Compression
    parts: Parts
    seed: int
    device: torch.device

    def __call__(self) -> nn.Module:
        key = self.key()
        if key not in _teachers:
            while len(_teachers) >= TEACHERS:
                del _teachers[next(iter(_teachers))]
            with kept_networks.alone(KIND, key):
                _teachers[key] = self._read(key) or self._train(key)
        return copy.deepcopy(_teachers[key])

    @property
    def own_seed(self) -> int:
        return self.seed if self.protocol.compressing.teacher == "seed" else 0

    def key(self) -> str:
        """A hash of all that decides the weights: rows, network, training, seed, code, machine."""
        plain, train = self.protocol, self.parts.train
        told = [plain.network, plain.teacher, plain.compute, plain.data.mean, plain.data.std]
        rows = chain(train.portions(), (train.labels,))
        return kept_networks.key_of(plain, self.device, [*told, self.own_seed], rows)

    def _fresh(self) -> Run:
        return begin(of_teacher(self.protocol), self.parts, self.own_seed, self.device)

    def _train(self, key: str) -> nn.Module:
        run = self._fresh()
        rows, batch_size = self.parts.train.to(self.device), self.protocol.teacher.batch_size
        with events.heard_by(None):
            model = train(Method(), rows, run, batch_size).requires_grad_(False)
        kept_networks.write(KIND, key, [model])
        return model

    def _read(self, key: str) -> nn.Module | None:
        """The teacher that an earlier process kept.

        Raises:
            LTBenchError: it is damaged, or not the one that was kept.
        """
        model = self._fresh().model
        assert model is not None
        if kept_networks.read(KIND, key, [model]) is None:
            return None
        return model.eval().requires_grad_(False)


_teachers: dict[str, nn.Module] = {}


def of_teacher(protocol: Compression) -> Compression:
    """The protocol with the teacher's training as its budget."""
    return structs.replace(protocol, budget=protocol.teacher)


@torch.no_grad()
def latency(model: nn.Module, teacher: nn.Module, inputs: Tensor) -> float:
    """The time that a network takes for some rows over its teacher's, in turns, by medians."""
    times: list[list[float]] = [[], []]
    device = inputs.device
    for _ in range(LATENCY_ROUNDS):
        for network, taken in zip((model, teacher), times, strict=True):
            with Clock(device) as clock:
                network(inputs)
            taken.append(clock.seconds)
    return median(times[0][3:]) / median(times[1][3:])


run = undivided(divide, answer)
