"""The declaration of robust learning: what it measures, and what runs its cells."""

from collections.abc import Mapping
from pathlib import Path

import torch

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Arrays, Check, Followed, Outcome, Track
from ltbench.datasets import Dataset
from ltbench.results.records import Record
from ltbench.scoring.measures import CLASSIFICATION, FIRST, Measure, share
from ltbench.tracks import classification
from ltbench.tracks.diagnostics import DIAGNOSTICS
from ltbench.tracks.robust.problem import Robust
from ltbench.tracks.robust.track import OF_ROWS, SUPPLIES, measured, plan, run

GAPS = (-1.0, 1.0)
FEWEST = ("few", "worst")


class RobustTrack(Track[Robust]):
    """A network learns on an imbalanced set, and is attacked as it is tested."""

    name = "robust"
    made_in = "ltbench.tracks.robust.track"
    scaffolds = Path(__file__).parent / "scaffolds"
    example = "digits-robust"
    problem = Robust
    needs = SUPPLIES | {"two_classes"}
    floor = ("erm",)
    measures = (
        share(
            "robust",
            "robust",
            "*robust*: balanced accuracy, where a row counts if it is right as it is and under "
            "each attack with {0.threat.eps:.3g} of the pixels' range: PGD-20 on cross-entropy, "
            "and on the margin towards each other class",
            table=FIRST,
        ),
        share("clean", "clean", "*clean*: balanced accuracy without an attack", table=FIRST),
        share(
            "pgd20",
            "PGD-20",
            "*PGD-20*: on cross-entropy alone, in steps of a quarter of eps",
            table=FIRST,
        ),
        *(
            share(
                f"{of}_{shot}",
                f"{of} {shot}",
                table=FIRST if shot in ("few", "worst") else "second",
            )
            for of in ("robust", "clean")
            for shot in ("many", "medium", "few", "worst")
        ),
        *(
            Measure(
                f"{of}_disparity",
                f"{of} disparity",
                f"*{of} disparity*: {of} many less few",
                better="lower",
                chosen=True,
                limits=GAPS,
            )
            for of in ("robust", "clean")
        ),
        *(measure for measure in CLASSIFICATION if measure.name in OF_ROWS),
        *DIAGNOSTICS,
    )

    load = staticmethod(classification.load)
    plan = staticmethod(plan)
    seconds = staticmethod(classification.seconds)

    def run(
        self, protocol: Robust, recipe: Recipe, seed: int, source: Dataset, device: torch.device
    ) -> Outcome:
        return run(protocol, recipe, seed, source, device)

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.robust.checks import checks

        return checks(recipe)

    def thorough(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.robust.checks import THOROUGH

        return THOROUGH

    def step(self, protocol: Robust, measure: str, classes: int) -> float | None:
        """One test row moves each of the three shares alike."""
        if measure not in ("robust", "clean", "pgd20"):
            return None
        if protocol.threat.rows_per_class is not None:
            return 1 / (classes * protocol.threat.rows_per_class) if classes else None
        return classification.step(protocol, "balanced_accuracy", classes)

    def measured(self, protocol: Robust, record: Record, arrays: Arrays) -> Followed:
        kept = {"labels", "predicted", "confidence", "pgd20", "robust"}
        return measured(protocol, record, arrays) if kept <= arrays.keys() else {}
