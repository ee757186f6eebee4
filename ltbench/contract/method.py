"""Method: the one contract of every track, whose defaults are plain training."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol, TypeVar

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ltbench import validation
from ltbench.contract.context import Batch, Output, Phase, Rows, Run
from ltbench.contract.optimizers import SGD
from ltbench.contract.spaces import Space
from ltbench.errors import nearest
from ltbench.texts import line

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

F = TypeVar("F", bound=Callable[..., Any])
Join = Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Rule:
    """How the methods of a recipe share a hook.

    With `many` owners it goes through all of them, else at most one may own it. `training` says
    that it acts in the phases of its method's roles alone. `decides` ends the sentence that refuses
    a second owner. Of several owners of a track's hook `join` makes one of what each gives, or the
    first argument goes `through` one after the other.
    """

    many: bool
    training: bool = False
    decides: str = ""
    join: Join | None = None
    through: bool = False


def hook(rule: Rule) -> Callable[[F], F]:
    """Marks a method of a contract as a hook; what overrides it is not marked."""

    def mark(default: F) -> F:
        default.rule = rule  # type: ignore[attr-defined]
        return default

    return mark


MANY, MANY_IN_TRAINING = Rule(many=True), Rule(many=True, training=True)


def one(decides: str, training: bool = False) -> Rule:
    """The rule of a hook that at most one method of a recipe may own."""
    return Rule(many=False, training=training, decides=decides)


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
    parameters at which the method is plain training, where it has such. `space` says which
    parameters are worth tuning, and within which values. `expected_failures` names checks of
    `ltbench check` that the method cannot pass, with the reason.

    The constructor stores its parameters under their own names and does nothing else.
    """

    name: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    roles: ClassVar[tuple[str, ...]] = ("main",)
    needs: ClassVar[frozenset[str]] = frozenset()
    corrects: ClassVar[str | None] = None
    models: ClassVar[frozenset[str]] = frozenset({"network"})
    neutral: ClassVar[dict[str, Any] | None] = None
    space: ClassVar[Mapping[str, Space]] = {}
    expected_failures: ClassVar[dict[str, str]] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({spelled(self)!r})"

    # Once, before training.

    @hook(MANY)
    def resample(self, train: Rows, run: Run) -> Rows:
        """The training set to use instead of `train`."""
        return train

    @hook(MANY)
    def build(self, model: nn.Module, run: Run) -> nn.Module:
        """The network to train; it keeps a method `features(x)` and a module `head`."""
        return model

    @hook(MANY)
    def phases(self, plan: list[Phase], run: Run) -> list[Phase]:
        """The plan of training phases, edited."""
        return plan

    # On entering a phase.

    @hook(MANY_IN_TRAINING)
    def enter(self, train: Rows, run: Run) -> Rows:
        """The training set of this phase; what it adds to `run.model` may learn in the phase."""
        return train

    @hook(one("choose the optimizer", training=True))
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

    @hook(one("decide the draw", training=True))
    def sampling_weights(self, labels: Tensor, run: Run) -> Tensor | None:
        """How likely each row [N] is to be drawn; None presents each row once an epoch."""
        return None

    @hook(MANY_IN_TRAINING)
    def prepare(self, run: Run) -> None:
        """Derive constants from `run.counts` and `run.seen`, which are both known by now."""

    # At each step.

    @hook(MANY_IN_TRAINING)
    def batch(self, batch: Batch, run: Run) -> Batch:
        """The batch to train on: mixed, with more views, with rows at its side."""
        return batch

    @hook(MANY_IN_TRAINING)
    def adjust(self, scores: Tensor, labels: Tensor, run: Run) -> Tensor:
        """The scores [N, C] that the criterion sees: margins, priors, temperatures."""
        return scores

    @hook(MANY_IN_TRAINING)
    def weight(self, labels: Tensor, run: Run) -> Tensor | None:
        """A factor on the loss of each row [N]; None is one for all.

        The loss is divided by the sum of the factors in the batch, as torch's weighted
        cross-entropy does. What the network said of the rows is `run.output`: the scores
        `run.output.heads[run.head][:N]` and the features `run.output.features[:N]`, with their
        graph; where the factor shall have no slope, detach them.
        """
        return None

    @hook(one("decide the criterion", training=True))
    def criterion(self, scores: Tensor, labels: Tensor, run: Run) -> Tensor:
        """The loss of each row [N]; `scores` [N, C] are adjusted.

        The scores as they were and the features are in `run.output`, as in `weight`.
        """
        return cross_entropy(scores, labels, reduction="none")

    @hook(MANY_IN_TRAINING)
    def extra(self, output: Output, batch: Batch, run: Run) -> Tensor | None:
        """A scalar added to the loss: contrast, imitation, regularisers."""
        return None

    def beside(self, output: Output, batch: Batch, run: Run) -> list[Tensor | None]:
        """The scalars that the engine adds to the loss, one after the other; no hook."""
        return [self.extra(output, batch, run)]

    @hook(one("take the step", training=True))
    def step(self, closure: Closure, optimizer: torch.optim.Optimizer, run: Run) -> None:
        """One update of the parameters."""
        closure()
        optimizer.step()

    # After training.

    @hook(MANY)
    def finish(self, model: nn.Module, validation: Rows | None, run: Run) -> nn.Module:
        """The network, edited or fitted after training.

        `validation` is None where the protocol has no validation rows; a method then keeps its
        documented default and says so with `run.note`.
        """
        return model

    # Predicting.

    @hook(one("combine the heads"))
    def combine(self, output: Output, run: Run) -> Tensor:
        """The scores of all heads as one [N, C]."""
        return output.heads[0] if len(output.heads) == 1 else torch.stack(output.heads).mean(0)

    @hook(MANY)
    def scores(self, scores: Tensor, run: Run) -> Tensor:
        """A shift of the scores [N, C] after training."""
        return scores

    @hook(one("decide the labels"))
    def decide(self, scores: Tensor, run: Run) -> Tensor:
        """The predicted labels [N]."""
        return scores.argmax(dim=-1)

    @hook(one("adapt the network"))
    def adapt(self, model: nn.Module, inputs: Tensor, run: Run) -> nn.Module:
        """The network after using unlabelled test inputs; its result is a column of its own."""
        return model


