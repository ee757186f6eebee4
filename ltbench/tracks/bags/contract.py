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
"""Hooks that hand back rows, and so may make some."""


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
    """Why a method cannot serve bags, or None.

    One that says what becomes of their instances tells so by its need. Any other is tried on a few
    bags, of one length and then of uneven ones: what it hands back must be bags as they are, if
    maybe others of them.
    """
    if BAGS in method.needs or not set(MAKERS) & set(hooks(type(method))):
        return None
    for uneven, why in (
        (False, "takes no bags"),
        (True, "reads bags as numbers, which places without an instance are not,"),
    ):
        trial = Trial(method, uneven)
        with torch.random.fork_rng(devices=[]):
            try:
                if not trial.leaves_bags():
                    return (
                        f"makes rows of its own in {trial.hook}, and does not say what becomes of "
                        "the instances of a bag"
                    )
            # What a method of single rows makes of bags may be any error at all.
            except Exception:
                if trial.hook in MAKERS:
                    return f"{why} in {trial.hook}"
    return None


class Trial:
    """The hooks of a method that may make rows, as a training on a few bags calls them.

    `hook` is the one that was called last.
    """

    def __init__(self, method: Method, uneven: bool) -> None:
        self.method, self.hook = BagRecipe(copy.deepcopy(method)), ""
        self.run, self.bags = small_run(uneven, 2 if "two_classes" in method.needs else 3)

    def leaves_bags(self) -> bool:
        """Whether all that it hands back are bags that it was given, or features of such."""
        method, run = self.method, self.run
        self.hook = "resample"
        rows = method.resample(self.bags, run)
        if not among(rows.inputs, self.bags.inputs):
            return False
        assert run.model is not None
        run.train, self.hook = rows, "build"
        run.model = method.build(run.model, run)
        for phase in method.phases([run.phase], run):
            run.phase, self.hook = phase, "enter"
            run.train = method.enter(rows, run)
            if phase.on_features:
                continue
            if not among(run.train.inputs, self.bags.inputs):
                return False
            self.hook, index = "prepare", torch.arange(8)
            method.sampling_weights(run.train.labels, run)
            method.prepare(run)
            self.hook = "batch"
            given = Batch(run.train.inputs[index], [(run.train.labels[index], 1.0)], index)
            made = method.batch(given, run)
            if len(made.targets) > 1 or not among(made.inputs, self.bags.inputs):
                return False
        return True


def among(some: Tensor, bags: Tensor) -> bool:
    """Whether each of some bags is one of these, to the bit; both [N, L, ...]."""
    one, other = (x.flatten(1).nan_to_num(nan=torch.inf) for x in (some, bags))
    return bool((one[:, None] == other).all(dim=-1).any(dim=1).all())


def small_run(uneven: bool, classes: int) -> tuple[Run, Rows]:
    """A run with a few bags, of one length or of two."""
    chance = torch.Generator().manual_seed(0)
    labels = torch.arange(classes).repeat_interleave(torch.tensor([12, 9, 6][:classes]))
    inputs = torch.rand(len(labels), 4, 1, 4, 4, generator=chance)
    if uneven:
        inputs[::2, 3] = torch.nan
    counts = labels.bincount().float()
    run = Run(counts, counts / counts.sum(), torch.zeros(()), Phase("main", 2, 0.1, 0.0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        run.model = Pooled(Network((1, 4, 4), classes, Options([8])))
    run.train = Rows(inputs, labels)
    return run, run.train
