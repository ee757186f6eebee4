"""The declaration of recognition: what it measures, and what runs its cells."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import (
    Arrays,
    Check,
    Floats,
    Followed,
    Grid,
    Outcome,
    Proposal,
    Track,
)
from ltbench.datasets import Dataset
from ltbench.protocols.schema import Protocol
from ltbench.results.records import Record
from ltbench.scoring.measures import CLASSIFICATION, Measure
from ltbench.scoring.metrics import relative_accuracy
from ltbench.tracks import classification
from ltbench.tracks.diagnostics import DIAGNOSTICS
from ltbench.tracks.one_label import divide
from ltbench.tracks.recognition.problem import Recognition
from ltbench.tracks.recognition.track import SUPPLIES, answer, run
from ltbench.tracks.trials import trial

TWIN = ("data", "network", "budget")  # what a protocol shares with its balanced twin


class RecognitionTrack(Track[Recognition]):
    """A network is trained from scratch on an imbalanced set."""

    name = "recognition"
    made_in = "ltbench.tracks.recognition.track"
    scaffolds = Path(__file__).parent / "scaffolds"
    example = "digits-lt"
    problem = Recognition
    needs = SUPPLIES | {"two_classes"}
    floor = ("erm",)
    tunes = True
    measures = (
        *CLASSIFICATION,
        Measure(
            "relative_accuracy",
            "relative",
            "*relative*: accuracy over the better of what plain training and the method itself "
            "reach on a balanced set of the same size",
            stored=False,
        ),
        *DIAGNOSTICS,
    )

    def propose(self, name: str, path: Path, target: str | None = None) -> Proposal | None:
        from ltbench.tracks.recognition.proposal import propose

        return propose(name, path)

    def modules(self, protocol: Recognition) -> tuple[str, ...]:
        own = super().modules(protocol)
        return (*own, "ltbench.tracks.trials") if protocol.trial_share else own

    load = staticmethod(classification.load)
    plan = staticmethod(classification.plan)
    seconds = staticmethod(classification.seconds)
    divide = staticmethod(divide)
    answer = staticmethod(answer)
    step = staticmethod(classification.step)

    def run(
        self,
        protocol: Recognition,
        recipe: Recipe,
        seed: int,
        source: Dataset,
        device: torch.device,
    ) -> Outcome:
        if not protocol.trial_share:
            return run(protocol, recipe, seed, source, device)
        ordinary, apart = trial(protocol, source, seed)
        outcome = run(ordinary, recipe, seed, apart, device)
        return replace(outcome, arrays=None, notes=[*apart.notes, *outcome.notes])

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.recognition.checks import checks

        return checks(recipe)

    def thorough(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.recognition.checks import THOROUGH

        return THOROUGH

    def derived(self, protocol: Recognition, grid: Grid) -> Mapping[str, Floats]:
        """Relative accuracy, of which the protocol's balanced twin holds the references."""
        if protocol.scoring.balanced is None:
            return {}
        there = grid.elsewhere(protocol.scoring.balanced, "accuracy")
        own = np.stack([grid.among(there, recipe) for recipe in grid.recipes])
        plain = grid.among(there, self.reference)
        return {"relative_accuracy": relative_accuracy(grid.values["accuracy"], plain, own)}

    def unlike(self, protocol: Recognition, other: Protocol) -> str | None:
        """A twin has other rows of the same data, and all else alike."""
        parts = [part for part in TWIN if getattr(protocol, part) != getattr(other, part, None)]
        return f"it differs in [{'] and ['.join(parts)}]" if parts else None

    def measured(self, protocol: Recognition, record: Record, arrays: Arrays) -> Followed:
        return classification.measured(protocol, record, self.decided(record, arrays), arrays)

    def carried(
        self, old: Mapping[str, Any], protocol: Recognition | None
    ) -> dict[str, Any] | None:
        special = old.get("parts") or old.get("distilled") or old.get("compressed")
        untold = protocol is None and not old["metrics"]  # it failed, on whatever track
        return None if special or old.get("table") or untold else {"measures": old["metrics"]}
