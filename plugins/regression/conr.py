"""ConR: rows of unlike values, said to be alike, are pushed apart (Keramati et al., 2024)."""

import torch
from torch.nn.functional import normalize

from ltbench import LogUniform, NonNegative, Positive, hookimpl
from ltbench.tracks.regression.contract import Regression, said

NEVER = -1e9  # the log of what a row has no part in; infinity would leave no slope to others


class ConR(Regression):
    """Adds a contrastive loss of features with positives by value and negatives by what is said.

    Positives of a row are others within `width` of its value, negatives those further away of
    which the network says a value within `width` of the row's. A negative is pushed the more, the
    further its value is and the more the row weighs, by the weights of the recipe, such as those of
    `lds`. A row without negatives or without positives adds nothing.

    Departures: `width` is in deviations of the values; the rows of a batch are taken as they are,
    where the paper has two more views of each; and the denominator has positives and negatives
    alone, where the released code adds 1 for every other row and is NaN where a row has no
    positive (`contrast(..., published=True)`).
    """

    name = "conr"
    reference = "arXiv:2309.06651"
    neutral = {"weight": 0.0}
    space = {"weight": LogUniform(0.01, 10.0)}

    def __init__(
        self,
        weight: NonNegative = 0.3,
        width: Positive = 0.1,
        temperature: Positive = 0.2,
        push: NonNegative = 0.01,
    ):
        self.weight = weight
        self.width = width
        self.temperature = temperature
        self.push = push

    def extra(self, output, batch, run):
        if self.weight == 0:
            return None
        values, n = batch.targets[0][0], len(batch.rows)
        weights = run.recipe.weight(values, run)
        weights = torch.ones_like(values) if weights is None else weights
        told = said(output.heads[0][:n]).detach()
        loss = contrast(
            output.features[:n], values, told, weights, self.width, self.temperature, self.push
        )
        return self.weight * loss


def contrast(features, values, told, weights, width, temperature, push, published=False):
    """The mean over rows [N] of the contrast of features [N, D], a scalar."""
    unit = normalize(features, dim=1)
    alike = unit @ unit.T / temperature
    far = (values[:, None] - values).abs()
    near = far <= width
    others = ~torch.eye(len(values), dtype=torch.bool, device=values.device)
    positive = near & others
    negative = ~near & ((told[:, None] - told).abs() <= width)
    pushed = alike + push * far + weights[:, None].log()
    never = alike.new_tensor(NEVER)
    if published:  # masked by a factor, of which the exponential is 1
        attracting = (alike * positive).logsumexp(dim=1)
    else:
        attracting = alike.where(positive, never).logsumexp(dim=1)
    acting = negative.any(dim=1) & (positive.any(dim=1) | published)
    denominator = torch.logaddexp(attracting, pushed.where(negative, never).logsumexp(dim=1))
    denominator = torch.where(acting, denominator, 0.0)[:, None]
    number = positive.sum(dim=1)
    number = number if published else number.clamp(min=1)
    losses = ((denominator - alike) * positive).sum(dim=1) / number
    return (torch.where(acting, losses, 0.0) * weights).mean()


@hookimpl
def register_methods(register):
    register(ConR)
