"""Focal-R: errors count by how large they are (Yang et al., ICML 2021)."""

from typing import Literal

from ltbench import LogUniform, NonNegative, Positive, hookimpl
from ltbench.tracks.regression.contract import Regression, said


class FocalR(Regression):
    """Multiplies |e|, or e^2 for `power` 2, by (2 sigmoid(beta |e|) - 1)^gamma, or by
    tanh(beta |e|)^gamma.

    Slopes flow through the factor, as in the released code. Departure: `beta` is in deviations of
    the values, and its default is our choice; the paper's 0.2 is a year of ages.
    """

    name = "focal-r"
    reference = "arXiv:2102.09554"
    neutral = {"gamma": 0.0}
    space = {"beta": LogUniform(0.5, 20.0)}

    def __init__(
        self,
        beta: Positive = 4.0,
        gamma: NonNegative = 1.0,
        power: Literal[1, 2] = 1,
        activation: Literal["sigmoid", "tanh"] = "sigmoid",
    ):
        self.beta = beta
        self.gamma = gamma
        self.power = power
        self.activation = activation

    def criterion(self, scores, labels, run):
        error = (said(scores) - labels).abs()
        if self.gamma == 0:
            return error**self.power if self.power > 1 else error
        # 2 sigmoid(x) - 1 is tanh(x / 2)
        scale = self.beta if self.activation == "tanh" else self.beta / 2
        return error**self.power * (scale * error).tanh() ** self.gamma


@hookimpl
def register_methods(register):
    register(FocalR)
