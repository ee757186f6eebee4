"""What bags ask of methods beyond the contract of all, and which methods cannot serve."""

import copy

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from ltbench.contract.context import Batch, Phase, Rows, Run
from ltbench.contract.method import Method, hook, hooks, one
from ltbench.contract.recipes import Recipe
from ltbench.models.mlp import Network, Options
from ltbench.tracks.bags.pooling import Mean, Pooled

BAGS = "bags"
"""What a method needs whose rows are bags [N, L, ...], NaN where a place holds no instance."""

MAKERS = ("resample", "enter", "batch")
"""Hooks that may hand back rows that they made."""


class BagMethod(Method):
    """A method with the hook that this track adds; any other method joins it in a recipe."""

    needs = frozenset({BAGS})

    @hook(one("decide the pooling", training=True))
    def pooling(self, width: int, run: Run) -> nn.Module:
        """What makes one vector [N, D] of the features [N, L, D] of instances, D being `width`.

        It is called with those, 0 where a place is not filled, and with which are filled [N, L]. A
        subclass of `ltbench.tracks.bags.pooling.Pool` that has `weights` is asked for these when
        test bags are marked. Where nobody decides it is the mean.
        """
        return Mean()


class BagRecipe(Recipe):
    """A recipe on this track, with the pooling that its methods decide, and AdamW if `adamw` says
    so and no method chooses an optimizer."""

    def __init__(self, *methods: Method, adamw: bool = False) -> None:
        super().__init__(*methods, contract=BagMethod)
        self.adamw = adamw

    def build(self, model: nn.Module, run: Run) -> nn.Module:
        if self.chain("pooling", run):
            model.pool = self.pooling(model.width, run)
        return super().build(model, run)

    def optimizer(self, model: nn.Module, run: Run) -> torch.optim.Optimizer:
        if not self.adamw or self.chain("optimizer", run):
            return super().optimizer(model, run)
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        betas = (run.phase.momentum, 0.999)
        return AdamW(learning, run.phase.lr, betas, weight_decay=run.phase.weight_decay)


def unfit(method: Method) -> str | None:
    """The hook in which a method makes bags of its own, or None.

    One that says what becomes of their instances tells so by its need. Of others the hooks that may
    make rows are tried: what comes back must be bags as they are, if maybe others of them.
    """
    if BAGS in method.needs:
        return None
    return next(
        (hook for hook in MAKERS if hook in hooks(type(method)) and _makes(method, hook)), None
    )


def _makes(method: Method, hook: str) -> bool:
    """Whether a hook hands back bags that are not among those that it was given."""
    run, tried = small_run(), copy.deepcopy(method)
    rows = run.train
    assert rows is not None
    index = torch.arange(8)
    with torch.random.fork_rng(devices=[]):
        try:
            tried.prepare(run)
            if hook == "batch":
                batch = Batch(rows.inputs[index], [(rows.labels[index], 1.0)], index)
                made = tried.batch(batch, run)
                inputs, whole = made.inputs, len(made.targets) == 1
            else:
                inputs, whole = getattr(tried, hook)(rows, run).inputs, True
        # What a method of single rows makes of bags may be any error at all.
        except Exception:
            return True
    if inputs.shape[1:] != rows.shape:  # features of bags, for the head alone
        return hook != "enter"
    return not (whole and among(inputs, rows.inputs))


def among(some: Tensor, bags: Tensor) -> bool:
    """Whether each of some bags is one of these, to the bit; both [N, L, ...]."""
    one, other = (x.flatten(1).nan_to_num(nan=torch.inf) for x in (some, bags))
    return bool((one[:, None] == other).all(dim=-1).any(dim=1).all())


def small_run() -> Run:
    """A run with a few bags of uneven lengths, for methods that are tried."""
    chance = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat_interleave(torch.tensor([9, 6, 3]))
    inputs = torch.rand(len(labels), 4, 1, 4, 4, generator=chance)
    inputs[::2, 3] = torch.nan
    counts = labels.bincount().float()
    run = Run(counts, counts / counts.sum(), torch.zeros(()), Phase("main", 1, 0.1, 0.0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        run.model = Pooled(Network((1, 4, 4), 3, Options([8])))
    run.train = Rows(inputs, labels)
    return run
