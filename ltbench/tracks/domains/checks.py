"""The checks of a method that tells the domains of rows apart; none knows a formula."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from msgspec import structs
from torch import Tensor

from ltbench.contract.context import Batch, Rows, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Check
from ltbench.datasets import Dataset, digits
from ltbench.errors import Diverged, LTBenchError
from ltbench.protocols.schema import Imbalance
from ltbench.testing.checks import shared
from ltbench.testing.report import Failure, expect, named
from ltbench.testing.task import (
    MARK,
    OF_NETWORKS,
    Spy,
    Task,
    Trained,
    counts_for,
    expect_unseen,
    rows_of,
)
from ltbench.tracks.domains.contract import ANNOTATOR, TEST_GROUPS, DomainGrants, cell_of
from ltbench.tracks.domains.problem import Domains
from ltbench.tracks.domains.track import SUPPLIES, run
from ltbench.tracks.marked import fields

NEEDS = SUPPLIES | {"two_classes"}
DOMAINS = 2  # of the small task
COUNTS = (12, 8, 6)
TESTED = 150  # digits of a cell in which decoys are told


def checks(recipe: Recipe) -> Mapping[str, Check]:
    """The checks of a recipe of networks that asks for groups; none of any other."""
    of_networks = all("network" in method.models for method in recipe.methods)
    if not of_networks or recipe.all_needs - NEEDS or not recipe.all_needs & SUPPLIES:
        return {}
    own: list[Callable[[Recipe], None]] = [domain_numbers_do_not_matter, one_domain_is_enough]
    if ANNOTATOR not in recipe.all_needs:  # groups of a source's own come with no expert
        own.append(held_out_rows_stay_out)
    return {**shared(Task(partial(trained, domains=DOMAINS))), **named(own)}


def with_groups(rows: Rows, domains: int) -> Rows:
    """Rows of which each class is spread over the domains, one row after the other."""
    return replace(rows, groups=torch.arange(len(rows)) % domains)


def trained(
    method: Method,
    counts: Sequence[int],
    rows: Rows | None = None,
    domains: int = DOMAINS,
    **options: Any,
) -> Trained:
    """What a short training on rows of several domains makes of a method."""
    rows = rows_of(counts) if rows is None else rows
    rows = with_groups(rows, domains) if rows.groups is None else rows
    assert rows.groups is not None
    places = cell_of(rows.groups, rows.labels, len(counts))
    cells = places.bincount(minlength=domains * len(counts)).view(domains, -1).float()
    granted = DomainGrants(cells=cells, corner=1)
    return OF_NETWORKS.trained(method, counts, rows, granted=granted, **options)


def domain_numbers_do_not_matter(method: Recipe) -> None:
    """A domain's number must not count, but for what chance makes of the order."""
    counts = counts_for(method)
    rows = with_groups(rows_of(counts), DOMAINS)
    first = trained(copy.deepcopy(method), counts, rows)
    assert rows.groups is not None
    turned = replace(rows, groups=DOMAINS - 1 - rows.groups)
    second = trained(copy.deepcopy(method), counts, turned)
    expect(
        torch.allclose(first.scores, second.scores, rtol=1e-3, atol=1e-3),
        "expected the same scores under other numbers of the domains, but they differ by up to "
        f"{(first.scores - second.scores).abs().max():.2g}; a domain's number must not count",
    )


def one_domain_is_enough(method: Recipe) -> None:
    """Rows of one domain must train, or be refused in a sentence."""
    try:
        trained(copy.deepcopy(method), counts_for(method), domains=1)
    except Diverged as error:
        raise Failure(
            f"expected numbers with one domain, but {error}; there are no pairs of domains then"
        ) from None
    except LTBenchError:
        return  # refused in a sentence


