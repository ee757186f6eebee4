"""The checks of a method that takes the channels of a sequence apart; none knows a formula."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from msgspec import structs

from ltbench.contract.context import Rows
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Check
from ltbench.datasets import Dataset
from ltbench.errors import Diverged, LTBenchError
from ltbench.testing.checks import shared
from ltbench.testing.report import Failure, expect, named
from ltbench.testing.task import (
    OF_NETWORKS,
    SHAPE,
    Spy,
    Task,
    Trained,
    counts_for,
    expect_unseen,
    rows_of,
)
from ltbench.tracks.marked import expect_deaf, fields, marked
from ltbench.tracks.sequences.contract import PARTS, SequenceGrants
from ltbench.tracks.sequences.problem import Layout, Sequences
from ltbench.tracks.sequences.sources import laid_out
from ltbench.tracks.sequences.track import SUPPLIES, parts_of, run

NEEDS = SUPPLIES | {"two_classes"}
LINES = tuple(f"line {k}" for k in range(SHAPE[1]))
LAYOUT = Layout(LINES, SHAPE[2], "zeros", (LINES[:3], LINES[3:]))
CPU = torch.device("cpu")


def checks(recipe: Recipe) -> Mapping[str, Check]:
    """The checks of a recipe of networks that asks for parts; none of any other."""
    of_networks = all("network" in method.models for method in recipe.methods)
    if not of_networks or PARTS not in recipe.all_needs or recipe.all_needs - NEEDS:
        return {}
    own = (uneven_parts_are_handled, held_out_rows_stay_out)
    return {**shared(Task(trained)), **named(own)}


def trained(
    method: Method,
    counts: Sequence[int],
    rows: Rows | None = None,
    layout: Layout = LAYOUT,
    **options: Any,
) -> Trained:
    """What a short training makes of a method on images, of which the lines are channels."""
    rows = rows_of(counts) if rows is None else rows
    rows = replace(rows, inputs=rows.inputs[:, 0])
    granted = SequenceGrants(parts=parts_of(layout))
    return OF_NETWORKS.trained(method, counts, rows, granted=granted, **options)


def uneven_parts_are_handled(method: Recipe) -> None:
    """Parts of one channel and of all others must train, or be refused in a sentence."""
    uneven = structs.replace(LAYOUT, parts=(LINES[:1], LINES[1:]))
    try:
        scores = trained(copy.deepcopy(method), counts_for(method), layout=uneven).scores
    except Diverged as error:
        raise Failure(f"expected numbers where a part is one channel, but {error}") from None
    except LTBenchError:
        return  # refused in a sentence
    expect(bool(scores.isfinite().all()), "expected finite scores where a part is one channel")


def held_out_rows_stay_out(method: Recipe) -> None:
    """No row of the test split and none of the validation split may reach a hook."""
    protocol, dataset = marked(min(3, len(counts_for(method))), small)
    spy = Spy()
    run(protocol, Recipe(*method.methods, spy), 0, in_lines(dataset), CPU)
    expect_unseen(spy)


def in_lines(dataset: Dataset) -> Dataset:
    """Small images as sequences, of which the lines are channels."""
    return laid_out(dataset, LAYOUT, (), "check")


def small(dataset: Dataset) -> Sequences:
    """A small protocol over a source without a test split of its own."""
    return Sequences(**fields(dataset), sequence=LAYOUT)


def learning(dataset: Dataset) -> Sequences:
    """A protocol whose networks learn enough to give rows different classes."""
    protocol = small(dataset)
    return structs.replace(protocol, budget=structs.replace(protocol.budget, epochs=20))


def decoys_change_nothing(method: Recipe) -> None:
    """A cell of digits must decide alike where the labels of test rows are false."""
    expect_deaf(method, learning, run, in_lines)


THOROUGH = named((decoys_change_nothing,))
