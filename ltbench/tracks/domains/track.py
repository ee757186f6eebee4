"""Domains: train a network on rows of several domains, score it in each cell of the test split."""

from collections.abc import Callable, Set
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from msgspec import Struct
from numpy.typing import NDArray
from torch import Tensor

from ltbench.contract.context import Rows, Run
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import (
    Answer,
    Arrays,
    Asked,
    Divided,
    Finder,
    Followed,
    Outcome,
    around,
    undivided,
)
from ltbench.datasets import Dataset
from ltbench.results.records import Record, Scores
from ltbench.tracks import classification, diagnostics, holding
from ltbench.tracks.classification import (
    EXACT,
    Parts,
    Predictions,
    recalls_of,
    refuse_adapting,
    refuse_foreign,
    refuse_needs,
    seconds_of,
    time_plain,
)
from ltbench.tracks.dividing import Given, asked
from ltbench.tracks.domains import metadata
from ltbench.tracks.domains.contract import ANNOTATOR, GROUPS, TEST_GROUPS, DomainGrants, cell_of
from ltbench.tracks.domains.cutting import Cut, Index, cut, lacking, load_looks, merged
from ltbench.tracks.domains.problem import Domains
from ltbench.tracks.domains.scores import cell_recalls, flips, listed, scored_cells
from ltbench.tracks.learning import learned
from ltbench.tracks.one_label import said

SUPPLIES = frozenset({GROUPS, TEST_GROUPS, ANNOTATOR})
OF_ROWS = ("accuracy", "macro_f1", "expected_calibration_error")
"""Measures of test rows as they are, which a domain that is held out has no part in."""


class OfCells(Struct, frozen=True):
    """What a record keeps beside its measures: the names of domains, and their cells [G, C].

    `rows` are those trained on, `tested` those tested on, and a recall is None where there are
    none of these. A domain that was held out comes last, with no rows to train on.
    """

    domains: list[str]
    rows: list[list[int]]
    tested: list[list[int]]
    recalls: list[list[float | None]]


def load(registry: Finder, protocol: Domains) -> dict[str, Dataset]:
    """The protocol's one data set, with classes merged where it says so.

    Raises:
        LTBenchError: it cannot be had, or lacks what the protocol names.
    """
    load_looks(protocol.domains)
    if protocol.metadata is not None:
        found: dict[str, Dataset] = {"": metadata.read(registry, protocol)}
        declared = holding.broken(found[""], protocol.data.holds)
        holding.refuse_broken(f"data set {protocol.data.source}", declared)
    else:
        found = classification.load(registry, protocol)
    return {"": merged(found[""], protocol.merged)} if protocol.merged else found


def seconds(protocol: Domains, dataset: Dataset, device: torch.device) -> float:
    """About what a cell of plain training takes here, measured for a moment."""
    parts = cut(protocol, dataset, 0).parts
    return seconds_of(partial(time_plain, protocol, parts, 0, device), protocol, device)


def corner_of(protocol: Domains) -> int:
    """The side of the largest square that marks a domain; 0 without any."""
    return max((domain.corner for domain in protocol.domains), default=0)


def begin(protocol: Domains, rows: Cut, seed: int, device: torch.device) -> Run:
    """A run at its start, that knows the cells of its training rows."""
    return begun(protocol, rows.parts, rows.seen, seed, device)


def begun(protocol: Domains, parts: Parts, seen: Index, seed: int, device: torch.device) -> Run:
    """A run at its start, that knows the cells `seen` [G, C] of its training rows."""
    run = classification.begin(protocol, parts, seed, device)
    cells = torch.from_numpy(seen).to(device, run.counts.dtype)
    run.granted = DomainGrants(cells=cells, corner=corner_of(protocol))
    return run


def divide(protocol: Domains, seed: int, dataset: Dataset, needs: Set[str]) -> Divided:
    """The data of a cell: rows to train on, test inputs to be asked, and labels to mark with.

    The groups of test rows are told to a recipe that needs them.
    """
    rows = cut(protocol, dataset, seed)
    parts = rows.parts
    test, groups = cache(parts.test), TEST_GROUPS in needs
    paper = cache(lambda: asked(test(), seed, groups))

    def mark(answer: Answer) -> Outcome:
        place = paper()[1]
        scored, predictions, details = score(
            protocol, rows, test(), answer.scores[place], answer.predicted[place]
        )
        tested = np.array(details.tested)
        return Outcome(
            measures=scored | diagnostics.measured(protocol, answer.told),
            timing=answer.timing,
            recall=recalls_of(predictions.labels, predictions.predicted, len(dataset.classes)),
            class_counts=parts.class_counts,
            arrays=arrays(predictions, test(), rows.cells),
            notes=[
                *answer.notes,
                *lacking("training", rows.names, rows.seen, dataset.classes),
                *lacking("test", rows.names, tested, dataset.classes),
            ],
            details=details,
            continued=answer.continued,
            stage=answer.stage,
        )

    classes = len(dataset.classes)
    given = Given(parts.train, parts.validation, parts.class_counts, classes, rows.seen)
    return Divided(given, lambda: paper()[0], mark, classes)


