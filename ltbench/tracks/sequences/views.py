"""Views of sequences: moved in time, channels scaled, with noise; one for each row or for all."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.augmentation.views import Views


@dataclass(frozen=True)
class SequenceViews(Views):
    """How stored sequences [N, C, T] become the network's.

    An augmented one is moved by up to `padding` steps either way, over zeros; each channel is
    multiplied by a factor within `scaling` of 1; and noise of standard deviation `jitter` is added.
    All of it comes after standardising.
    """

    scaling: float = 0.0
    jitter: float = 0.0

    def augmented(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """A view to train on, drawn afresh for each row."""
        x = self.standardised(inputs)
        if not self.padding:
            return x
        chance = torch.rand(len(x), 1 + x.shape[1], generator=rng, device=rng.device).to(x)
        noise = torch.randn(x.shape, generator=rng, device=rng.device).to(x)
        return self._changed(x, chance) + self.jitter * noise

    def alike(self, rng: torch.Generator) -> Callable[[Tensor], Tensor]:
        """One view to train on, the same for all rows that it is then given.

        It lets gradients through. All channels have one factor, and there is no noise.
        """
        chance = torch.rand(1, 2, generator=rng, device=rng.device)
        return lambda inputs: self._changed(self.standardised(inputs), chance.to(inputs.device))

    def _changed(self, x: Tensor, chance: Tensor) -> Tensor:
        """Rows [N, C, T] moved and scaled by chances in [0, 1), for each or one [1, 2] for all."""
        factor = 1 + self.scaling * (2 * chance[:, 1:, None] - 1)
        return factor * moved(x, chance[:, 0], self.padding)


def moved(x: Tensor, chance: Tensor, most: int) -> Tensor:
    """Rows [N, C, T] moved by -`most` to `most` steps, by chances [N] or [1] in [0, 1)."""
    n, channels, steps = x.shape
    offset = (chance * (2 * most + 1)).long()
    index = offset[:, None] + torch.arange(steps, device=x.device)
    return F.pad(x, (most, most)).gather(2, index[:, None].expand(n, channels, steps))
