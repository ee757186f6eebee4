"""Distillation: a few rows a class in place of an imbalanced set, scored by networks trained on it.

A method's `resample` returns at most `ipc` rows of each class, at their native size and with hard
labels. The track, not the method, trains fresh networks on them, with whatever else the recipe
does in training, and scores the last epoch of each on the test split.
"""

import copy
from collections.abc import Callable, Set
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain

import numpy as np
import torch
from msgspec import Struct, structs
from torch import Tensor, nn

from ltbench.contract.context import Grants, Rows, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Answer, Arrays, Asked, Divided, Outcome, undivided
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError, Unmet
from ltbench.protocols.schema import Imbalance
from ltbench.tracks import kept_networks
from ltbench.tracks.classification import (
    WARM_UP_STEPS,
    Parts,
    begin,
    over_networks,
    recalls_of,
    refuse_adapting,
    refuse_foreign,
    refuse_needs,
    score,
    split,
    time_plain,
    timed,
)
from ltbench.tracks.distillation.problem import Distillation, Distilling
from ltbench.tracks.dividing import Given, asked
from ltbench.training import events
from ltbench.training.engine import answered, checked, portions, stream_seed, train
from ltbench.training.timing import Clock, aside

WHOLE = "full"  # the recipe that keeps the whole set
WHOLE_SET = "whole"  # the need of a control
SUPPLIES = frozenset({"ipc", WHOLE_SET})
TOLD = ("images", "duplicates", "bytes", "evaluation_seconds")
KEPT = ("distilled", "distilled_labels")
KIND = "pools"
COST = ("seconds", "work", "passes")
POOLS = 2  # kept in a process, so that the recipes of a seed share theirs


Networks = list[tuple[nn.Module, nn.Module]]
"""Networks as they began and as training left them."""


class Rest(Recipe):
    """What a recipe does once its rows are distilled."""

    def resample(self, train: Rows, run: Run) -> Rows:
        return train


class EvenDraw(Method):
    """Plain training on draws in which every class comes equally often."""

    def sampling_weights(self, labels: Tensor, run: Run) -> Tensor:
        return 1 / run.counts[labels]


@dataclass
class Trained:
    """Networks of a pool, and what training them took."""

    networks: Networks
    seconds: float
    work: float
    passes: int


@dataclass
class Pool:
    """The networks that a method may use to distil: each as it began, and trained plainly.

    They depend on the training rows and the seed alone, so recipes with one seed share them, in the
    process and on disk. One that finds them trained already is charged for them all the same, by
    what it took to train them; `owed` is that.
    """

    protocol: Distillation
    parts: Parts
    seed: int
    device: torch.device
    owed: Trained = field(default_factory=lambda: Trained([], 0.0, 0.0, 0))

    def __call__(self, balanced: bool = False) -> Networks:
        told, train = [self.protocol.hash, self.seed, balanced], self.parts.train
        rows = chain(train.portions(), (train.labels,))
        with aside():
            key = kept_networks.key_of(self.protocol, self.device, told, rows)
        if key not in _trained:
            while len(_trained) >= POOLS:
                del _trained[next(iter(_trained))]
            with kept_networks.alone(KIND, key):
                with aside():
                    found = self._read(key)
                if found is None:
                    found = _trained[key] = self._train(EvenDraw() if balanced else Method())
                    with aside():
                        self._keep(key, found)
                    self.owed.passes += found.passes
                    return found.networks
            _trained[key] = found
        self.owed.seconds += _trained[key].seconds
        self.owed.work += _trained[key].work
        self.owed.passes += _trained[key].passes
        return _trained[key].networks

    def _keep(self, key: str, trained: Trained) -> None:
        cost = {name: getattr(trained, name) for name in COST}
        kept_networks.write(KIND, key, [*chain(*trained.networks)], **cost)

    def _read(self, key: str) -> Trained | None:
        """The networks that another cell kept.

        Raises:
            LTBenchError: they are damaged, or not the ones that were kept.
        """
        if not kept_networks.there(KIND, key):
            return None
        networks = []
        for k in range(self.protocol.distilling.networks):
            seed = stream_seed(self.seed, f"pool {k}")
            model = begin(self.protocol, self.parts, seed, self.device).model
            assert model is not None
            model.eval().requires_grad_(False)
            networks.append((model, copy.deepcopy(model)))
        cost = kept_networks.read(KIND, key, [*chain(*networks)])
        return None if cost is None else Trained(networks, **cost)

    def _train(self, method: Method) -> Trained:
        networks, passes, distilling = [], 0, self.protocol.distilling
        rows = self.parts.train.to(self.device)
        with Clock(self.device) as clock:
            for k in range(distilling.networks):
                seed = stream_seed(self.seed, f"pool {k}")
                run = begin(self.protocol, self.parts, seed, self.device)
                assert run.model is not None
                start = copy.deepcopy(run.model).eval().requires_grad_(False)
                run.phase = replace(run.phase, epochs=distilling.epochs)
                with events.part(k, distilling.networks):
                    end = train(method, rows, run, self.protocol.budget.batch_size)
                networks.append((start, end))
                passes += run.passes
        return Trained(networks, clock.seconds, clock.work, passes)


