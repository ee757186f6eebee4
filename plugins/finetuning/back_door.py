"""Back-door adjustment: the sum over networks that other data formed (Chen et al., ICML 2025)."""

from typing import Annotated

import torch
from msgspec import Meta

from ltbench import hookimpl
from ltbench.tracks.finetuning.contract import BACKBONES, FineTuner


class BackDoor(FineTuner):
    """Tunes several pre-trained networks, each by a loss of its own, and adds up their scores.

    Which classes were rare upstream is a confounder m, over whose values the paper sums
    P(Y | X, m) P(m); in its code, which this follows, that is the sum of the scores of networks of
    different upstream data. They share each batch and exchange nothing. How each is tuned is for
    another method to say, as in `back-door+lift+logit-adjustment`, which is the paper's. It takes
    the first so many `networks` that the protocol supplies, by default all.
    """

    name = "back-door"
    reference = "arXiv:2501.15955"
    needs = frozenset({BACKBONES})
    neutral = {"networks": 1}

    def __init__(self, networks: Annotated[int, Meta(ge=1)] | None = None):
        self.networks = networks

    def pretrained(self, networks, run):
        if self.networks is not None and self.networks > len(networks):
            run.note(f"back-door asks for {self.networks} networks, and there are {len(networks)}")
        return networks[: self.networks]

    def combine(self, output, run):
        return torch.stack(output.heads).sum(dim=0)


@hookimpl
def register_methods(register):
    register(BackDoor)
