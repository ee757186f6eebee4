"""Clustering: rows are put into as many clusters as there are classes, then marked.

The labels of the rows stay with those of test rows: they name the clusters after training, and none
reaches the process of a recipe but those of known classes that the protocol tells.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from msgspec import structs
from torch import Tensor

from ltbench.contract.context import Rows, Run
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
from ltbench.errors import Unmet
from ltbench.models import mapped
from ltbench.results.records import Record
from ltbench.tracks import classification
from ltbench.tracks.classification import (
    EXACT,
    Parts,
    recalls_of,
    refuse_adapting,
    refuse_foreign,
    refuse_needs,
    seconds_of,
    time_plain,
)
from ltbench.tracks.clustering.contract import POOL, UNKNOWN, ClusteringGrants
from ltbench.tracks.clustering.cutting import Cut, cut
from ltbench.tracks.clustering.encoder import encoder_of
from ltbench.tracks.clustering.learning import Grouped
from ltbench.tracks.clustering.problem import Clusters
from ltbench.tracks.clustering.scores import named, of_clusters
from ltbench.tracks.dividing import Given, asked
from ltbench.tracks.learning import learned
from ltbench.training.engine import answered

SUPPLIES = frozenset({POOL})
OF_LABELS = ("resample", "sampling_weights", "adjust", "weight", "criterion")
"""Hooks that act on labelled rows."""
KEPT = frozenset({"labels", "predicted", "confidence", "pool_labels", "pool_clusters", "known"})


@dataclass(frozen=True)
class Beside:
    """What a cell is given beside labelled rows: the inputs of all rows, and what is told [M]."""

    pool: Tensor
    told: Tensor


def on_features(protocol: Clusters) -> Clusters:
    """The protocol of what is trained on the encoder's features: a linear map and a head."""
    data = structs.replace(protocol.data, mean=(), std=())
    compute = structs.replace(protocol.compute, memory_format="contiguous")
    network = {"name": mapped.__name__.rpartition(".")[2], "scale": protocol.scale}
    return structs.replace(protocol, data=data, compute=compute, network=network)


def begin(
    protocol: Clusters,
    parts: Parts,
    granted: ClusteringGrants,
    seed: int,
    device: torch.device,
) -> Run:
    """A run at its start on features, where all classes count alike if no label is told."""
    run = classification.begin(on_features(protocol), parts, seed, device)
    run.granted = granted
    if not granted.told:
        run.counts = torch.full_like(run.counts, len(granted.pool) / run.num_classes)
        run.exact_counts = run.counts
        run.seen = run.counts / run.counts.sum()
    return run


def divide(protocol: Clusters, seed: int, dataset: Dataset, needs: Set[str]) -> Divided:
    """The data of a cell: rows to cluster, what is told of them, and labels to mark with."""
    return of_cut(protocol, seed, cut(protocol, dataset, seed), len(dataset.classes))


def of_cut(protocol: Clusters, seed: int, rows: Cut, classes: int) -> Divided:
    """The same of rows that are cut. Test rows and those of the pool are asked together."""
    parts, inputs = rows.parts, rows.pool.inputs.clone()
    open_rows = rows.told == UNKNOWN
    test = cache(parts.test)

    @cache
    def paper() -> tuple[Asked, Tensor]:
        every = torch.cat([test().inputs, inputs])
        return asked(Rows(every, torch.cat([test().labels, rows.pool.labels])), seed)

    def mark(answer: Answer) -> Outcome:
        place, tested = paper()[1], len(test())
        scores, clusters = answer.scores[place], answer.predicted[place]
        withheld = rows.pool.labels[open_rows].numpy()
        mine = clusters[tested:][open_rows].numpy()
        name = torch.from_numpy(named(withheld, mine, classes))
        scored, predictions = classification.score(
            protocol, parts, test().labels, scores[:tested, name.argsort()], name[clusters[:tested]]
        )
        arrays = predictions.arrays(classes)
        arrays["pool_labels"] = withheld.astype(np.int16)
        arrays["pool_clusters"] = mine.astype(np.int16)
        arrays["known"] = np.isin(np.arange(classes), rows.known).astype(np.uint8)
        return Outcome(
            measures=scored | of_clusters(withheld, mine, arrays["known"] > 0),
            timing=answer.timing,
            recall=recalls_of(predictions.labels, predictions.predicted, classes),
            class_counts=parts.class_counts,
            arrays=arrays,
            notes=answer.notes,
            continued=answer.continued,
            stage=answer.stage,
        )

    told = rows.told[~open_rows]
    labelled = Rows(inputs[~open_rows], told)
    counts = told.bincount(minlength=classes).tolist()
    given = Given(labelled, None, counts, classes, Beside(inputs, rows.told))
    return Divided(given, lambda: paper()[0], mark, classes)


