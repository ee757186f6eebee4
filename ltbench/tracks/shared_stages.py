"""First stages: a training goes on from where another, which began with the same bits, ended one.

Most methods that act late begin with plain training. Its end is kept in the cache folder, under a
hash of all that decides it, for whatever goes on from there.
"""

import copy
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from ltbench.contract.context import Rows, Run
from ltbench.contract.method import declared, hooks
from ltbench.contract.recipes import Recipe
from ltbench.protocols.schema import Classification
from ltbench.tracks import kept_networks
from ltbench.tracks.classification import REFERENCE_SHARE, WARM_UP_STEPS
from ltbench.tracks.shared_work import SharedWork, shared, shares
from ltbench.training import engine, environment
from ltbench.training.engine import State
from ltbench.training.method_state import digest_of
from ltbench.training.timing import Clock

KIND = "stages"
FORM = 1  # of the files, and of what their keys are made of
KEPT = ("position", "epoch", "model", "passes", "chance")  # of a state: all that moves
BEFORE = ("resample", "build")  # hooks, beside those of training, that a first stage depends on
FIELDS = (*KEPT, "cost", "reference")
SMALL = 2 * REFERENCE_SHARE  # of plain training: what timing that would take


@dataclass
class FirstStage:
    """How one training begins: from the `state` at the end of another's first stage, or by itself.

    `key` is that of the stage it begins from, empty where there is none. `cost` are the seconds,
    the work and the peak memory that training it took, `reference` the work of plain training in
    the process that did. `owed` are seconds and work that `beside` found a clock to lack. What is
    trained here is left by `work`, where it can be shared.
    """

    state: State | None = None
    key: str = ""
    cost: tuple[float, float, float] | None = None
    reference: float = 0.0
    owed: tuple[float, float] = (0.0, 0.0)
    work: SharedWork | None = field(default=None, repr=False)

    def ended(self, clock: Clock, reference: float, state: State) -> None:
        """Leaves the end of the stage that was trained here to others."""
        if self.work is not None:
            told = {name: state[name] for name in KEPT}
            self.work.leave({**told, "cost": clock.read(), "reference": reference})

    def before(self, plain: Callable[..., float]) -> float:
        """The work of plain training, timed by `plain` unless that was done with the stage."""
        if self.state is not None:
            return self.reference
        plain(WARM_UP_STEPS)
        return plain()

    def beside(self, plain: Callable[..., float], before: float, clock: Clock) -> float:
        """The work of plain training that the clock's is to be set against.

        What was done from a shared stage on is told in units of plain training as it is timed here,
        where it is more than timing that would take.
        """
        if self.state is None or self.cost is None:
            return (before + plain()) / 2
        seconds, work = clock.seconds - self.cost[0], clock.work - self.cost[1]
        if work > SMALL * before:
            plain(WARM_UP_STEPS)
            slower = before / plain() - 1
            self.owed = (slower * seconds, slower * work)
        return before


@contextmanager
def first_stage(
    protocol: Classification,
    recipe: Recipe,
    rows: Rows,
    run: Run,
    resume: State | None,
    plain: Callable[..., float],
) -> Iterator[FirstStage]:
    """The first stage of a training that begins with `rows` and `run`, which is used up.

    `plain` times plain training. A training that is resumed in a later phase, or whose first one is
    not plain, trains as ever. Else no other process trains the same one meanwhile, unless it has
    been waited for too long.
    """
    key = ""
    if shares() and (resume is None or resume["position"] == 0):
        key = key_of(protocol, recipe, rows, run)
    if not key:
        yield FirstStage()
        return
    with shared(KIND, key, FIELDS, plain) as work:
        if work.found is None:
            yield FirstStage(work=work)
        else:
            state = {name: work.found[name] for name in KEPT}
            yield FirstStage(state, key, tuple(work.found["cost"]), work.found["reference"])


def key_of(protocol: Classification, recipe: Recipe, rows: Rows, run: Run) -> str:
    """A hash of all that decides the bits of a first stage; empty where that is not plain training.

    It is plain where no method resamples rows, builds the network or acts in the phase. Then the
    code and parameters of methods tell in nothing but the phase as they plan it, which is part of
    the hash as the network, the rows and the seed are with which it begins. `run` is used up where
    a method plans phases.
    """
    where = environment.deciding(run.device, protocol.compute.threads)
    told = [protocol.hash, kept_networks.code_of(protocol), *where]
    return stage_key(recipe, rows, run, protocol.budget.batch_size, told)


def stage_key(recipe: Recipe, rows: Rows, run: Run, batch_size: int, told: list[Any]) -> str:
    """As `key_of`, where `told` are protocol, code and machine."""
    if any(recipe.chain(hook, run) for hook in BEFORE):
        return ""
    if recipe.chain("phases", run):
        _, plan = engine.begin(copy.deepcopy(recipe), rows, run)
        if not plan:
            return ""
        run.phase = plan[0]
    assert run.model is not None
    if not is_plain(recipe, run):
        return ""
    told = [FORM, *told, run.seed, asdict(run.phase), batch_size, len(rows)]
    told += [repr(run.views), str(run.precision), repr(run.model)]
    content = hashlib.sha256(msgspec.json.encode(told))
    for name, tensor in {**run.model.state_dict(), "counts": run.counts}.items():
        content.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        content.update(_bytes(tensor))
    content.update(digest_of(rows).encode())
    return content.hexdigest()[:32]


def begins_plainly(recipe: Recipe) -> bool:
    """Whether the first stage of a recipe is likely to be plain training, without its phases known.

    A recipe that plans another phase before the usual one acts in that.
    """
    return not any(
        hook in BEFORE or (declared(type(method))[hook].training and "main" in method.roles)
        for method in recipe.methods
        for hook in hooks(type(method))
    )


def is_plain(recipe: Recipe, run: Run) -> bool:
    """Whether no method acts in the phase of a run, and the network is what its modules tell."""
    within = [hook for hook, rule in declared(recipe.contract).items() if rule.training]
    assert run.model is not None
    return not any(recipe.chain(hook, run) for hook in within) and not any(
        map(_has_hooks, run.model.modules())
    )


def _has_hooks(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def _bytes(tensor: Tensor) -> Any:
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return memoryview(flat.numpy())  # type: ignore[arg-type]
