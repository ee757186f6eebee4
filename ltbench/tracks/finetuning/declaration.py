"""The declaration of fine-tuning: what it measures, and what runs its cells."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Arrays, Check, Followed, Track
from ltbench.results.records import Record
from ltbench.scoring.measures import CLASSIFICATION, FIRST, Measure, share
from ltbench.tracks import classification
from ltbench.tracks.finetuning.contract import FineTuner
from ltbench.tracks.finetuning.problem import Finetuning
from ltbench.tracks.finetuning.track import (
    LEARNED,
    SUPPLIES,
    OfUpstream,
    answer,
    divide,
    load,
    measured,
    plan,
    seconds,
)


class FinetuningTrack(Track[Finetuning]):
    """Networks that were trained before learn a set in which other classes are rare."""

    name = "finetuning"
    made_in = "ltbench.tracks.finetuning.track"
    scaffolds = Path(__file__).parent / "scaffolds"
    example = "digits-finetune"
    problem = Finetuning
    hooks = FineTuner
    needs = SUPPLIES | {"two_classes"}
    floor = ("erm",)
    measures = (
        share("balanced_accuracy", "balanced accuracy", table=FIRST),
        share(
            "p_many",
            "P-many",
            "*P-many*, *P-few*: mean recall of the half of the classes with more rows in the "
            "training of the first upstream model, and of the half with fewer",
            table=FIRST,
        ),
        share("p_few", "P-few", table=FIRST),
        share(
            "d_many",
            "D-many",
            "*D-many*, *D-few*: the same by the rows that are learned, downstream",
            table=FIRST,
        ),
        share("d_few", "D-few", table=FIRST),
        *(
            Measure(
                f"{kind}_gap",
                f"{kind.upper()} gap",
                f"*{kind.upper()} gap*: {kind.upper()}-many less {kind.upper()}-few",
                better="lower",
                chosen=True,
                table=FIRST,
                limits=(-1.0, 1.0),
            )
            for kind in "pd"
        ),
        Measure(
            LEARNED,
            "trained",
            "*trained*: parameters that learn downstream",
            better="lower",
            unit="",
            form="{:,.0f}",
            chosen=True,
        ),
        *(measure for measure in CLASSIFICATION if measure.name != "balanced_accuracy"),
    )

    load = staticmethod(load)
    plan = staticmethod(plan)
    seconds = staticmethod(seconds)
    divide = staticmethod(divide)
    answer = staticmethod(answer)
    step = staticmethod(classification.step)

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.finetuning.checks import checks

        return checks(recipe)

    def thorough(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.finetuning.checks import THOROUGH

        return THOROUGH

    def measured(self, protocol: Finetuning, record: Record, arrays: Arrays) -> Followed:
        if not {"labels", "predicted", "confidence"} <= arrays.keys():
            return {}
        return measured(protocol, record, arrays, msgspec.convert(record.details, OfUpstream))

    def refused(self, record: Record) -> str | None:
        if record.status != "ok":
            return None
        try:
            msgspec.convert(record.details, OfUpstream)
        except msgspec.ValidationError as error:
            return f"its upstream models are none ({str(error).replace('`', '')})"
        return None
