"""The stability drop: how much accuracy a recipe loses as the tail of a problem grows longer."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import Struct

from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry.registry import Registry
from ltbench.results.reading import records_of, refuse_none
from ltbench.results.records import Rejected
from ltbench.scoring.measures import Measure
from ltbench.scoring.statistics import Mean, best_first, lacking, means_of

if TYPE_CHECKING:
    import pandas

MILD, HARSH = 10, 200
TELLING = ("name", "version", *Protocol.TELLING)


class StabilityRow(Struct, frozen=True):
    """What ranks of a recipe at both factors, and how much worse it is at the harsher one."""

    recipe: str
    seeds: int
    mild: Mean
    harsh: Mean
    drop: Mean


class Stability(Struct, frozen=True):
    """The rows of two protocols that differ in nothing but their factor, least drop first; those
    that lack seeds come last."""

    mild: str
    harsh: str
    measure: Measure
    rows: list[StabilityRow]


def evaluate(
    registry: Registry, protocol_name: str | Path, results: Path, mixed: bool = False
) -> tuple[Stability, list[Rejected]]:
    """The drop of every recipe that finished seeds of both protocols, over those seeds.

    Raises:
        LTBenchError: the protocol has no sibling of either factor, or there are no such seeds.
    """
    pair = [_sibling(registry, protocol_name, factor) for factor in (MILD, HARSH)]
    track = registry.track(pair[0].track)
    measure = track.measure(track.shown(pair[0])[0])
    rejected: list[Rejected] = []
    found: list[dict[tuple[str, int], float]] = []
    for protocol in pair:
        records, more = records_of(protocol, results, registry.origin, mixed)
        refuse_none(protocol, results, len(records), more)
        rejected += more
        values = {(one.recipe, one.seed): one.measures.get(measure.name) for one in records}
        found.append({key: value for key, value in values.items() if value is not None})
    common = found[0].keys() & found[1].keys()
    if not common:
        raise LTBenchError(
            f"{pair[0].name} and {pair[1].name} have no finished seed of one recipe in common "
            f"under {results}; ltbench run makes them"
        )
    recipes, seeds = sorted({key[0] for key in common}), sorted({key[1] for key in common})
    row_of, column_of = ({name: n for n, name in enumerate(s)} for s in (recipes, seeds))
    mild, harsh = np.full((2, len(recipes), len(seeds)), np.nan)
    for recipe, seed in common:
        place = row_of[recipe], column_of[seed]
        mild[place], harsh[place] = (of[recipe, seed] for of in found)
    drop = measure.sign * (mild - harsh)
    kinds = (mild, measure.limits), (harsh, measure.limits), (drop, measure.gaps)
    means = zip(*(means_of(values, limits) for values, limits in kinds), strict=True)
    there = np.isfinite(drop)
    rows = [
        StabilityRow(recipe, n, *three)
        for recipe, n, three in zip(recipes, there.sum(axis=1).tolist(), means, strict=True)
    ]
    order = best_first(-drop, lacking(there))
    return Stability(pair[0].name, pair[1].name, measure, [rows[k] for k in order]), rejected


def _sibling(registry: Registry, name: str | Path, factor: int) -> Protocol:
    """The protocol that differs from the named one in its factor alone."""
    own = registry.protocol(name)
    sibling = re.sub(r"(?<=-lt-)\d+(?=-|$)", str(factor), own.name)
    if _factor(own) == factor:
        return own
    if _factor(own) is not None and sibling in registry.protocols():
        other = registry.protocol(sibling)
        if _factor(other) == factor and _rest(other) == _rest(own):
            return other
    raise LTBenchError(
        f"{own.name} has no sibling of factor {factor}; the stability drop is that from factor "
        f"{MILD} to {HARSH} of protocols alike in all else, as distill-mnist-lt-100-ipc10"
    )


def _factor(protocol: Protocol) -> float | None:
    """The imbalance factor of a protocol that states one."""
    return getattr(getattr(protocol, "imbalance", None), "factor", None)


def _rest(protocol: Protocol) -> object:
    """What decides the accuracies of a protocol, its factor aside."""
    content = msgspec.to_builtins(protocol)
    del content["imbalance"]["factor"]
    content.get("scoring", {}).pop("shot_splits", None)
    return {key: value for key, value in content.items() if key not in TELLING}


def frame(table: Stability) -> "pandas.DataFrame":
    """A row for each recipe; intervals stand in columns that end in _low and _high."""
    import pandas

    rows = []
    for row in table.rows:
        flat: dict[str, object] = {"recipe": row.recipe, "seeds": row.seeds}
        for name in ("mild", "harsh", "drop"):
            mean: Mean = getattr(row, name)
            flat |= {name: mean.mean, f"{name}_low": mean.low, f"{name}_high": mean.high}
        rows.append(flat)
    return pandas.DataFrame(rows)