class Following(Spy):
    """Looks for marks, and whether each row still has the domain that stands in its input."""

    name = "spy"

    def __init__(self) -> None:
        super().__init__()
        self.strayed: set[str] = set()

    def follow(self, hook: str, inputs: Tensor, groups: Tensor | None) -> None:
        self.look(hook, inputs)
        if groups is None or not torch.equal(inputs[:, 0, 0, 1].long(), groups):
            self.strayed.add(hook)

    def resample(self, train: Rows, run: Run) -> Rows:
        self.follow("resample", train.inputs, train.groups)
        return train

    def enter(self, train: Rows, run: Run) -> Rows:
        self.follow("enter", train.inputs, train.groups)
        return train

    def batch(self, batch: Batch, run: Run) -> Batch:
        stored = run.train.inputs_at(batch.rows) if run.train is not None else batch.inputs
        self.follow("batch", stored, batch.groups[0] if batch.groups else None)
        return batch


def held_out_rows_stay_out(method: Recipe) -> None:
    """No row of the test split or held out may reach a hook, and each keeps its domain."""
    protocol, dataset = marked(min(3, len(counts_for(method))))
    spy = Following()
    run(protocol, Recipe(spy, *method.methods), 0, dataset, torch.device("cpu"))
    expect_unseen(spy)
    expect(
        not spy.strayed,
        f"expected each row with its domain, but in {', '.join(sorted(spy.strayed))} some have "
        "another; choose rows by an index, which takes their groups along",
    )


def small(dataset: Dataset) -> Domains:
    """A small protocol over a source of two groups with a test split of its own."""
    keys = fields(dataset)
    data = structs.replace(keys["data"], test_per_class=None, validation_share=None)
    return Domains(**{**keys, "data": data, "imbalance": Imbalance("source")})


def learning(dataset: Dataset) -> Domains:
    """The same, whose networks learn enough to give rows different classes."""
    protocol = small(dataset)
    return structs.replace(protocol, budget=structs.replace(protocol.budget, epochs=5))


def marked(classes: int) -> tuple[Domains, Dataset]:
    """A small protocol, and its data with a mark in every test row and its domain in each row."""
    rows = with_groups(rows_of(COUNTS[:classes]), DOMAINS)
    test = with_groups(rows_of([4] * classes, seed=1), DOMAINS)
    for part in (rows, test):
        assert part.groups is not None
        part.inputs[:, 0, 0, 1] = part.groups.float()
    test.inputs[:, :, 0, 0] = MARK
    dataset = Dataset(rows, tuple("abc"[:classes]), test)
    return small(dataset), dataset


def decoys_change_nothing(method: Recipe) -> None:
    """A cell of digits must decide alike where labels, and groups, of test rows are false.

    Groups follow from what a row shows; a recipe that is told those of test rows gets true ones.
    """
    names = ("0", "1") if "two_classes" in method.all_needs else ()
    whole = digits.load().of_classes(names) if names else digits.load()
    order = torch.randperm(len(whole.train), generator=torch.Generator().manual_seed(0))
    rows = replace(whole.train, groups=_shown(whole.train.inputs))[order]
    train, test = rows[torch.arange(TESTED, len(rows))], rows[torch.arange(TESTED)]

    def decided(rows: Rows) -> Tensor:
        dataset = Dataset(train, whole.classes, rows)
        arrays = run(learning(dataset), method, 0, dataset, torch.device("cpu")).arrays
        assert arrays is not None
        return torch.from_numpy(arrays["predicted"].astype("int64"))

    assert test.groups is not None
    groups = test.groups if TEST_GROUPS in method.all_needs else 1 - test.groups
    labels = (test.labels + 1) % len(whole.classes)
    changed = int((decided(test) != decided(replace(test, labels=labels, groups=groups))).sum())
    expect(
        changed <= len(test) // 100,
        f"expected the same decisions whatever is told of the test rows, but {changed} of "
        f"{len(test)} changed with the labels of these; decide each row by its input",
    )


def _shown(inputs: Tensor) -> Tensor:
    """A group [N] that follows from each input alone."""
    return (inputs.flatten(1).mean(dim=1) > inputs.mean()).long()


THOROUGH = named((decoys_change_nothing,))
