"""Neural-collapse regularisers: compact classes, centres far apart (Liu et al., AISTATS 2023)."""

import torch
import torch.nn.functional as F
from torch import nn

from ltbench import LogUniform, Method, NonNegative, Positive, hookimpl


class NCRegularizer(Method):
    """Adds `nc1` times a pull to learnable class centres, `nc2` times minus the angles of these.

    NC1 is the mean over all classes of the mean squared distance between a class's rows in the
    batch and its centre; NC2 the mean over classes of the smallest angle to another centre, seen
    from their common mean. As in the code, centres start at normal numbers and learn by SGD of
    their own, at `rate` of a gradient that is divided by `nc1`: here a group at rate / nc1 without
    momentum or weight decay, on the protocol's schedule, where the code's rate is constant.
    Defaults and this form of NC2 are those of the code for ImageNet-LT; for CIFAR it takes the one
    smallest angle of all.
    """

    name = "nc-regularizer"
    reference = "arXiv:2302.12453"
    neutral = {"nc1": 0.0, "nc2": 0.0}
    space = {"nc1": LogUniform(0.001, 0.1), "nc2": LogUniform(0.01, 1.0)}

    def __init__(self, nc1: NonNegative = 0.01, nc2: NonNegative = 0.1, rate: Positive = 0.5):
        self.nc1 = nc1
        self.nc2 = nc2
        self.rate = rate

    def build(self, model, run):
        like = next(model.parameters())
        centres = torch.randn(run.num_classes, model.head.in_features, dtype=like.dtype)
        model.centres = nn.Parameter(centres)
        return model

    def optimizer(self, model, run):
        optimizer = super().optimizer(model, run)
        for group in optimizer.param_groups:
            group["params"] = [p for p in group["params"] if p is not model.centres]
        rate = self.rate / (self.nc1 or 1)
        alone = {"lr": rate, "momentum": 0, "nesterov": False, "weight_decay": 0}
        optimizer.add_param_group({"params": [model.centres], **alone})
        return optimizer

    def extra(self, output, batch, run):
        if run.model is None:  # a probe of scores alone
            return None
        centres = run.model.centres
        features = output.features[: len(batch.rows)]
        pull = sum(nc1(features, labels, centres, share) for labels, share in batch.targets)
        return self.nc1 * pull + self.nc2 * nc2(centres)


def nc1(features, labels, centres, share=1.0):
    """The mean over classes of the mean squared distance to the centre; 0 for one without rows.

    `share`, of all rows or of each [N], multiplies the distances.
    """
    distances = share * (features - centres[labels]).square().sum(dim=1)
    member = (labels[:, None] == torch.arange(len(centres), device=labels.device)).to(distances)
    return (distances @ member / member.sum(dim=0).clamp(min=1)).mean()


def nc2(centres):
    """Minus the mean over classes of the smallest angle to another centre, from the mean of all."""
    directions = F.normalize(centres - centres.mean(dim=0))
    cosines = (directions @ directions.T).fill_diagonal_(-1)
    nearest = cosines.max(dim=1).values
    return -nearest.clamp(-0.99999, 0.99999).acos().mean()  # the slope is infinite at 1


@hookimpl
def register_methods(register):
    register(NCRegularizer)
