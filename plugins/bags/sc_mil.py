"""SC-MIL: contrast of bags first, their classes last (Juyal et al., WACV 2024), reconstructed."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from ltbench import LogUniform, Positive, hookimpl
from ltbench.toolbox import contrast
from ltbench.tracks.bags.contract import BagMethod

WIDTH = 128  # of what is contrasted, as in Hybrid-SC


class SCMIL(BagMethod):
    """Adds g SupCon(p(z), y) to (1 - g) times the cross-entropy, g = 1 - t^2, t the progress.

    z is the vector of a bag, p a perceptron of one hidden layer, and SupCon the supervised contrast
    of all bags of the batch that have a label, of which one without another of its class counts 0.
    Of the paper only the abstract was to be had: it trains on both losses jointly and moves from
    contrast to classes. The formulas are those of Hybrid-SC (arXiv:2103.14267), which is
    for images; that they are SC-MIL's is inferred. No temperature is known: 0.5 is our choice. A
    bag has no second view, so there is one of each, and no queue. Pooling is that of the recipe, as
    in `gated-abmil+sc-mil`.
    """

    name = "sc-mil"
    reference = "arXiv:2303.13405"
    space = {"temperature": LogUniform(0.05, 2.0)}

    def __init__(self, temperature: Positive = 0.5):
        self.temperature = temperature

    def build(self, model, run):
        width = model.head.in_features
        model.projector = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, WIDTH))
        return model

    def criterion(self, scores, labels, run):
        return run.progress**2 * cross_entropy(scores, labels, reduction="none")

    def extra(self, output, batch, run):
        if run.model is None:
            return None  # outside of training there is no projector
        ((labels, _),) = batch.targets
        z = normalize(run.model.projector(output.features[: len(labels)]))
        return (1 - run.progress**2) * supervised_contrast(z, labels, self.temperature)


def supervised_contrast(z, labels, temperature):
    """How far each bag's mates fall behind all others, of unit vectors z [N, D]."""
    others = ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    mates = (labels[:, None] == labels) & others
    return contrast(z @ z.T / temperature, mates, others)


@hookimpl
def register_methods(register):
    register(SCMIL)
