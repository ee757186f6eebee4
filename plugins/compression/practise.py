"""PRACTISE: whole blocks are dropped, those first that are easy to recover (Wang and Wu, 2022)."""

import copy
from typing import Annotated

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import nn

from ltbench import Positive, hookimpl
from ltbench.errors import Unmet
from ltbench.tracks.compression.pruning import macs, portions, watched
from ltbench_plugins.compression.mir import MiR

Count = Annotated[int, Meta(ge=1)]


class Adaptor(nn.Module):
    """A 1x1 convolution that starts as the identity, where a block was."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(channels)[:, :, None, None])

    def forward(self, x):
        return F.conv2d(x, self.weight)


class Practise(MiR):
    """Drops the blocks whose loss an adaptor mends best for what they cost; recovers as `mir` does.

    Of the blocks that give what they take in its shape the share that the protocol keeps stays. For
    each a 1x1 adaptor in its place is trained alone, for `steps` of Adam at `lr`, to bring back the
    teacher's features. The error that it leaves, over what is saved, is the block's score; the
    lowest are dropped, adaptors and all. Departures: one adaptor in the block's place for those
    around it, and operations saved for seconds, so that a seed gives one network.
    """

    name = "practise"
    reference = "arXiv:2202.07861"

    def __init__(self, steps: Count = 50, lr: Positive = 0.01):
        self.steps = steps
        self.lr = lr

    def build(self, model, run):
        blocks = droppable(model, run)
        if not blocks:
            raise Unmet(
                f"{self.name} drops blocks that keep the shape of what they take in, and this "
                "network has none; a resnet has"
            )
        scores = {name: self.score(model, name, channels, run) for name, channels in blocks.items()}
        gone = len(blocks) - max(0, round(len(blocks) * run.granted.compressing.keep))
        for name in sorted(scores, key=scores.get)[:gone]:
            replace_block(model, name, nn.Identity())
        return model

    def score(self, model, name, channels, run):
        """The error that an adaptor leaves, in units of the features, over the saved operations."""
        rows = list(portions(run))
        without = copy.deepcopy(model).eval().requires_grad_(False)
        adaptor = Adaptor(channels).to(rows[0][0])
        replace_block(without, name, adaptor)
        adam = torch.optim.Adam(adaptor.parameters(), self.lr)
        taught = [run.granted.taught(inputs).features for inputs, _ in rows]
        for k in range(self.steps):
            (inputs, weights), features = rows[k % len(rows)], taught[k % len(rows)]
            adam.zero_grad()
            gap(without, inputs, features, weights).backward()
            adam.step()
            run.passes += len(inputs)
        with torch.no_grad():
            gaps = [
                gap(without, inputs, features, weights) * weights.sum()
                for (inputs, weights), features in zip(rows, taught, strict=True)
            ]
            replace_block(without, name, nn.Identity())
            saved = macs(model, rows[0][0]) - macs(without, rows[0][0])
        return (sum(gaps) / sum(weights.sum() for _, weights in rows) / saved).item()


def gap(model, inputs, features, weights):
    """The weighted mean squared error of features, over the mean square of the teacher's."""
    error = (model.features(inputs) - features).square().mean(dim=1)
    return (error * weights).sum() / weights.sum() / features.square().mean()


@torch.no_grad()
def droppable(model, run):
    """The channels of each block, by name, that gives what it takes in its shape."""
    found = [
        f"{name}.{child}"
        for name, module in model.named_modules()
        if isinstance(module, nn.Sequential)
        for child, block in module.named_children()
        if len(list(block.children())) > 1
    ]
    with watched(model, found) as seen:
        model(next(portions(run))[0][:2])
    return {
        name: inputs.shape[1]
        for name, (inputs, output) in seen.items()
        if inputs.dim() == 4 and inputs.shape == output.shape
    }


def replace_block(model, name, block):
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, block)


@hookimpl
def register_methods(register):
    register(Practise)