def declared(method: type[Method]) -> dict[str, Rule]:
    """Every hook that a class of methods knows, in the order of a run, with its rule.

    Those of a track's contract come after those of all methods.
    """
    found: dict[str, Rule] = {}
    for base in reversed(method.__mro__):
        marked = {name: getattr(one, "rule", None) for name, one in vars(base).items()}
        found |= {name: rule for name, rule in marked.items() if isinstance(rule, Rule)}
    return found


def hooks(method: type[Method]) -> tuple[str, ...]:
    """The hooks that a method overrides, in the order of a run."""
    return tuple(name for name in declared(method) if not hasattr(getattr(method, name), "rule"))


HOOKS = declared(Method)
"""The hooks of every track, in the order of a run, with their rules."""


def spelled(method: Method) -> str:
    """The canonical spelling of one method: its name, and the parameters that are not default."""
    given = ", ".join(
        f"{name}={validation.shown(value)}"
        for name, value in values(method).items()
        if value != validation.parameters(type(method))[name]
    )
    return f"{method.name}({given})" if given else method.name


def values(method: Method) -> dict[str, Any]:
    """Every parameter of a method with its value."""
    return {name: getattr(method, name) for name in validation.parameters(type(method))}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, tuple | frozenset | list | set | dict) and all(map(_is_text, value))


ATTRIBUTES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "reference": (_is_text, "a text"),
    "corrects": (lambda value: value is None or _is_text(value), "a text or None"),
    "roles": (_are_texts, "texts"),
    "needs": (_are_texts, "texts"),
    "models": (_are_texts, "texts"),
    "expected_failures": (lambda value: isinstance(value, dict) and _are_texts(value), "a dict"),
    "neutral": (lambda value: value is None or isinstance(value, dict), "a dict or None"),
}
"""What the attributes of a class of methods must be, and how that is called."""


def refusal(method: Any) -> str | None:
    """Why a registered object cannot serve as a method, or None."""
    if not (isinstance(method, type) and issubclass(method, Method)):
        return f"{line(method, repr)} is not a subclass of ltbench.Method"
    if not isinstance(method.name, str) or not NAME.fullmatch(method.name):
        return f"{method.__name__}.name is {method.name!r}; a name looks like 'logit-adjustment'"
    for name, (fits, expected) in ATTRIBUTES.items():
        value = getattr(method, name)
        if not fits(value):
            return f"{method.__name__}.{name} is {line(value, repr)}, not {expected}"
    try:
        instance = method()
    except TypeError as error:
        return f"{method.__name__}() cannot be made without arguments: {line(error)}"
    for name, default in validation.parameters(method).items():
        if not hasattr(instance, name):
            return f"{method.__name__} does not store its parameter as self.{name}"
        for value in (default, getattr(instance, name)):
            if not validation.is_literal(value):
                return (
                    f"{method.__name__} has {line(value, repr)} as the default of {name}, which no "
                    "record can hold; it takes None, a truth, a finite number, a text, or lists of "
                    "those"
                )
    own = [name for name, value in vars(method).items() if callable(value) and name[0] != "_"]
    if own and not hooks(method):
        near = nearest(own[0], HOOKS)
        offer = f"; did you mean {near} by {own[0]!r}?" if near else ""
        return f"{method.__name__} overrides no hook{offer}"
    return None
