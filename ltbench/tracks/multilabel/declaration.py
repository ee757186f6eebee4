"""The declaration of several labels a row: what it measures, and what runs its cells."""

from collections.abc import Mapping
from pathlib import Path

import torch

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Arrays, Check, Followed, Track
from ltbench.datasets import Dataset
from ltbench.results.records import Record
from ltbench.scoring.measures import FIRST, share
from ltbench.tracks.multilabel.contract import LabelMethod
from ltbench.tracks.multilabel.cutting import cut, load
from ltbench.tracks.multilabel.problem import MultiLabel
from ltbench.tracks.multilabel.track import SUPPLIES, answer, begin, divide, measured, seconds


class MultiLabelTrack(Track[MultiLabel]):
    """A network tells which labels a row has, of which there may be several, and some are rare."""

    name = "multilabel"
    made_in = "ltbench.tracks.multilabel.track"
    scaffolds = Path(__file__).parent / "scaffolds"
    example = "digits-scenes-lt"
    problem = MultiLabel
    hooks = LabelMethod
    needs = SUPPLIES
    floor = ("erm",)
    measures = (
        share("map", "mAP", "*mAP*: average precision, mean over labels", table=FIRST),
        share(
            "many",
            explanation="*many*, *medium*, *few*: mean average precision of the labels with that "
            "many positive training rows",
            empty="*many*: no label has so many positive training rows",
            table=FIRST,
        ),
        share(
            "medium",
            empty="*medium*: no label has such a number of positive training rows",
            table=FIRST,
        ),
        share("few", empty="*few*: no label has so few positive training rows", table=FIRST),
        share(
            "macro_f1",
            "macro F1",
            "*macro F1*: of labels whose score is above 0, mean over labels",
        ),
        share("micro_f1", "micro F1", "*micro F1*: of all such decisions together"),
        share("few_recall", "few recall", "*few recall*: recall of the few at a score above 0"),
    )

    load = staticmethod(load)
    seconds = staticmethod(seconds)
    divide = staticmethod(divide)
    answer = staticmethod(answer)

    def plan(
        self, protocol: MultiLabel, sources: Mapping[str, Dataset], device: torch.device
    ) -> None:
        begin(protocol, cut(protocol, sources[""], 0), 0, torch.device("cpu"))

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.multilabel.checks import checks

        return checks(recipe)

    def measured(self, protocol: MultiLabel, record: Record, arrays: Arrays) -> Followed:
        whole = {"labels", "ranks", "decided"} <= arrays.keys()
        return measured(protocol, record, arrays) if whole else {}
