"""Probes: what a recipe computes, without a training run; float64 in, float64 out."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ltbench.contract.context import Batch, Output, Phase, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.errors import LTBenchError
from ltbench.registry.registry import installed
from ltbench.training.engine import LossClosure, State, objective, set_learning, shares


def probe_loss(
    recipe: str | Method,
    scores: Tensor,
    labels: Tensor,
    class_counts: Sequence[int] | Tensor,
    progress: float = 1.0,
    features: Tensor | None = None,
    role: str = "main",
    seed: int | None = None,
) -> Tensor:
    """The scalar that `recipe` would minimise in the phase of a role, differentiable in `scores`.

    `scores` [N, C] are what the head puts out, so of a cosine head the scaled cosines; `labels`
    [N]; `class_counts` [C] of the training split; `features` [N, D] for methods that use them;
    `seed` is that of what methods draw. The hooks `resample` and `batch` are not called.

    Raises:
        LTBenchError: the recipe has no phase of that role.
    """
    method = as_recipe(recipe)
    phase = _phase(method, class_counts, scores.dtype, role)
    run = probe_run(method, class_counts, scores.dtype, progress, phase)
    if seed is not None:
        run.rng.manual_seed(seed)
    features = scores.new_zeros(len(scores), 0) if features is None else features
    batch = Batch(features, [(labels, 1.0)], torch.arange(len(labels)))
    return objective(method, Output((scores,), features), batch, run)


def planned(
    method: Method, class_counts: Sequence[int] | Tensor, dtype: torch.dtype = torch.float32
) -> list[Phase]:
    """The phases in which a method would train, out of one of three epochs."""
    run = probe_run(method, class_counts, dtype)
    return method.phases([Phase("main", 3, 0.05, 1e-3)], run)


def _phase(
    method: Method, class_counts: Sequence[int] | Tensor, dtype: torch.dtype, role: str
) -> Phase | None:
    if role == "main":
        return None
    phases = {phase.role: phase for phase in planned(method, class_counts, dtype)}
    if role not in phases:
        raise LTBenchError(f"no phase has the role {role!r}; there are: {', '.join(phases)}")
    return phases[role]


def probe_scores(
    recipe: str | Method, scores: Tensor, class_counts: Sequence[int] | Tensor
) -> Tensor:
    """The scores [N, C] after the hooks that act after training."""
    method = as_recipe(recipe)
    return method.scores(scores, probe_run(method, class_counts, scores.dtype))


def probe_steps(
    recipe: str | Method,
    model: nn.Module,
    batches: Sequence[tuple[Tensor, Tensor]],
    class_counts: Sequence[int] | Tensor,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    role: str = "main",
) -> list[State]:
    """The model's `state_dict()` after each update, one for each (inputs, labels) of `batches`.

    `model` has a linear `head` and a method `features(x)`; it is copied, not changed. The
    learning rate stays as it is. In the phase of another `role` learns what that lets learn; where
    its rows are features, so are the inputs. The hooks `resample` and `enter` are not called.

    Raises:
        LTBenchError: the recipe has no phase of that role.
    """
    method = as_recipe(recipe)
    dtype = next(model.parameters()).dtype
    phase = _phase(method, class_counts, dtype, role) or Phase("main", 1, lr, 0.0)
    phase = replace(phase, lr=lr, weight_decay=weight_decay, momentum=momentum)
    run = probe_run(method, class_counts, dtype, 0.0, phase)
    run.model = method.build(copy.deepcopy(model), run).to(dtype)
    set_learning(run.model, phase)
    for network in run.kept.values():
        network.to(dtype)
    closure = LossClosure(method, method.optimizer(run.model, run), run)
    states = []
    for position, (inputs, labels) in enumerate(batches):
        run.progress.fill_(position / len(batches))
        batch = Batch(inputs, [(labels, 1.0)], torch.arange(len(labels)))
        closure.take(method.batch(batch, run), torch.zeros((), dtype=dtype))
        method.step(closure, closure.optimizer, run)
        states.append(copy.deepcopy(run.model.state_dict()))
    return states


def as_recipe(recipe: str | Method) -> Recipe:
    if isinstance(recipe, str):
        return installed().recipe(recipe)
    return recipe if isinstance(recipe, Recipe) else Recipe(recipe)


def probe_run(
    method: Method,
    class_counts: Sequence[int] | Tensor,
    dtype: torch.dtype,
    progress: float = 1.0,
    phase: Phase | None = None,
    network: nn.Module | None = None,
) -> Run:
    """A run at a point of a phase, else of the main one; the constants of `method` are prepared.

    `run.model` is what the method builds of a network, where one is given.
    """
    whole = torch.as_tensor(class_counts).long()
    labels = torch.arange(len(whole)).repeat_interleave(whole)
    counts = whole.to(dtype)
    run = Run(
        counts=counts,
        seen=counts / counts.sum(),
        progress=torch.tensor(progress, dtype=dtype),
        phase=phase or Phase("main", 1, 0.1, 0.0),
    )
    if network is not None:
        run.model = method.build(network, run).to(dtype)
    run.seen = shares(labels, method.sampling_weights(labels, run), counts)
    method.prepare(run)
    return run
