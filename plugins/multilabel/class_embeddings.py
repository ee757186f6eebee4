"""Class-specific embeddings: features near those of labels, after LMPT (Xia et al., 2024)."""

import torch
from torch import nn
from torch.nn.functional import normalize, relu

from ltbench import NonNegative, Share, head_weights, hookimpl
from ltbench.tracks.multilabel.contract import LabelMethod


class ClassEmbeddings(LabelMethod):
    """Adds a hinge of distances d = 1 - cos between a row's features and an embedding a label,
    which is learned: d for a present label, max(0, m_c - d) for an absent one.

    The margin m_c = margin (n_min / n_c)^(1/4) shrinks as labels are frequent; a label weighs
    (1 / n_c)^power, in the mean 1. An *adaptation*: LMPT learns prompts of CLIP against captions,
    which are not here; its published loss cannot be run with counts, and its hinge has the other
    sign. Which power, margin and weight are ours.
    """

    name = "class-embeddings"
    reference = "arXiv:2305.04536"
    corrects = "prior"
    neutral = {"weight": 0.0}

    def __init__(self, weight: NonNegative = 1.0, margin: NonNegative = 1.0, power: Share = 0.5):
        self.weight, self.margin, self.power = weight, margin, power

    def build(self, model, run):
        width = head_weights(model).shape[1]
        model.label_embeddings = nn.Parameter(torch.randn(run.num_classes, width))
        return model

    def extra(self, output, batch, run):
        features = output.features[: len(batch.rows)]
        distance = 1 - normalize(features) @ normalize(run.model.label_embeddings).T
        terms = [
            share * self.hinge(distance, labels, run.counts).mean()
            for labels, share in batch.targets
        ]
        return self.weight * sum(terms)

    def hinge(self, distance, labels, counts):
        """The loss [N, C] of distances [N, C]."""
        weight = counts**-self.power
        margin = self.margin * (counts.min() / counts) ** 0.25
        both = labels * distance + (1 - labels) * relu(margin - distance)
        return weight / weight.mean() * both


@hookimpl
def register_methods(register):
    register(ClassEmbeddings)
