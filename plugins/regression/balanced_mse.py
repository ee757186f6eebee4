"""Balanced MSE: the squared error as if all values were as frequent (Ren et al., CVPR 2022)."""

import math
from typing import Annotated, Literal

import torch
from msgspec import Meta
from sklearn.mixture import GaussianMixture
from torch.nn.functional import cross_entropy

from ltbench import LogUniform, Positive, hookimpl
from ltbench.tracks.regression.contract import Regression, said


class BalancedMSE(Regression):
    """The likelihood of a value against those of others, as frequent as they are in training.

    - `bmc`: 2 s^2 times the cross-entropy of -(yhat_i - y_j)^2 / 2 s^2 over the batch, j = i right;
    - `gai`: the error of each row, and the log of the likelihood that a Gaussian mixture of the
      training values gives to what is said;
    - `bni`: the same of bins in the place of components.

    The factor 2 s^2 takes no slope. Departures: `sigma` is fixed, and in deviations of the values,
    its default being our choice; the paper learns it, and re-trains the head alone with this loss.
    """

    name = "balanced-mse"
    reference = "arXiv:2203.16427"
    corrects = "prior"
    space = {"sigma": LogUniform(0.02, 2.0)}

    def __init__(
        self,
        form: Literal["bmc", "gai", "bni"] = "gai",
        sigma: Positive = 0.15,
        components: Annotated[int, Meta(ge=1)] = 8,
    ):
        self.form = form
        self.sigma = sigma
        self.components = components

    def enter(self, train, run):
        if self.form == "gai":
            self.others = mixture(train.labels, self.components, run.seed)
        return train

    def prepare(self, run):
        if self.form == "bni":
            counts = run.exact_counts
            here = counts > 0
            means = run.granted.centres.to(counts)[here]
            self.others = means, torch.zeros_like(means), (counts / counts.sum())[here]

    def criterion(self, scores, labels, run):
        if self.form == "bmc":
            return bmc(said(scores), labels, self.sigma)
        others = [one.to(scores) for one in self.others]
        return marginal(said(scores), labels, self.sigma, *others)


def bmc(said, values, sigma):
    """The loss of each row [N] against the values of the batch; both are [N], or [N, D]."""
    gaps = (said[:, None] - values[None]) ** 2
    gaps = gaps.sum(dim=2) if gaps.dim() == 3 else gaps
    right = torch.arange(len(said), device=said.device)
    scores = -gaps / (2 * sigma**2)
    return 2 * sigma**2 * cross_entropy(scores, right, reduction="none")


def marginal(said, values, sigma, means, variances, shares):
    """The loss of each row [N] against a mixture of K Gaussians with a share each."""
    spread = variances + sigma**2
    found = -0.5 * spread.log() - 0.5 * (said[:, None] - means) ** 2 / spread + shares.log()
    error = 0.5 * (said - values) ** 2 / sigma**2
    return 2 * sigma**2 * (error + math.log(sigma) + torch.logsumexp(found, dim=1))


def mixture(values, components, seed):
    """Means, variances and shares of a Gaussian mixture fitted to values [N]."""
    x = values.detach().cpu().double().numpy().reshape(-1, 1)
    number = min(components, len(values.unique()))
    fitted = GaussianMixture(number, random_state=seed).fit(x)
    found = fitted.means_, fitted.covariances_, fitted.weights_
    return tuple(torch.from_numpy(one).flatten() for one in found)


@hookimpl
def register_methods(register):
    register(BalancedMSE)