def answer(
    protocol: Clusters,
    recipe: Recipe,
    seed: int,
    given: Given,
    ask: Callable[[], Asked],
    device: torch.device,
) -> Answer:
    """Trains on what was given, then says which clusters test rows and those of the pool are in."""
    refuse_unmet(protocol, recipe, given.classes)
    inputs, told = given.beside.pool.to(device), given.beside.told
    encoder = encoder_of(protocol, given.beside.pool, seed, device)
    granted = ClusteringGrants(
        pool=encoder(inputs),
        labels=told.to(device),
        views=encoder.stored(protocol, inputs, seed),
        rows=protocol.rows,
    )
    parts = on_pool(granted, given)
    small, grouped = on_features(protocol), Grouped(*recipe.methods)
    begins = partial(begin, protocol, parts, granted, seed, device)
    made = learned(small, grouped, parts, begins, partial(time_plain, small, parts, seed, device))

    features = encoder(ask().inputs.to(device))
    every = torch.arange(len(features), device=device)
    scores, clusters = answered(grouped, made.model, features, every, made.run)
    return made.answer(scores, clusters)


def on_pool(granted: ClusteringGrants, given: Given) -> Parts:
    """What the engine is given: the labelled rows, or all of them as if each had one label."""
    pool, labels = granted.pool.cpu(), granted.labels.cpu()
    if granted.told:
        some = labels != UNKNOWN
        rows = Rows(pool[some], labels[some])
    else:
        rows = Rows(pool, torch.zeros_like(labels))
    return Parts(rows, None, given.parts.test, given.class_counts)


def seconds(protocol: Clusters, dataset: Dataset, device: torch.device) -> float:
    """About what training on features takes for as many rows as there are labels."""
    given = divide(protocol, 0, dataset, frozenset()).given
    width = torch.zeros(len(given.beside.pool), 64)
    granted = ClusteringGrants(pool=width, labels=given.beside.told, views=width[None], rows=2)
    parts, small = on_pool(granted, given), on_features(protocol)
    return seconds_of(partial(time_plain, small, parts, 0, device), protocol, device)


def measured(protocol: Clusters, record: Record, arrays: Arrays) -> Followed:
    """Every measure that follows from what a record keeps of its test rows and its clusters."""
    found = arrays["labels"], np.atleast_2d(arrays["predicted"])
    labels, clusters = (arrays[f"pool_{n}"].astype(np.int64) for n in ("labels", "clusters"))
    told = of_clusters(labels, clusters, arrays["known"] > 0)
    return {
        **classification.measured(protocol, record, found, arrays),
        **{name: around(value, EXACT) for name, value in told.items()},
    }


def refuse_unmet(protocol: Clusters, recipe: Recipe, num_classes: int) -> None:
    """Refuses, by name, what the track would pass over in silence.

    Raises:
        Unmet: a need is not met, a method acts on another kind of model, or needs labels that the
            protocol does not tell.
    """
    refuse_foreign(protocol, recipe)
    refuse_adapting(protocol, recipe)
    refuse_needs(protocol, recipe, SUPPLIES | ({"two_classes"} if num_classes == 2 else set()))
    if protocol.known is None:
        for method in recipe.methods:
            idle = [hook for hook in hooks(type(method)) if hook in OF_LABELS]
            if idle:
                raise Unmet(
                    f"{method.name} overrides {idle[0]}, which acts on labels; {protocol.name} "
                    "tells none"
                )
        if not recipe.all_needs & SUPPLIES:
            raise Unmet(f"{recipe.text} learns from labels alone; {protocol.name} tells none")


run = undivided(divide, answer)