def answer(
    protocol: Domains,
    recipe: Recipe,
    seed: int,
    given: Given,
    ask: Callable[[], Asked],
    device: torch.device,
) -> Answer:
    """Trains on what was given, then says what test rows are."""
    refuse_unmet(protocol, recipe, given.classes)
    parts = given.parts
    begins = partial(begun, protocol, parts, given.beside, seed, device)
    plain = partial(time_plain, protocol, parts, seed, device)
    made = learned(protocol, recipe, parts, begins, plain)

    test = ask()
    if test.groups is not None:
        made.run.note("it is told the group of each test row, which other recipes are not")
        made.run.groups = test.groups.to(device)
    return said(protocol, recipe, made, parts, test)


def score(
    protocol: Domains, rows: Cut, test: Rows, scores: Tensor, predicted: Tensor
) -> tuple[Scores, Predictions, OfCells]:
    """Every measure of a cell, its predictions, and what its record keeps beside.

    Measures are of the domains that were trained on; a domain held out has one of its own.
    """
    parts, (number, num_classes) = rows.parts, rows.cells.shape
    assert test.groups is not None
    _, predictions = classification.score(protocol, parts, test.labels, scores, predicted)
    groups = test.groups.cpu().numpy()
    recall = cell_recalls(predictions.labels, predictions.predicted, groups, (number, num_classes))
    tested = cell_of(test.groups, test.labels, num_classes).bincount(minlength=recall.size)
    within = len(rows.seen)
    known = test.groups < within
    of_rows, _ = classification.score(
        protocol, parts, test.labels[known], scores[known], predicted[known]
    )
    measures = scored_cells(recall[:within], rows.seen, protocol.scoring.shot_splits)
    measures |= {name: of_rows[name] for name in OF_ROWS}
    measures["unseen"] = float(np.nanmean(recall[-1])) if rows.held_out else None
    if "flips" in protocol.scoring.metrics:
        measures["flips"] = shown_twice(protocol, predictions.predicted, groups)
    details = OfCells(
        list(rows.names),
        rows.cells.tolist(),
        tested.view(recall.shape).tolist(),
        listed(recall),
    )
    return measures, predictions, details


def measured(protocol: Domains, record: Record, arrays: Arrays, details: OfCells) -> Followed:
    """Every measure that follows from what a record keeps of its test rows and its cells."""
    labels, predicted, groups = (arrays[name] for name in ("labels", "predicted", "groups"))
    cells = np.array(details.rows)
    within = len(cells) - (protocol.held_out != "none")
    recall = cell_recalls(labels.astype(np.int64), predicted.astype(np.int64), groups, cells.shape)
    told = scored_cells(recall[:within], cells[:within], protocol.scoring.shot_splits)
    told["unseen"] = float(np.nanmean(recall[-1])) if within < len(cells) else None
    if "flips" in protocol.scoring.metrics:
        told["flips"] = shown_twice(protocol, predicted, groups)
    whole, known = of_rows(protocol, record, arrays), groups < within
    inside = of_rows(protocol, record, {name: kept[known] for name, kept in arrays.items()})
    return {
        **{name: around(value, EXACT) for name, value in told.items()},
        **{name: inside[name] for name in OF_ROWS},
        **{name: value for name, value in whole.items() if name.startswith("recall ")},
    }


def of_rows(protocol: Domains, record: Record, arrays: Arrays) -> Followed:
    """What follows of test rows as they are, whatever their domains."""
    found = arrays["labels"], np.atleast_2d(arrays["predicted"])
    return classification.measured(protocol, record, found, arrays)


def shown_twice(protocol: Domains, predicted: NDArray[Any], groups: NDArray[Any]) -> float | None:
    """The share of flips; None where no test image is shown in two domains."""
    return flips(predicted, groups) if protocol.domains and protocol.tested == "all" else None


def arrays(predictions: Predictions, test: Rows, cells: Index) -> Arrays:
    """As other networks keep them, with the domain of each test row."""
    assert test.groups is not None
    domains, num_classes = cells.shape
    groups = test.groups.cpu().numpy().astype(np.min_scalar_type(domains - 1))
    return {**predictions.arrays(num_classes), "groups": groups}


def refuse_unmet(protocol: Domains, recipe: Recipe, num_classes: int) -> None:
    """Refuses, by name, what the track would pass over in silence.

    Raises:
        Unmet: a need is not met, or a method acts on another kind of model.
    """
    refuse_foreign(protocol, recipe)
    refuse_adapting(protocol, recipe)
    supplied = SUPPLIES if corner_of(protocol) else SUPPLIES - {ANNOTATOR}
    supplied |= {"two_classes"} if num_classes == 2 else set()
    refuse_needs(protocol, recipe, supplied)


run = undivided(divide, answer)
