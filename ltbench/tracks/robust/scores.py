"""The fixed set of attacks, and the measures of what a network says under them."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ltbench.contract.context import PREDICTED_AT_ONCE, Run
from ltbench.contract.recipes import Recipe
from ltbench.errors import Diverged
from ltbench.results.records import Scores
from ltbench.scoring import metrics
from ltbench.tracks.robust.contract import Threat, mean_scores, noise, pgd
from ltbench.training.engine import forward, hidden_order, stream_seed

STEPS = 20
SHARE = 0.25  # of eps, the length of a step
TARGETS = 9  # the classes with the highest scores, towards which margins are attacked

Bools = NDArray[np.bool_]


def under_attack(
    recipe: Recipe, model: nn.Module, inputs: Tensor, labels: Tensor, eps: float, run: Run
) -> tuple[Tensor, Tensor]:
    """Which rows [N] are right after PGD-20 on cross-entropy, and which after every attack.

    `inputs` are as they are stored. The attacks see the scores that decide, and begin anywhere in
    the ball. The method sees the rows in a hidden order, so that no place tells a class. A row that
    an attack of margins has turned is attacked no further.

    Raises:
        Diverged: a score is not finite.
    """
    threat, order = Threat(eps, SHARE * eps, STEPS), hidden_order(inputs, run.seed)
    rng = torch.Generator(run.device).manual_seed(stream_seed(run.seed, "evaluation attacks"))
    parts = [
        _of_portion(recipe, model, run.plain(inputs[some]), labels[some], threat, run, rng)
        for some in order.split(PREDICTED_AT_ONCE)
    ]
    first, every = zip(*parts, strict=True)
    place = order.argsort()
    return torch.cat(first)[place], torch.cat(every)[place]


def _of_portion(
    recipe: Recipe,
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    threat: Threat,
    run: Run,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor]:
    def scores(inputs: Tensor) -> Tensor:
        found = recipe.scores(recipe.combine(forward(model, inputs, run), run), run)
        if not torch.isfinite(found).all():
            raise Diverged("the trained network gives scores that are not finite under attack")
        return found

    def told(inputs: Tensor) -> Tensor:
        found = scores(inputs)  # without a gradient where a method decides by other means
        return found if found.requires_grad else mean_scores(model, inputs, run)

    @torch.no_grad()
    def right(inputs: Tensor, y: Tensor) -> Tensor:
        return recipe.decide(scores(inputs), run) == y

    def attacked(inputs: Tensor, loss) -> Tensor:  # type: ignore[no-untyped-def]
        return pgd(loss, inputs, threat, run, noise(inputs, threat, run, rng))

    with torch.no_grad():
        others = scores(x).scatter(1, labels[:, None], -torch.inf)
        targets = others.topk(min(TARGETS, others.shape[1] - 1), dim=1).indices
    by_entropy = attacked(x, lambda z: cross_entropy(told(z), labels, reduction="sum"))
    first = right(by_entropy, labels)
    every = first & right(x, labels)
    for target in targets.T:
        left = every.nonzero()[:, 0]
        if not len(left):
            break
        y, k = labels[left, None], target[left, None]
        x_left = attacked(x[left], lambda z, y=y, k=k: told(z).gather(1, k) - told(z).gather(1, y))
        every[left] = right(x_left, labels[left])
    return first, every


def robust_scores(
    labels: NDArray[np.integer],
    right: Mapping[str, Bools],
    class_counts: Sequence[int],
    shot_splits: tuple[int, int],
) -> Scores:
    """Measures of which rows [N] are right: `clean`, after `pgd20`, and under `robust` attack."""
    classes = len(class_counts)
    rows = np.bincount(labels, minlength=classes)
    found: Scores = {}
    for name, hit in right.items():
        hits = np.bincount(labels[hit], minlength=classes)
        recall = np.where(rows == 0, np.nan, hits / np.maximum(rows, 1))
        found[name] = metrics.balanced_accuracy(recall)
        if name == "pgd20":
            continue
        shots = metrics.shot_groups(recall, class_counts, shot_splits)
        found |= {f"{name}_{shot}": value for shot, value in shots.items()}
        found[f"{name}_worst"] = metrics.worst_class(recall)
        many, few = shots["many"], shots["few"]
        gap = None if many is None or few is None else many - few
        found[f"{name}_disparity"] = gap
    return found
