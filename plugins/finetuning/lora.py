"""LoRA: a bypass of low rank beside frozen layers (Hu et al., ICLR 2022), as the code of LIFT."""

import math
from typing import Annotated

from msgspec import Meta
from torch import nn

from ltbench import Integer, LogUniform, LTBenchError, Positive, hookimpl
from ltbench.tracks.finetuning.contract import BACKBONES, FineTuner, Frozen


class LoRA(FineTuner):
    """Freezes the network, and puts beside its linear layers x A B alpha / rank, which learns.

    A is drawn, B starts at 0, so that the network starts as it was. `alpha` is 1 in LIFT's code,
    and a choice in the paper. A convolution has the bypass too, A of its own window and B of one
    pixel; one of several groups has none. The first layer has none where there are others: our
    choice, as papers have them on the attention of transformers.
    """

    name = "lora"
    reference = "arXiv:2106.09685"
    needs = frozenset({BACKBONES})
    space = {"rank": Integer(1, 16), "alpha": LogUniform(0.5, 16.0)}

    def __init__(self, rank: Annotated[int, Meta(ge=1)] = 4, alpha: Positive = 1.0):
        self.rank, self.alpha = rank, alpha

    def tune(self, network, run):
        frozen = Frozen(network)
        layers = passable(frozen.body)
        if not layers:
            raise LTBenchError(f"lora: {type(network).__name__} has no layer for a bypass")
        for name in layers[1:] or layers:
            layer = frozen.body.get_submodule(name)
            frozen.body.set_submodule(name, Bypassed(layer, self.rank, self.alpha))
        return frozen


def passable(network):
    """The names of the layers of a network that can have a bypass, in their order.

    Attention takes the weights of its layers without calling them, so those are left out.
    """
    inner = tuple(
        f"{name}." for name, m in network.named_modules() if isinstance(m, nn.MultiheadAttention)
    )
    return [
        name
        for name, layer in network.named_modules()
        if not name.startswith(inner)
        and (isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1))
    ]


class Bypassed(nn.Module):
    """A layer, plus a bypass of it through `rank` numbers, or as many channels."""

    def __init__(self, layer, rank, alpha=1.0):
        super().__init__()
        self.layer = layer
        if isinstance(layer, nn.Conv2d):
            window = {
                name: getattr(layer, name)
                for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")
            }
            self.bypass = nn.Sequential(
                nn.Conv2d(layer.in_channels, rank, bias=False, **window),
                nn.Conv2d(rank, layer.out_channels, 1, bias=False),
            )
        else:
            self.bypass = nn.Sequential(
                nn.Linear(layer.in_features, rank, bias=False),
                nn.Linear(rank, layer.out_features, bias=False),
            )
        self.scaling = alpha / rank
        self.to(layer.weight.device)
        self.reset_parameters()

    def reset_parameters(self):
        into, out = self.bypass
        nn.init.kaiming_uniform_(into.weight, a=math.sqrt(5))
        nn.init.zeros_(out.weight)

    def forward(self, x):
        return self.layer(x) + self.scaling * self.bypass(x)


@hookimpl
def register_methods(register):
    register(LoRA)
