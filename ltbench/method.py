"""Method: the one contract of every track, whose defaults are plain training."""

from typing import Annotated, Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from ltbench.context import Batch, Output, Phase, Rows, Run
from ltbench.optimizers import SGD

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Closure(Protocol):
    """Fresh gradients of the step's loss.

    `factor` [C] multiplies the loss of each class's rows (0 and 1 select classes) and leaves the
    divisor alone, so that parts add up to the whole. Returns the loss, detached. `present` [C]
    tells which classes have rows in the batch.
    """

    @property
    def present(self) -> Tensor: ...

    def __call__(self, factor: Tensor | None = None) -> Tensor: ...


class Method:
    """Plain training (empirical risk minimisation); a method overrides the hooks of its idea.

    N is the rows of a batch, C the classes, D the width of the features. `roles` are the phases
    in which the training hooks act, `needs` what the protocol must supply, `corrects` is "prior"
    for a method that moves decisions towards rare classes by itself. `models` says what its
    `build` and `finish` act on: networks, or estimators of scikit-learn's kind. `neutral` holds the
    parameters at which the method is plain training, where it has such. `expected_failures` names
    checks of `ltbench check` that the method cannot pass, with the reason.

    The constructor stores its parameters under their own names and does nothing else.
    """

    name: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    roles: ClassVar[tuple[str, ...]] = ("main",)
    needs: ClassVar[frozenset[str]] = frozenset()
    corrects: ClassVar[str | None] = None
    models: ClassVar[frozenset[str]] = frozenset({"network"})
    neutral: ClassVar[dict[str, Any] | None] = None
    expected_failures: ClassVar[dict[str, str]] = {}

    # Once, before training.

    def resample(self, train: Rows, run: Run) -> Rows:
        """The training set to use instead of `train`."""
        return train

    def build(self, model: nn.Module, run: Run) -> nn.Module:
        """The network to train; it keeps a method `features(x)` and a module `head`."""
        return model

    def importance(self, model: nn.Module, run: Run) -> dict[str, Tensor] | None:
        """How much each filter of a layer [K] counts, by the layer's name, to those who prune.

        None is the sum of the absolute weights of each filter.
        """
        return None

    def unlabelled(self, run: Run) -> tuple[Tensor, Tensor] | None:
        """Stored inputs [M, ...] that join what is fitted to inputs alone, and their weights [M].

        A training row has weight one; `run.unlabelled()` gives all of them.
        """
        return None

    def phases(self, plan: list[Phase], run: Run) -> list[Phase]:
        """The plan of training phases, edited."""
        return plan

    # On entering a phase.

    def enter(self, train: Rows, run: Run) -> Rows:
        """The training set of this phase."""
        return train

    def optimizer(self, model: nn.Module, run: Run) -> torch.optim.Optimizer:
        """The optimizer; the learning rates of its groups follow the protocol's schedule."""
        phase = run.phase
        return SGD(
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            lr=phase.lr,
            momentum=phase.momentum,
            nesterov=phase.nesterov,
            weight_decay=phase.weight_decay,
        )

    # At each epoch.

    def sampling_weights(self, labels: Tensor, run: Run) -> Tensor | None:
        """How likely each row [N] is to be drawn; None presents each row once an epoch."""
        return None

    def prepare(self, run: Run) -> None:
        """Derive constants from `run.counts` and `run.seen`, which are both known by now."""

    # At each step.

    def batch(self, batch: Batch, run: Run) -> Batch:
        """The batch to train on: mixed, with more views, with rows at its side."""
        return batch

    def adjust(self, scores: Tensor, labels: Tensor, run: Run) -> Tensor:
        """The scores [N, C] that the criterion sees: margins, priors, temperatures."""
        return scores

    def weight(self, labels: Tensor, run: Run) -> Tensor | None:
        """A factor on the loss of each row [N]; None is one for all.

        The loss is divided by the sum of the factors in the batch, as torch's weighted
        cross-entropy does.
        """
        return None

    def criterion(self, scores: Tensor, labels: Tensor, run: Run) -> Tensor:
        """The loss of each row [N]."""
        return F.cross_entropy(scores, labels, reduction="none")

    def mimic(self, output: Output, inputs: Tensor, run: Run) -> Tensor | None:
        """A scalar added to the loss that needs no labels: how far the output is from a teacher's.

        `inputs` are what the network took; `run.recipe.mimic` asks for it on any others.
        """
        return None

    def extra(self, output: Output, batch: Batch, run: Run) -> Tensor | None:
        """A scalar added to the loss: contrast, distillation, regularisers."""
        return None

    def step(self, closure: Closure, optimizer: torch.optim.Optimizer, run: Run) -> None:
        """One update of the parameters."""
        closure()
        optimizer.step()

    # After training.

    def finish(self, model: nn.Module, validation: Rows | None, run: Run) -> nn.Module:
        """The network, edited or fitted after training.

        `validation` is None where the protocol has no validation rows; a method then keeps its
        documented default and says so with `run.note`.
        """
        return model

    # Predicting.

    def combine(self, output: Output, run: Run) -> Tensor:
        """The scores of all heads as one [N, C]."""
        return output.heads[0] if len(output.heads) == 1 else torch.stack(output.heads).mean(0)

    def scores(self, scores: Tensor, run: Run) -> Tensor:
        """A shift of the scores [N, C] after training."""
        return scores

    def decide(self, scores: Tensor, run: Run) -> Tensor:
        """The predicted labels [N]."""
        return scores.argmax(dim=-1)

    def adapt(self, model: nn.Module, inputs: Tensor, run: Run) -> nn.Module:
        """The network after using unlabelled test inputs; its result is a column of its own."""
        return model


MANY = "many"  # several methods may override the hook; they act in order
ONE = "one"  # at most one method may
TRAINING_HOOKS = {
    "enter": MANY,
    "optimizer": ONE,
    "sampling_weights": ONE,
    "prepare": MANY,
    "batch": MANY,
    "adjust": MANY,
    "weight": MANY,
    "criterion": ONE,
    "mimic": MANY,
    "extra": MANY,
    "step": ONE,
}
HOOKS = {
    "resample": MANY,
    "build": MANY,
    "importance": ONE,
    "unlabelled": MANY,
    "phases": MANY,
    **TRAINING_HOOKS,
    "finish": MANY,
    "combine": ONE,
    "scores": MANY,
    "decide": ONE,
    "adapt": ONE,
}
"""Every hook, in the order of a run, with how many methods of a recipe may own it."""


def hooks(method: type[Method]) -> tuple[str, ...]:
    """The hooks that a method overrides, in the order of a run."""
    return tuple(hook for hook in HOOKS if getattr(method, hook) is not getattr(Method, hook))
