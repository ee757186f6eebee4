"""The declaration of clustering: what it measures, and what runs its cells."""

from collections.abc import Mapping
from pathlib import Path

import torch

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Arrays, Check, Followed, Track
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.results.records import Record
from ltbench.scoring.measures import CLASSIFICATION, FIRST, Measure, share
from ltbench.tracks import classification
from ltbench.tracks.clustering.contract import Clustering
from ltbench.tracks.clustering.cutting import cut
from ltbench.tracks.clustering.encoder import fresh
from ltbench.tracks.clustering.problem import Clusters
from ltbench.tracks.clustering.track import KEPT, SUPPLIES, answer, divide, measured, seconds


class ClusteringTrack(Track[Clusters]):
    """Rows are put into clusters of imbalanced sizes; of some classes a few labels may be known."""

    name = "clustering"
    made_in = "ltbench.tracks.clustering.track"
    scaffolds = Path(__file__).parent / "scaffolds"
    example = "digits-clusters-10"
    problem = Clusters
    hooks = Clustering
    needs = SUPPLIES | {"two_classes"}
    floor = ("k-means", "ot")
    reference = "ot"
    measures = (
        share(
            "nmi",
            "NMI",
            "*NMI*: what clusters and classes tell of each other, over the mean of both entropies",
            table=FIRST,
        ),
        Measure(
            "size_error",
            "size error",
            "*size error*: how far the sizes of clusters are from those of classes, both from the "
            "largest to the smallest, summed over all rows",
            better="lower",
            table=FIRST,
            chosen=True,
            limits=(0.0, 2.0),
        ),
        share(
            "matched_balanced_accuracy",
            "matched",
            "*matched*: mean recall of the rows that were clustered, each cluster called by one "
            "class so that most of them are right",
            table=FIRST,
        ),
        share(
            "old",
            "old",
            "*old*, *new*: that mean over known classes, and over new ones",
            table=FIRST,
            empty="*old*, *new*: no class is known",
        ),
        share("new", "new", table=FIRST),
        share("matched_accuracy", "matched rows", "*matched rows*: share of rows that are right"),
        share("matched_f1", "matched F1", "*matched F1*: mean over classes of the same rows"),
        Measure(
            "ari",
            "ARI",
            "*ARI*: adjusted Rand index",
            chosen=True,
            limits=(-1.0, 1.0),
        ),
        *CLASSIFICATION,
    )

    load = staticmethod(classification.load)
    seconds = staticmethod(seconds)
    divide = staticmethod(divide)
    answer = staticmethod(answer)
    step = staticmethod(classification.step)

    def plan(
        self, protocol: Clusters, sources: Mapping[str, Dataset], device: torch.device
    ) -> None:
        rows = cut(protocol, sources[""], 0)
        if len(rows.pool.shape) != 3:
            raise LTBenchError(
                f"a row of {protocol.data.source} is {list(rows.pool.shape)}; {protocol.name} "
                "turns images [C, H, W] into strong views"
            )
        fresh(protocol, rows.pool.shape, 0)

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.clustering.checks import checks

        return checks(recipe)

    def thorough(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.clustering.checks import THOROUGH

        return THOROUGH

    def measured(self, protocol: Clusters, record: Record, arrays: Arrays) -> Followed:
        return measured(protocol, record, arrays) if arrays.keys() >= KEPT else {}
