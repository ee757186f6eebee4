"""SRAT's separation: features of a class together, of two apart (Wang et al., 2021)."""

import torch
from torch.nn.functional import normalize

from ltbench import LogUniform, Method, NonNegative, Positive, hookimpl


class Separable(Method):
    """Adds `weight` times a supervised contrast of the features of the batch's labelled rows.

    With `pgd-at` before it these are rows under attack, and with deferred class-balanced weights
    the recipe is SRAT. The contrast is that of Khosla et al. (arXiv:2004.11362); a row without a
    partner counts 0. Weight and temperature are our choice: the paper has no code.
    """

    name = "separable"
    reference = "arXiv:2107.13639"
    neutral = {"weight": 0.0}
    space = {"weight": LogUniform(0.1, 4.0), "temperature": LogUniform(0.05, 1.0)}

    def __init__(self, weight: NonNegative = 1.0, temperature: Positive = 0.1):
        self.weight, self.temperature = weight, temperature

    def extra(self, output, batch, run):
        if self.weight == 0:
            return None
        labels = batch.targets[0][0]
        return self.weight * contrast(output.features[: len(labels)], labels, self.temperature)


def contrast(features, labels, temperature):
    """The supervised contrast of features [N, D], the mean over rows."""
    unit = normalize(features)
    alike = unit @ unit.T / temperature
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    log_p = alike - alike.masked_fill(itself, -torch.inf).logsumexp(dim=1, keepdim=True)
    partner = (labels[:, None] == labels) & ~itself
    of_row = log_p.where(partner, 0).sum(dim=1) / partner.sum(dim=1).clamp(min=1)
    return -of_row.mean()


@hookimpl
def register_methods(register):
    register(Separable)