_trained: dict[str, Trained] = {}


@dataclass(frozen=True, kw_only=True)
class DistillationGrants(Grants):
    """What the track grants a method that distils, beside what all methods know.

    `ipc` is how many rows of each class may be kept, `distilling` the rest of that budget. `pool`
    gives the networks, each as it began and as plain training on the real rows left it (with
    `balanced`, on draws in which classes are alike); none of them is to be changed. `whole` gives,
    to a method that needs "whole", as many real rows of every class as the largest has.
    """

    ipc: int
    distilling: Distilling
    pool: Callable[..., Networks]
    whole: Callable[[], Rows] | None = None


class Distilled(Struct, frozen=True):
    """The set that a cell distilled, beside its measures: how many networks were trained on it."""

    networks: int


def divide(protocol: Distillation, seed: int, dataset: Dataset, needs: Set[str]) -> Divided:
    """The data of a cell: rows to train on, test inputs to be asked, and labels to mark with.

    As many rows of every class as the largest has are there for a recipe that needs them.
    """
    parts = split(protocol, dataset, seed)
    test = cache(parts.test)
    paper = cache(lambda: asked(test(), seed))
    control = WHOLE_SET in needs

    def mark(answer: Answer) -> Outcome:
        labels, place = test().labels, paper()[1]
        scored = [
            score(protocol, parts, labels, scores[place], predicted[place])
            for scores, predicted in zip(answer.scores, answer.predicted, strict=True)
        ]
        measures, predictions = over_networks(scored)
        made = {} if control else {name: answer.arrays[name] for name in KEPT}
        return Outcome(
            measures={**measures, **{name: float(answer.told[name]) for name in TOLD}},
            timing=answer.timing,
            recall=recalls_of(predictions.labels, predictions.predicted, len(dataset.classes)),
            class_counts=parts.class_counts,
            arrays=predictions.arrays(len(parts.class_counts)) | made,
            notes=answer.notes,
            details=Distilled(protocol.networks),
            control=control,
        )

    every = whole(protocol, dataset, seed) if control else None
    classes = len(dataset.classes)
    given = Given(parts.train, parts.validation, parts.class_counts, classes, every)
    return Divided(given, lambda: paper()[0], mark, classes, protocol.networks)


def answer(
    protocol: Distillation,
    recipe: Recipe,
    seed: int,
    given: Given,
    ask: Callable[[], Asked],
    device: torch.device,
) -> Answer:
    """Distils what was given and trains networks on that, then says what test rows are."""
    refuse_unmet(protocol, recipe)
    parts, every = given.parts, given.beside
    time_plain(protocol, parts, seed, device, WARM_UP_STEPS)
    before = time_plain(protocol, parts, seed, device)
    run = begin(protocol, parts, seed, device)
    pool = Pool(protocol, parts, seed, device)
    run.granted = DistillationGrants(
        ipc=protocol.distilling.ipc,
        distilling=protocol.distilling,
        pool=pool,
        whole=None if every is None else lambda: every.to(device),
    )
    train_rows = parts.train.to(device)
    with events.part(0, 2), Clock(device) as clock:
        rows = recipe.resample(train_rows, run)
    after = time_plain(protocol, parts, seed, device)
    rows = kept(rows, train_rows, run, None if every is not None else protocol.distilling.ipc)
    repeated = duplicates(rows)
    if repeated:
        run.note(f"{repeated} of {len(rows)} images repeat another")

    with Clock(device) as evaluation:
        rest, trained = Rest(*recipe.methods), []
        for k in range(protocol.networks):
            own = copy.deepcopy(rest)
            fresh = begin(protocol, parts, stream_seed(seed, f"evaluation {k}"), device)
            fresh.phase = replace(fresh.phase, epochs=epochs_on(protocol, len(rows)))
            with events.part(protocol.networks + k, 2 * protocol.networks):
                trained.append((own, train(own, rows, fresh, protocol.budget.batch_size), fresh))
        inputs = ask().inputs.to(device)
        places = torch.arange(len(inputs), device=device)
        said = [answered(own, model, inputs, places, fresh) for own, model, fresh in trained]
    for _, _, fresh in trained:
        run.notes += [note for note in fresh.notes if note not in run.notes]
    passes = (run.passes + pool.owed.passes) / (len(parts.train) * protocol.budget.epochs)
    reference_work = (before + after) / 2
    return Answer(
        scores=torch.stack([scores.double().cpu() for scores, _ in said]),
        predicted=torch.stack([predicted.cpu() for _, predicted in said]),
        timing=timed(clock, reference_work, passes, pool.owed.seconds, pool.owed.work),
        notes=run.notes,
        told={
            "images": len(rows),
            "duplicates": repeated,
            "bytes": rows.inputs.numel() * rows.inputs.element_size(),
            "evaluation_seconds": round(evaluation.seconds, 6),
        },
        arrays={} if every is not None else stored(rows),
    )


