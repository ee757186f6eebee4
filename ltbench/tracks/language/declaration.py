"""The declaration of texts: what is measured of them, and what runs their cells."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Arrays, Check, Followed, Outcome, Track
from ltbench.results.records import Record
from ltbench.scoring.measures import CLASSIFICATION
from ltbench.tracks import classification
from ltbench.tracks.language import track
from ltbench.tracks.language.problem import Language
from ltbench.tracks.language.reading import Corpus
from ltbench.tracks.trials import trial


class LanguageTrack(Track[Language]):
    """A network learns the classes of texts, of which some are rare."""

    name = "language"
    made_in = "ltbench.tracks.language.track"
    example = "phrases-lt"
    problem = Language
    needs = track.SUPPLIES | {"two_classes"}
    floor = ("erm",)
    tunes = True
    measures = CLASSIFICATION

    load = staticmethod(track.load)
    plan = staticmethod(track.plan)
    seconds = staticmethod(track.seconds)
    divide = staticmethod(track.divide)
    answer = staticmethod(track.answer)
    step = staticmethod(classification.step)

    def modules(self, protocol: Language) -> tuple[str, ...]:
        own = super().modules(protocol)
        return (*own, "ltbench.tracks.trials") if protocol.trial_share else own

    def run(
        self, protocol: Language, recipe: Recipe, seed: int, source: Corpus, device: torch.device
    ) -> Outcome:
        if not protocol.trial_share:
            return track.run(protocol, recipe, seed, source, device)
        ordinary, apart = trial(protocol, source, seed)
        outcome = track.run(ordinary, recipe, seed, source.of(apart), device)
        return replace(outcome, arrays=None, notes=[*apart.notes, *outcome.notes])

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.language.checks import checks

        return checks(recipe)

    def measured(self, protocol: Language, record: Record, arrays: Arrays) -> Followed:
        return classification.measured(protocol, record, self.decided(record, arrays), arrays)
