"""The declaration of semi-supervised learning: what it measures, and what runs its cells."""

from collections.abc import Mapping
from pathlib import Path

import torch

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import (
    Arrays,
    Check,
    Followed,
    Track,
)
from ltbench.datasets import Dataset
from ltbench.errors import LTBenchError
from ltbench.results.records import Record
from ltbench.scoring.measures import CLASSIFICATION, SHARES, Measure, share
from ltbench.tracks import classification
from ltbench.tracks.diagnostics import DIAGNOSTICS
from ltbench.tracks.semi.contract import SemiSupervised
from ltbench.tracks.semi.cutting import cut, load
from ltbench.tracks.semi.problem import Semi
from ltbench.tracks.semi.track import SUPPLIES, answer, divide, measured


class SemiTrack(Track[Semi]):
    """A network learns from few labelled rows, and a pool of rows whose labels are withheld."""

    name = "semi"
    made_in = "ltbench.tracks.semi.track"
    scaffolds = Path(__file__).parent / "scaffolds"
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
        share(
            "open_balanced_accuracy",
            "open",
            "*open*: mean recall of the known classes and of rows of unknown ones, which are to be "
            "called so",
        ),
        share(
            "unknown_auroc",
            "AUROC",
            "*AUROC*: pairs of test rows, an unknown and a known, of which the first is taken the "
            "likelier to be unknown",
        ),
        *DIAGNOSTICS,
    )

    load = staticmethod(load)
    seconds = staticmethod(classification.seconds)
    divide = staticmethod(divide)
    answer = staticmethod(answer)
    step = staticmethod(classification.step)

    def plan(self, protocol: Semi, sources: Mapping[str, Dataset], device: torch.device) -> None:
        rows = cut(protocol, sources[""], 0)
        classification.begin(protocol, rows.parts, 0, torch.device("cpu"))
        if len(rows.parts.train.shape) != 3:
            raise LTBenchError(
                f"a row of {protocol.data.source} is {list(rows.parts.train.shape)}; "
                f"{protocol.name} turns images [C, H, W] into strong views"
            )

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.semi.checks import checks

        return checks(recipe)

    def thorough(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.semi.checks import THOROUGH

        return THOROUGH

    def measured(self, protocol: Semi, record: Record, arrays: Arrays) -> Followed:
        kept = {"labels", "predicted", "confidence", "pool_labels", "pool_predicted"}
        return measured(protocol, record, arrays) if kept <= arrays.keys() else {}