def stored(rows: Rows) -> Arrays:
    """The distilled rows, as they are kept; those of a control are no news."""
    labels = rows.labels.cpu().numpy()
    smallest = np.min_scalar_type(int(labels.max()))
    return {"distilled": rows.inputs.cpu().numpy(), "distilled_labels": labels.astype(smallest)}


def refuse_unmet(protocol: Distillation, recipe: Recipe) -> None:
    """Refuses, by name, what the track would pass over in silence.

    Raises:
        Unmet: no method distils or two do, a hook is never called, or a need is not met.
    """
    distilling = [method.name for method in recipe.methods if "ipc" in method.needs]
    if not distilling:
        raise Unmet(
            f"{recipe.text} distils nothing; {protocol.name} trains on {protocol.distilling.ipc} "
            "rows a class, so name a method that chooses or learns them first, as in "
            f"random+{recipe.text}"
        )
    if len(distilling) > 1:
        raise Unmet(f"{' and '.join(distilling)} both distil; one of them is enough")
    refuse_foreign(protocol, recipe)
    refuse_adapting(protocol, recipe)
    refuse_needs(protocol, recipe, SUPPLIES)


def kept(rows: Rows, train: Rows, run: Run, ipc: int | None) -> Rows:
    """Distilled rows, if they can stand for those of `train` and are within the budget.

    Raises:
        LTBenchError: there are too many of a class, or none, or they are no images or labels.
    """
    labels = rows.labels
    if labels.dtype != torch.int64 or labels.shape != (len(rows.inputs),):
        raise LTBenchError(
            f"distilled labels are {labels.dtype} {list(labels.shape)}; they must be hard ones, "
            f"torch.int64 [{len(rows.inputs)}]"
        )
    if not ((labels >= 0) & (labels < run.num_classes)).all():
        raise LTBenchError(f"a distilled label is not in 0..{run.num_classes - 1}")
    counts = labels.bincount(minlength=run.num_classes)
    if ipc is not None and (counts > ipc).any():
        c = int(counts.argmax())
        raise LTBenchError(
            f"{int(counts[c])} rows of class {c} are over the budget of {ipc} a class; "
            "run.ipc tells a method the budget"
        )
    pixels = rows.inputs
    if not torch.isfinite(pixels).all():
        raise LTBenchError("distilled images hold pixels that are not finite numbers")
    low, high = train.inputs.min(), train.inputs.max()
    if (pixels < low.to(pixels)).any() or (pixels > high.to(pixels)).any():
        raise LTBenchError(
            f"distilled images hold pixels from {pixels.min():g} to {pixels.max():g}; "
            f"real ones are from {low:g} to {high:g}"
        )
    return checked(rows, train, run)


def duplicates(rows: Rows) -> int:
    """How many rows repeat another of their class to the bit."""
    images = rows.inputs.flatten(1).cpu().numpy()
    distinct = set(zip(rows.labels.tolist(), map(np.ndarray.tobytes, images), strict=True))
    return len(rows) - len(distinct)


def epochs_on(protocol: Distillation, rows: int) -> int:
    """The epochs of a training on so many rows."""
    an_epoch = len(portions(rows, protocol.budget.batch_size))
    return max(protocol.budget.epochs, -(-protocol.steps // an_epoch))


def whole(protocol: Distillation, dataset: Dataset, seed: int) -> Rows:
    """As many training rows of each class as the largest has; no test row is among them.

    Raises:
        LTBenchError: a class has too few.
    """
    most = max(split(protocol, dataset, seed).class_counts)
    order, draw = protocol.imbalance.class_order, protocol.imbalance.draw
    balanced = Imbalance("exponential", order, draw, n_max=most, factor=1.0)
    return split(structs.replace(protocol, imbalance=balanced), dataset, seed).train


run = undivided(divide, answer)
