"""Test-agnostic evaluation: how predictions fare when the test split has a tail of its own.

Zhang et al., NeurIPS 2022 (arXiv:2107.09249), section 5: eleven test splits cut from a balanced
one, from the class order of training (forward) over uniform to its reverse (backward).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ltbench.contract.track import Track
from ltbench.errors import LTBenchError
from ltbench.protocols.imbalance import Index, class_counts, long_tailed
from ltbench.protocols.schema import Protocol
from ltbench.results import records
from ltbench.results.provenance import Now, nobody
from ltbench.results.reading import records_of, refuse_none
from ltbench.results.records import Record, Rejected
from ltbench.scoring.measures import SHARES
from ltbench.scoring.metrics import accuracy
from ltbench.scoring.statistics import Mean, best_first, lacking, means_of

if TYPE_CHECKING:
    import pandas

FACTORS = (50, 25, 10, 5, 2)
SPLITS = (
    *(f"forward-{factor}" for factor in FACTORS),
    "uniform",
    *(f"backward-{factor}" for factor in reversed(FACTORS)),
)


class AgnosticRow(Struct, frozen=True):
    """The accuracy of a recipe on each split."""

    recipe: str
    seeds: int
    accuracy: dict[str, Mean]


class Agnostic(Struct, frozen=True):
    """The rows of one protocol, best mean over all splits first; those that lack seeds last."""

    protocol: str
    version: int
    hash: str
    rows: list[AgnosticRow]


def splits(labels: Index, training_counts: Sequence[int]) -> dict[str, Index]:
    """The rows of each split; `training_counts` [C] give the classes their order.

    As published: counts by the exponential rule from the fewest test rows that any class has,
    rows chosen by NumPy's legacy generator with seed 0.

    Raises:
        LTBenchError: a class has too few test rows.
    """
    classes = len(training_counts)
    most = int(np.bincount(labels, minlength=classes).min())
    if most < max(FACTORS):
        raise LTBenchError(
            f"a class has {most} test rows; the test-agnostic splits need at least {max(FACTORS)}"
        )
    rank = np.empty(classes, dtype=np.int64)
    rank[np.argsort(-np.asarray(training_counts), kind="stable")] = np.arange(classes)
    chosen = {}
    for name in SPLITS:
        direction, _, factor = name.partition("-")
        counts = np.array(class_counts("exponential", most, float(factor or 1), classes))
        by_rank = counts[::-1] if direction == "backward" else counts
        chosen[name] = long_tailed(labels, by_rank[rank].tolist())
    return chosen


def evaluate(
    track: Track[Any],
    protocol: Protocol,
    results: Path,
    now: Now = nobody,
    mixed: bool = False,
) -> tuple[Agnostic, list[Rejected]]:
    """The table of all records whose predictions are there; nothing is trained again.

    Raises:
        LTBenchError: there are no records, they keep no predictions of one label a row, or a
            class has too few test rows for the splits.
    """
    found, rejected = records_of(protocol, results, now, mixed)
    refuse_none(protocol, results, len(found), rejected)
    done = [record for record in found if record.status == "ok"]
    if not done:
        raise LTBenchError(f"{results / protocol.name} holds no finished records")
    recipes = sorted({record.recipe for record in done})
    seeds = sorted({record.seed for record in done})
    row_of, column_of = ({name: n for n, name in enumerate(s)} for s in (recipes, seeds))
    values = np.full((len(SPLITS), len(recipes), len(seeds)), np.nan)
    for record in done:
        values[:, row_of[record.recipe], column_of[record.seed]] = _accuracies(
            track, results, record
        )
    means = [means_of(split, SHARES) for split in values]
    rows = [
        AgnosticRow(
            recipe=recipe,
            seeds=int((~np.isnan(values[0, row])).sum()),
            accuracy={name: means[k][row] for k, name in enumerate(SPLITS)},
        )
        for row, recipe in enumerate(recipes)
    ]
    over_splits = values.mean(axis=0)
    order = best_first(over_splits, lacking(np.isfinite(over_splits)))
    ranked = [rows[row] for row in order]
    return Agnostic(protocol.name, protocol.version, protocol.hash, ranked), rejected


def _accuracies(track: Track[Any], results: Path, record: Record) -> NDArray[np.float64]:
    """The accuracy on each split, the mean over networks where a record holds those of several."""
    held = records.arrays_of(results, record) if record.arrays else {}
    found = track.decided(record, held)
    if found is None or not record.class_counts:
        raise LTBenchError(
            f"{record.protocol} is of the track {record.track}, which keeps no predictions of one "
            "label a row"
        )
    labels, predicted = found[0].astype(np.int64), found[1]
    chosen = splits(labels, record.class_counts).values()
    return np.array([accuracy(labels[rows], predicted[:, rows]) for rows in chosen])


def frame(table: Agnostic) -> "pandas.DataFrame":
    """A row for each recipe, a column for each split."""
    import pandas

    return pandas.DataFrame(
        [
            {
                "recipe": row.recipe,
                **{name: mean.mean for name, mean in row.accuracy.items()},
                "seeds": row.seeds,
            }
            for row in table.rows
        ]
    )
