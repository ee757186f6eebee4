"""The declaration of sequences: what they measure, and what runs their cells."""

from collections.abc import Mapping

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Arrays, Check, Followed, Track
from ltbench.results.records import Record
from ltbench.scoring.measures import CLASSIFICATION
from ltbench.tracks import classification
from ltbench.tracks.diagnostics import DIAGNOSTICS
from ltbench.tracks.one_label import divide
from ltbench.tracks.sequences.problem import Sequences
from ltbench.tracks.sequences.track import SUPPLIES, answer, load, plan, seconds


class SequencesTrack(Track[Sequences]):
    """A network is trained on sequences of several channels, of which some classes are rare."""

    name = "sequences"
    made_in = "ltbench.tracks.sequences.track"
    example = "digits-sequences-lt"
    problem = Sequences
    needs = SUPPLIES | {"two_classes"}
    floor = ("erm",)
    measures = (*CLASSIFICATION, *DIAGNOSTICS)

    load = staticmethod(load)
    plan = staticmethod(plan)
    seconds = staticmethod(seconds)
    divide = staticmethod(divide)
    answer = staticmethod(answer)
    step = staticmethod(classification.step)

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.sequences.checks import checks

        return checks(recipe)

    def thorough(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.sequences.checks import THOROUGH

        return THOROUGH

    def measured(self, protocol: Sequences, record: Record, arrays: Arrays) -> Followed:
        return classification.measured(protocol, record, self.decided(record, arrays), arrays)
