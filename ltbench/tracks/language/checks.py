"""The checks of a method that asks how hard texts read; none knows a formula."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ltbench.contract.context import Batch, Rows, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Check
from ltbench.testing.checks import shared
from ltbench.testing.report import named
from ltbench.testing.task import (
    MARK,
    OF_NETWORKS,
    Everywhere,
    Spy,
    Task,
    Trained,
    counts_for,
    expect_unseen,
)
from ltbench.tracks.classification import split
from ltbench.tracks.language.contract import DIFFICULTY, LanguageGrants
from ltbench.tracks.language.problem import Language, Texts
from ltbench.tracks.language.reading import Corpus, corpus_of
from ltbench.tracks.language.track import SUPPLIES, run
from ltbench.tracks.marked import fields

NEEDS = SUPPLIES | {"two_classes"}
ROWS, WIDTH = 24, 8  # of each class, and of their vectors


def checks(recipe: Recipe) -> Mapping[str, Check]:
    """The checks of a recipe of networks that needs the difficulty of texts; none of any other."""
    of_networks = all("network" in method.models for method in recipe.methods)
    if not of_networks or DIFFICULTY not in recipe.all_needs or recipe.all_needs - NEEDS:
        return {}
    return {**shared(Task(trained)), **named((held_out_texts_stay_out,))}


def trained(
    method: Method, counts: Sequence[int], rows: Rows | None = None, **options: Any
) -> Trained:
    """What a short training makes of a method that is told a difficulty of each row."""
    rising = torch.arange(float(sum(counts))) / sum(counts)
    granted = options.pop("granted", None) or LanguageGrants(difficulty=rising)
    return OF_NETWORKS.trained(method, counts, rows, granted=granted, **options)


class Watching(Method):
    """Looks for marks in batches alone, as one that may put in other rows leaves no difficulty."""

    name = "watching"
    roles = Everywhere(("main",))

    def __init__(self, spy: Spy) -> None:
        self.spy = spy

    def batch(self, batch: Batch, run: Run) -> Batch:
        self.spy.look("batch", batch.inputs)
        return batch


def held_out_texts_stay_out(method: Recipe) -> None:
    """No vector of a text that is held out may reach a hook."""
    made = small_corpus(len(counts_for(method)))
    protocol, spy = small(made), Spy()
    train = split(protocol, made, 0).train
    assert made.vectors is not None and train.groups is not None
    held_out = torch.ones(len(made.vectors), dtype=torch.bool).index_fill(0, train.groups, False)
    made.vectors[held_out] = MARK
    run(protocol, Recipe(*method.methods, Watching(spy)), 0, made, torch.device("cpu"))
    expect_unseen(spy)


def small_corpus(classes: int) -> Corpus:
    """Texts of a few words with vectors, of so many classes."""
    texts = [
        f"{c * 3} number{k}{' indeed' * (k % 4)}" for c in "abcd"[:classes] for k in range(ROWS)
    ]
    labels = [c for c in "abcd"[:classes] for _ in range(ROWS)]
    chance = torch.Generator().manual_seed(0)
    vectors = torch.randn(len(texts), WIDTH, generator=chance)
    return corpus_of("check", texts, labels, None, vectors)


def small(made: Corpus) -> Language:
    """A small protocol over vectors that were given."""
    return Language(**fields(made), texts=Texts(vectors="given"))
