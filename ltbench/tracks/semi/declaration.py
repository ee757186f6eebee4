"""The declaration of semi-supervised learning: what it measures, and what runs its cells."""

from collections.abc import Callable, Mapping

import torch

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import (
    Answer,
    Arrays,
    Asked,
    Check,
    Divided,
    Finder,
    Followed,
    Outcome,
    Track,
)
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.results.records import Record
from ltbench.scoring.measures import CLASSIFICATION, SHARES, Measure, share
from ltbench.tracks import classification
from ltbench.tracks.dividing import Given
from ltbench.tracks.semi.contract import SemiSupervised
from ltbench.tracks.semi.cutting import cut, load
from ltbench.tracks.semi.problem import Semi
from ltbench.tracks.semi.track import SUPPLIES, answer, divide, measured, run


class SemiTrack(Track[Semi]):
    """A network learns from few labelled rows, and a pool of rows whose labels are withheld."""

    name = "semi"
    made_in = "ltbench.tracks.semi.track"
    example = "digits-semi-consistent"
    problem = Semi
    hooks = SemiSupervised
    needs = SUPPLIES | {"two_classes"}
    floor = ("erm", "logit-adjustment")
    measures = (
        *CLASSIFICATION,
        share(
            "pool_balanced_accuracy",
            "pool",
            "*pool*: mean recall on the pool, whose labels are withheld",
        ),
        Measure(
            "pool_shift",
            "pool shift",
            "*pool shift*: half the sum over classes of how far the share of answers on the pool "
            "is from that of its rows",
            better="lower",
            chosen=True,
            limits=SHARES,
        ),
    )

    def load(self, registry: Finder, protocol: Semi) -> dict[str, Dataset]:
        return load(registry, protocol)

    def plan(self, protocol: Semi, sources: Mapping[str, Dataset], device: torch.device) -> None:
        rows = cut(protocol, sources[""], 0)
        classification.begin(protocol, rows.parts, 0, torch.device("cpu"))
        if len(rows.parts.train.shape) != 3:
            raise LTBenchError(
                f"a row of {protocol.data.source} is {list(rows.parts.train.shape)}; "
                f"{protocol.name} turns images [C, H, W] into strong views"
            )

    def seconds(self, protocol: Semi, source: Dataset, device: torch.device) -> float:
        return classification.seconds(protocol, source, device)

    def run(
        self, protocol: Semi, recipe: Recipe, seed: int, source: Dataset, device: torch.device
    ) -> Outcome:
        return run(protocol, recipe, seed, source, device)

    def divide(self, protocol: Semi, seed: int, source: Dataset, needs: frozenset[str]) -> Divided:
        return divide(protocol, seed, source, needs)

    def answer(
        self,
        protocol: Semi,
        recipe: Recipe,
        seed: int,
        given: Given,
        ask: Callable[[], Asked],
        device: torch.device,
    ) -> Answer:
        return answer(protocol, recipe, seed, given, ask, device)

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.semi.checks import checks

        return checks(recipe)

    def step(self, protocol: Semi, measure: str, classes: int) -> float | None:
        return classification.step(protocol, measure, classes)

    def measured(self, protocol: Semi, record: Record, arrays: Arrays) -> Followed:
        kept = {"labels", "predicted", "confidence", "pool_labels", "pool_predicted"}
        return measured(protocol, record, arrays) if kept <= arrays.keys() else {}
