"""Other errors than the absolute one: squared, and between both (Huber, 1964)."""

from ltbench import Positive, hookimpl
from ltbench.tracks.regression.contract import Regression, said


class MSE(Regression):
    """The squared error of each row, whose best answer is the mean."""

    name = "mse"
    reference = "Gauss, 1809"

    def criterion(self, scores, labels, run):
        return (said(scores) - labels) ** 2


class Huber(Regression):
    """Half the squared error divided by `beta` where the error is below it, else the absolute one
    less half of `beta`, which is in deviations of the values."""

    name = "huber"
    reference = "doi:10.1214/aoms/1177703732"

    def __init__(self, beta: Positive = 1.0):
        self.beta = beta

    def criterion(self, scores, labels, run):
        error = (said(scores) - labels).abs()
        small = 0.5 * error**2 / self.beta
        return small.where(error < self.beta, error - 0.5 * self.beta)


@hookimpl
def register_methods(register):
    register(MSE)
    register(Huber)
