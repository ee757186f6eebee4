"""Self-supervised pre-training in front of any training (SSP: Yang & Xu, NeurIPS 2020)."""

import math
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from ltbench import LTBenchError, Method, Positive, hookimpl
from ltbench.toolbox import another_view, info_nce

WIDTH = 128  # of what is contrasted, as in MoCo


class SSP(Method):
    """Trains the network without labels first, then as ever with a new head.

    By "rotation" it learns to tell by how many quarters each image was turned; by "contrastive" it
    learns to find the other view of a row, with negatives from the batch alone (our choice; the
    paper's MoCo has a queue of 65,536) and MoCo's temperature. `share` is the length of that phase
    in main ones: 1 doubles the epochs. The learning rate is the protocol's; in the paper MoCo has
    its own.
    """

    name = "ssp"
    reference = "arXiv:2006.07529"
    roles = ("pretext",)

    def __init__(
        self,
        pretext: Literal["rotation", "contrastive"] = "rotation",
        share: Positive = 1.0,
        temperature: Positive = 0.2,
    ):
        self.pretext = pretext
        self.share = share
        self.temperature = temperature

    def build(self, model, run):
        width = model.head.in_features
        if self.pretext == "rotation":
            model.pretext = nn.Linear(width, 4)
        else:
            model.pretext = nn.Sequential(
                nn.Linear(width, width), nn.ReLU(), nn.Linear(width, WIDTH)
            )
        return model

    def phases(self, plan, run):
        first, *later = plan
        epochs = max(1, round(self.share * first.epochs))
        return [replace(first, role="pretext", epochs=epochs), replace(first, reset="head"), *later]

    def batch(self, batch, run):
        """What is to be guessed takes the place of the labels."""
        x, rows = batch.inputs, torch.arange(len(batch.rows), device=batch.inputs.device)
        if self.pretext == "contrastive":
            x = torch.cat([x, another_view(batch, run)])
            return replace(batch, inputs=x, targets=[(rows + len(rows), 1.0)])
        if x.dim() != 4 or x.shape[2] != x.shape[3]:
            raise LTBenchError(
                f"ssp turns square images [N, C, H, H], but these rows are {list(x.shape[1:])} "
                "each; ssp(pretext='contrastive') takes any"
            )
        each_as_often = 4 * math.ceil(len(x) / 4)
        turns = torch.randperm(each_as_often, generator=run.rng, device=x.device)[: len(x)] % 4
        turned = torch.stack([x.rot90(k, (2, 3)) for k in range(4)])[turns, rows]
        return replace(batch, inputs=turned, targets=[(turns, 1.0)])

    def criterion(self, scores, labels, run):
        return scores.new_zeros(len(scores))  # the classifier rests

    def extra(self, output, batch, run):
        guesses, ((targets, _),) = run.model.pretext(output.features), batch.targets
        if self.pretext == "rotation":
            return F.cross_entropy(guesses, targets)
        return info_nce(F.normalize(guesses), targets, self.temperature)


@hookimpl
def register_methods(register):
    register(SSP)
