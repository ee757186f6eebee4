"""The declaration of regression: what it measures, and what runs its cells."""

from collections.abc import Mapping

import torch

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Arrays, Check, Followed, Track
from ltbench.datasets import Dataset
from ltbench.results.records import Record
from ltbench.scoring.measures import FIRST, SECOND, Measure
from ltbench.tracks.regression import track
from ltbench.tracks.regression.contract import Regression
from ltbench.tracks.regression.cutting import load
from ltbench.tracks.regression.problem import Numbers


def error(name: str, label: str = "", explanation: str = "", table: str = SECOND) -> Measure:
    """A mean of errors, in the unit of a protocol, that is shown where a protocol asks for it."""
    return Measure(
        name,
        label,
        explanation,
        better="lower",
        unit="",
        form="{:.3f}",
        table=table,
        chosen=True,
        limits=(0.0, float("inf")),
        empty=f"*{label or name}*: no test row is of such a bin" if table == FIRST else "",
    )


class RegressionTrack(Track[Numbers]):
    """A network learns a number for each row, where some numbers are rare."""

    name = "regression"
    made_in = "ltbench.tracks.regression.track"
    example = "digits-rotation-lt"
    problem = Numbers
    hooks = Regression
    needs = track.SUPPLIES
    floor = ("erm", "sqrt-inverse-frequency")
    measures = (
        error(
            "balanced_mae",
            "bMAE",
            "*bMAE*: mean over bins of the mean absolute error of their test rows, in "
            "{0.values.unit}",
            FIRST,
        ),
        error("mae", "MAE", "*MAE*: mean absolute error of test rows", FIRST),
        error(
            "many",
            "many",
            "*many*, *medium*, *few*: MAE of test rows whose bin has that many training rows",
            FIRST,
        ),
        error("medium", "medium", "", FIRST),
        error("few", "few", "", FIRST),
        error("worst_bin", "worst", "*worst*: MAE of the worst bin", FIRST),
        error(
            "geometric_mean", "GM", "*GM*: geometric mean of absolute errors, in all and by bins"
        ),
        error("many_geometric", "GM many"),
        error("medium_geometric", "GM medium"),
        error("few_geometric", "GM few"),
        error("mse", "MSE", "*MSE*: mean squared error"),
    )

    load = staticmethod(load)
    seconds = staticmethod(track.seconds)
    divide = staticmethod(track.divide)
    answer = staticmethod(track.answer)

    def plan(self, protocol: Numbers, sources: Mapping[str, Dataset], device: torch.device) -> None:
        given = track.divide(protocol, 0, sources[""], frozenset()).given
        track.begin(protocol, given.parts, given.beside, 0, torch.device("cpu"))

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.regression.checks import checks

        return checks(recipe)

    def measured(self, protocol: Numbers, record: Record, arrays: Arrays) -> Followed:
        return track.measured(protocol, record, arrays) if "said" in arrays else {}
