"""The declaration of detection: what it measures, and what runs its cells."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Arrays, Check, Followed, Proposal, Track
from ltbench.results.records import Record
from ltbench.scoring.measures import FIRST, share
from ltbench.tracks.classification import Parts
from ltbench.tracks.detection.cutting import Source, cut, load
from ltbench.tracks.detection.detector import begin
from ltbench.tracks.detection.problem import Detection
from ltbench.tracks.detection.track import (
    KEPT,
    SUPPLIES,
    OfDetector,
    answer,
    divide,
    measured,
    seconds,
)


class DetectionTrack(Track[Detection]):
    """The stored scores of a detector, whose classes were rare to train on, are calibrated."""

    name = "detection"
    made_in = "ltbench.tracks.detection.track"
    scaffolds = Path(__file__).parent / "scaffolds"
    example = "digits-detection-lt"
    problem = Detection
    needs = SUPPLIES
    floor = ("erm",)
    doing = "scoring"
    unit = "plain scores"
    measures = (
        share(
            "ap",
            "AP",
            "*AP*: average precision at an overlap of 0.5 (as COCO's, at 101 points of recall), "
            "mean over classes; {0.keep.most} boxes a picture at most",
            table=FIRST,
        ),
        share(
            "many",
            explanation="*many*, *medium*, *few*: that of the classes that so many training "
            "pictures show",
            empty="*many*: no class is in so many training pictures",
            table=FIRST,
        ),
        share("medium", empty="*medium*: no class is in such a number of pictures", table=FIRST),
        share("few", empty="*few*: no class is in so few training pictures", table=FIRST),
        share(
            "uniform",
            explanation="*uniform*, *clustered*: that of the classes that lie anywhere, and of "
            "those that lie around a point",
            empty="*uniform*, *clustered*: nobody knows which classes lie around a point",
            table=FIRST,
        ),
        share("clustered", table=FIRST),
        share(
            "average_recall",
            "recall",
            "*recall*: share of the boxes of the truth that are among those kept, mean over "
            "classes",
        ),
        share("few_recall", "few recall", "*few recall*: that of the few"),
    )

    load = staticmethod(load)
    seconds = staticmethod(seconds)
    divide = staticmethod(divide)
    answer = staticmethod(answer)

    def propose(self, name: str, path: Path, target: str | None = None) -> Proposal | None:
        from ltbench.tracks.detection.proposal import propose

        return propose(name, path)

    def plan(
        self, protocol: Detection, sources: Mapping[str, Source], device: torch.device
    ) -> None:
        data = cut(protocol, sources[""], 0)
        if len(data.train):
            parts = Parts(data.train, None, lambda: data.train, [*data.counts, 0])
            begin(protocol, parts, 0, torch.device("cpu"))

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.detection.checks import checks

        return checks(recipe)

    def measured(self, protocol: Detection, record: Record, arrays: Arrays) -> Followed:
        return measured(protocol, record, arrays) if arrays.keys() >= KEPT else {}

    def refused(self, record: Record) -> str | None:
        if record.status != "ok":
            return None
        try:
            msgspec.convert(record.details, OfDetector)
        except msgspec.ValidationError as error:
            return f"what it tells of its detector is nothing ({str(error).replace('`', '')})"
        return None
