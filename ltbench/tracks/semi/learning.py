"""How a recipe learns from the pool: views of some rows in each step, generations, mean weights."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ltbench.augmentation.strong import strongly
from ltbench.contract.context import Batch, Output, Rows, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.tracks.semi.contract import SemiGrants, SemiSupervised
from ltbench.training.engine import generator

STREAM = "pool"  # of chance, which disturbs no other


class Pooled(Recipe):
    """A recipe on this track: where a method learns from the pool, rows of it pass through the
    network in each step; where none does, nothing is done or drawn.

    A phase whose role goes on with a number repeats another, and methods act in it as in that:
    "main 2" is the second generation of "main".
    """

    def __init__(self, *methods: Method, ema: float = 0.0) -> None:
        """With `ema` above 0 means of the weights take over at the end of each phase."""
        super().__init__(*(Average(ema),) if ema else (), *methods, contract=SemiSupervised)
        self.drawn: tuple[Tensor, Tensor, Tensor] | None = None
        self.weak: Output | None = None

    def role(self, run: Run) -> str:
        return run.phase.role.partition(" ")[0]

    def build(self, model: nn.Module, run: Run) -> nn.Module:
        run.chance[STREAM] = generator(run, STREAM)
        return super().build(model, run)

    def batch(self, batch: Batch, run: Run) -> Batch:
        batch, self.drawn = super().batch(batch, run), None
        if self.chain("unlabelled_loss", run) and not run.phase.on_features:
            self.drawn = drawn(run, len(batch.rows))
        return batch

    def beside(self, output: Output, batch: Batch, run: Run) -> list[Tensor | None]:
        return [self.extra(output, batch, run), self.from_pool(run)]

    def from_pool(self, run: Run) -> Tensor | None:
        """What the pool's rows of this step teach; gradients flow through their strong views."""
        if self.drawn is None:
            return None
        rows, weak, strong = self.drawn
        with torch.no_grad():
            self.weak = run.aside(weak)
        run.passes += len(rows)
        found: Tensor | None = self.unlabelled_loss(self.weak, run.aside(strong), rows, run)
        self.weak = None
        return found


def drawn(run: Run, labelled: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows [M] of the pool, drawn with replacement, with the protocol's view of them and a strong
    one."""
    granted, chance = run.granted, run.chance[STREAM]
    assert isinstance(granted, SemiGrants)
    number = max(2, round(granted.ratio * labelled))
    rows = torch.randint(len(granted.pool), (number,), generator=chance, device=chance.device)
    stored = granted.pool[rows]
    weak = run.views.augmented(stored, chance)
    return rows, weak, strongly(granted.view, stored, run.views, chance)


class Every(tuple[str, ...]):
    """The roles of a method that acts in every phase."""

    def __contains__(self, role: object) -> bool:
        return True


class Average(Method):
    """Exponential means of weights and BatchNorm's statistics, which take over as a phase ends.

    A phase's means begin at the weights with which it begins, as in the released codes. What
    methods keep in the network is left as it is.
    """

    name = "average"
    roles = Every(("main",))

    def __init__(self, ema: float = 0.999) -> None:
        self.ema = ema
        self.means: dict[str, Tensor] | None = None

    def enter(self, train: Rows, run: Run) -> Rows:
        self.take_over(run)
        return train

    def batch(self, batch: Batch, run: Run) -> Batch:
        self.follow(run)
        return batch

    def finish(self, model: nn.Module, validation: Rows | None, run: Run) -> nn.Module:
        self.take_over(run)
        return model

    @torch.no_grad()
    def follow(self, run: Run) -> None:
        """Brings the means one step on, or begins them."""
        state = moving(run)
        if self.means is None:
            self.means = {name: tensor.clone() for name, tensor in state.items()}
        for name, mean in self.means.items():
            mean.lerp_(state[name], 1 - self.ema)

    @torch.no_grad()
    def take_over(self, run: Run) -> None:
        """Puts the means, once they have followed the last step, in the place of the weights."""
        if self.means is not None:
            self.follow(run)
            state = moving(run)
            for name, mean in self.means.items():
                state[name].copy_(mean)
        self.means = None


def moving(run: Run) -> dict[str, Tensor]:
    """The weights of a network and the running statistics of its BatchNorm, by name."""
    assert run.model is not None
    state = {name: weight.detach() for name, weight in run.model.named_parameters()}
    for name, module in run.model.named_modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None:
            assert module.running_var is not None
            state |= {f"{name} mean": module.running_mean, f"{name} var": module.running_var}
    return state
