"""The declaration of texts: what is measured of them, and what runs their cells."""

from collections.abc import Mapping

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Arrays, Check, Followed, Track
from ltbench.results.records import Record
from ltbench.scoring.measures import CLASSIFICATION
from ltbench.tracks import classification
from ltbench.tracks.language import track
from ltbench.tracks.language.problem import Language


class LanguageTrack(Track[Language]):
    """A network learns the classes of texts, of which some are rare."""

    name = "language"
    made_in = "ltbench.tracks.language.track"
    example = "phrases-lt"
    problem = Language
    needs = track.SUPPLIES | {"two_classes"}
    floor = ("erm",)
    measures = CLASSIFICATION

    load = staticmethod(track.load)
    plan = staticmethod(track.plan)
    seconds = staticmethod(track.seconds)
    divide = staticmethod(track.divide)
    answer = staticmethod(track.answer)
    step = staticmethod(classification.step)

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.language.checks import checks

        return checks(recipe)

    def measured(self, protocol: Language, record: Record, arrays: Arrays) -> Followed:
        return classification.measured(protocol, record, self.decided(record, arrays), arrays)
