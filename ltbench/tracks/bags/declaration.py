"""The declaration of bags: what is measured of them, and what runs their cells."""

from collections.abc import Mapping
from pathlib import Path

import torch

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Arrays, Check, Followed, Track
from ltbench.datasets import Dataset
from ltbench.results.records import Record
from ltbench.scoring.measures import CLASSIFICATION, share
from ltbench.tracks.bags import track
from ltbench.tracks.bags.contract import BagMethod
from ltbench.tracks.bags.cutting import cut, load
from ltbench.tracks.bags.problem import Bags


class BagsTrack(Track[Bags]):
    """A network tells classes of bags of instances, where bags of some classes are rare."""

    name = "bags"
    made_in = "ltbench.tracks.bags.track"
    scaffolds = Path(__file__).parent / "scaffolds"
    example = "digits-bags-lt"
    problem = Bags
    hooks = BagMethod
    needs = track.SUPPLIES | {"two_classes"}
    floor = ("erm", "gated-abmil")
    reference = "gated-abmil"
    measures = (
        *CLASSIFICATION,
        share(
            "witness",
            explanation="*witness*: test bags in which the instance that counts most is one that "
            "tells the class, mean over classes that have such",
        ),
        share(
            "witness_many",
            "witness, many",
            "*witness, many*, *few*: the same of classes with many training rows, and with few",
            empty="*witness, many*: no such class has so many training rows",
        ),
        share("witness_medium", "witness, medium"),
        share(
            "witness_few",
            "witness, few",
            empty="*witness, few*: no such class has so few training rows",
        ),
    )

    load = staticmethod(load)
    seconds = staticmethod(track.seconds)
    divide = staticmethod(track.divide)
    answer = staticmethod(track.answer)

    def plan(self, protocol: Bags, sources: Mapping[str, Dataset], device: torch.device) -> None:
        track.begin(protocol, cut(protocol, sources[""], 0).parts, 0, torch.device("cpu"))

    def step(self, protocol: Bags, measure: str, classes: int) -> float | None:
        if measure not in ("balanced_accuracy", "accuracy") or protocol.made is None or not classes:
            return None
        return 1 / (classes * protocol.made.test)

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.bags.checks import checks

        return checks(recipe)

    def measured(self, protocol: Bags, record: Record, arrays: Arrays) -> Followed:
        found = self.decided(record, arrays)
        return {} if found is None else track.measured(protocol, record, found, arrays)
