"""What methods borrow: further views, contrast, experts on one trunk, networks that follow.

All of it is as public as the contract, for plugins of whoever writes them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench.contract.context import Batch, Run
from ltbench.errors import LTBenchError
from ltbench.models.heads import CosineHead

__all__ = [
    "Experts",
    "Heads",
    "another_view",
    "augments",
    "contrast",
    "follow",
    "info_nce",
    "view_of",
    "with_experts",
]

# Further views.


def another_view(batch: Batch, run: Run) -> Tensor:
    """One more view [N, ...] of each row of the batch that has a label."""
    assert run.train is not None
    if not augments(run):
        run.note("the protocol augments nothing, so all views of a row are the same")
    return run.augment(run.train.inputs[batch.rows])


def view_of(inputs: Tensor, run: Run, noise: float) -> Tensor:
    """An augmented view of stored inputs [N, ...].

    Where the protocol augments nothing, Gaussian noise of `noise` standard deviations of the inputs
    is added.
    """
    x = run.augment(inputs)
    if augments(run):
        return x
    drawn = torch.randn(x.shape, generator=run.rng, dtype=x.dtype, device=x.device)
    return x + noise * x.std(correction=0) * drawn


def augments(run: Run) -> bool:
    """Whether two views of a row differ."""
    return bool(run.views.padding or run.views.flip or run.views.resize)


# Contrast.


def info_nce(z: Tensor, partners: Tensor, temperature: float) -> Tensor:
    """How hard it is to find each view's partner: the mean over the views z [2N, D], unit vectors.

    `partners` [N] are the positions in the second half of the partners of the first (InfoNCE: van
    den Oord et al., 2018).
    """
    similarity = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    return F.cross_entropy(similarity, torch.cat([partners, partners - len(partners)]))


def contrast(
    similarity: Tensor, mates: Tensor, rivals: Tensor, discount: Tensor | float = 0.0
) -> Tensor:
    """How far each anchor's mates fall behind its rivals: the mean over mates, then over anchors.

    `mates` and `rivals` [N, M] say which of the similarities [N, M] count as such; rivals stand in
    the denominator, each divided by exp(discount). An anchor without mates counts 0. With all
    others as rivals and no discount it is supervised contrast (Khosla et al., NeurIPS 2020).
    """
    nothing = torch.finfo(similarity.dtype).min  # minus infinity has no slope where none are rivals
    denominator = (similarity - discount).masked_fill(~rivals, nothing).logsumexp(1, True)
    shortfall = (denominator - similarity).masked_fill(~mates, 0).sum(1)
    return (shortfall / mates.sum(1).clamp(min=1)).mean()


# Experts.


class Experts(nn.Module):
    """Branches side by side on one trunk; their features stand one after the other."""

    def __init__(self, branches: tuple[nn.Module, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Heads(nn.Module):
    """A cosine head for each expert, on its own part of the features [N, D]."""

    def __init__(self, widths: list[int], num_classes: int, scale: float) -> None:
        super().__init__()
        self.in_features, self.widths = sum(widths), widths
        self.experts = nn.ModuleList(CosineHead(width, num_classes, scale) for width in widths)

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        parts = features.split(self.widths, dim=1)
        return tuple(head(part) for head, part in zip(self.experts, parts, strict=True))


def with_experts(
    model: nn.Module, experts: int, scale: float, run: Run, share: float = 0.75
) -> nn.Module:
    """The network with that many new branches, each with a `share` of the channels.

    Each has a cosine head that gives `scale` * cosine; the share is that of RIDE's code (Wang et
    al., ICLR 2021).

    Raises:
        LTBenchError: the network has no branches, or other methods have built on it.
    """
    if not hasattr(model, "new_branch"):
        raise LTBenchError(f"{type(model).__name__} has no branches, so it cannot have experts")
    parts = {name.partition(".")[0] for name in model.state_dict()}
    if parts - {"trunk", "branch", "head"} or not isinstance(model.head, nn.Linear):
        raise LTBenchError("experts change what other methods build on; name them first")
    before = sum(p.numel() for p in model.parameters())
    grown = [model.new_branch(share) for _ in range(experts)]  # type: ignore[operator]
    branches, widths = zip(*grown, strict=True)
    model.branch = Experts(branches)
    model.head = Heads(list(widths), run.num_classes, scale)
    times = sum(p.numel() for p in model.parameters()) / before
    run.note(f"{experts} experts have {times:.2f} times the parameters of the plain network")
    return model


# Networks that follow.


@torch.no_grad()
def follow(follower: nn.Module, leader: nn.Module, momentum: float) -> None:
    """Moves a network that `run.keep` keeps towards the one that is trained, as a mean teacher.

    Each parameter keeps the share `momentum` of what it was; statistics and counts are copied.
    """
    leading = dict(leader.named_parameters())
    for name, parameter in follower.named_parameters():
        parameter.lerp_(leading[name], 1 - momentum)
    buffers = dict(leader.named_buffers())
    for name, buffer in follower.named_buffers():
        buffer.copy_(buffers[name])
