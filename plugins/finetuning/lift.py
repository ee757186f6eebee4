"""LIFT: small adapters and a cosine head from class means (Shi et al., ICML 2024)."""

from typing import Annotated

import torch
from msgspec import Meta
from torch import nn
from torch.nn.functional import normalize, one_hot

from ltbench import CosineHead, LTBenchError, Positive, hookimpl
from ltbench.tracks.finetuning.contract import BACKBONES, FineTuner, Frozen


class LIFT(FineTuner):
    """Freezes the network; adapters between its parts learn, and a cosine head from class means.

    An adapter gives x + s up(relu(down(LN x))), whose `up` starts at 0 and s at 1. Its `width` is
    by default the largest power of 2 within classes / (2 adapters), at least 1. This is what the
    paper builds; its loss is that of `lift+logit-adjustment`. Departures: the paper's adapters
    stand beside each block of a transformer, these behind trunk and branch of any network; its head
    begins at features of texts, and here at class means, which its code has too; its mean over five
    crops of a test image is left out, as is its own budget.
    """

    name = "lift"
    reference = "arXiv:2309.10019"
    needs = frozenset({BACKBONES})

    def __init__(self, width: Annotated[int, Meta(ge=1)] | None = None, scale: Positive = 25.0):
        self.width, self.scale = width, scale

    def tune(self, network, run):
        frozen = Frozen(network)
        means = class_means(frozen, run)
        head = CosineHead(means.shape[1], run.num_classes, self.scale).to(means)
        head.weight.data.copy_(normalize(means))
        adapt(frozen, self.width, run)
        frozen.head = head
        return frozen


@torch.no_grad()
def class_means(network, run):
    """The mean features [C, D] of the plain rows of each class; 0 of one without rows."""
    network.eval()
    rows = run.train
    features = torch.cat(
        [run.through(network, run.plain(part.to(run.device))) for part in rows.inputs.split(256)]
    )
    of_class = one_hot(rows.labels, run.num_classes).to(features)
    return of_class.T @ features / of_class.sum(dim=0).clamp(min=1)[:, None]


def adapt(frozen, width, run):
    """Puts an adapter behind trunk and branch of a frozen network, where these hold weights."""
    parts = [part for part in ("trunk", "branch") if weighs(getattr(frozen.body, part, None))]
    if not parts:
        raise LTBenchError(f"lift: {type(frozen.body).__name__} has no trunk for an adapter")
    width = width or bottleneck(run.num_classes, len(parts))
    widths = channels(frozen, parts, run)
    for part in parts:
        adapter = Adapter(widths[part], width).to(run.device)
        setattr(frozen.body, part, nn.Sequential(getattr(frozen.body, part), adapter))


def weighs(part):
    return part is not None and any(True for _ in part.buffers())


def bottleneck(classes, adapters):
    """The largest power of 2 within classes / (2 adapters), at least 1."""
    return 1 << max(classes // (2 * adapters), 1).bit_length() - 1


@torch.no_grad()
def channels(frozen, parts, run):
    """How many channels come out of each part of a network."""
    found = {}
    hooks = [
        getattr(frozen.body, part).register_forward_hook(
            lambda module, given, out, part=part: found.update({part: out.shape[1]})
        )
        for part in parts
    ]
    run.through(frozen, run.plain(run.train.inputs[:2].to(run.device)))
    for hook in hooks:
        hook.remove()
    return found


class Adapter(nn.Module):
    """x + s up(relu(down(LN x))) of each position of x [N, D, ...]; at its start x itself."""

    def __init__(self, features, width):
        super().__init__()
        self.ln = nn.LayerNorm(features)
        self.down_proj = nn.Linear(features, width)
        self.up_proj = nn.Linear(width, features)
        self.scale = nn.Parameter(torch.ones(1))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.kaiming_uniform_(self.down_proj.weight, a=5**0.5)
        for zero in (self.down_proj.bias, self.up_proj.weight, self.up_proj.bias):
            nn.init.zeros_(zero)

    def forward(self, x):
        return x + self.beside(x.movedim(1, -1)).movedim(-1, 1)

    def beside(self, x):
        """What is added at each position of x [..., D]."""
        return self.scale * self.up_proj(self.down_proj(self.ln(x)).relu())


@hookimpl
def register_methods(register):
    register(LIFT)
