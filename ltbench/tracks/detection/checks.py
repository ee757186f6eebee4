"""The checks of a method that acts on stored scores; none knows a formula."""

import copy
import pickle
import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ltbench.contract.method import hooks
from ltbench.contract.recipes import Recipe
from ltbench.contract.spaces import require_sound
from ltbench.contract.track import Check
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Compute, Data, Scoring
from ltbench.testing.checks import numpy_state
from ltbench.testing.report import Failure, NotApplicable, expect, named
from ltbench.tracks.detection.boxes import Boxes
from ltbench.tracks.detection.contract import ACTING, Head
from ltbench.tracks.detection.cutting import Told, cut
from ltbench.tracks.detection.problem import Detection, Keep
from ltbench.tracks.detection.stored import Facts, Stored
from ltbench.tracks.detection.track import SUPPLIES, acting, answer, of_cut

CPU = torch.device("cpu")
COUNTS = (40, 20, 6, 4)  # boxes of each class to train on
PICTURES, EACH = 6, 4  # of the small task, and proposals in each picture
HEADS: tuple[Head, ...] = ("softmax", "sigmoid")


def checks(recipe: Recipe) -> Mapping[str, Check]:
    """The checks of a recipe that acts on stored scores and asks for what is told of boxes."""
    of_networks = all("network" in method.models for method in recipe.methods)
    if not of_networks or not recipe.all_needs & SUPPLIES or recipe.all_needs - SUPPLIES:
        return {}
    return named(
        (
            acts_on_scores_alone,
            same_seed_same_bits,
            neutral_leaves_scores,
            class_names_do_not_matter,
            inputs_and_chance_untouched,
            shapes_and_kinds_are_kept,
            proposals_are_scored_alone,
            facts_stay_as_they_are,
            rare_classes_are_handled,
            truth_changes_nothing,
            what_is_to_tune_can_be,
            travels,
        )
    )


def facts_of(counts: tuple[int, ...] = COUNTS) -> Facts:
    """Boxes to train on, of which every other class lies around a point."""
    chance = np.random.RandomState(0)
    labels = np.repeat(np.arange(len(counts)), counts)
    places = chance.rand(len(labels), 2)
    around = labels % 2 == 1
    places[around] = (0.5 + 0.05 * chance.randn(int(around.sum()), 2)).clip(0, 0.99)
    images = np.array([max(n - n // 4, min(n, 1)) for n in counts])
    return Facts(places, labels, images, 60)


def logits(head: Head, rows: int = 12, dtype: torch.dtype = torch.float64) -> Tensor:
    """Some scores [rows, K] of four classes."""
    chance = torch.Generator().manual_seed(0)
    columns = len(COUNTS) + (head == "softmax")
    return 2 * torch.randn(rows, columns, generator=chance, dtype=dtype)


def made(recipe: Recipe, head: Head, scores: Tensor, facts: Facts | None = None) -> Tensor:
    """What a fresh copy of a recipe makes of scores."""
    run = acting(Told(head, facts or facts_of()), len(COUNTS), 7, CPU)
    return copy.deepcopy(recipe).scores(scores, run)


def acts_on_scores_alone(method: Recipe) -> None:
    idle = [
        f"{part.name} overrides {hook}"
        for part in method.methods
        for hook in hooks(type(part))
        if hook not in ACTING
    ]
    expect(not idle, f"expected scores and decide alone, but {', '.join(idle)}: nothing is trained")


def same_seed_same_bits(method: Recipe) -> None:
    for head in HEADS:
        first, second = (made(method, head, logits(head)) for _ in range(2))
        expect(
            torch.equal(first, second),
            "expected one seed to give the same scores; draw from run.rng, never from a global "
            "generator",
        )


def neutral_leaves_scores(method: Recipe) -> None:
    neutral = [part.neutral for part in method.methods]
    if None in neutral:
        raise NotApplicable("it states no parameters at which scores stay as they are")
    parts = zip(method.methods, neutral, strict=True)
    idle = Recipe(*(type(part)(**given or {}) for part, given in parts))
    for head in HEADS:
        found = made(idle, head, logits(head))
        expect(
            torch.equal(found, logits(head)),
            f"expected the bits of plain scores at {neutral}, but they differ by up to "
            f"{(found - logits(head)).abs().max():.2g}; mend the formula or `neutral`",
        )


def class_names_do_not_matter(method: Recipe) -> None:
    order = torch.tensor([2, 0, 3, 1])
    facts = facts_of()
    renamed = replace(
        facts, labels=order.argsort().numpy()[facts.labels], images=facts.images[order.numpy()]
    )
    for head in HEADS:
        scores = logits(head)
        every = torch.cat([order, torch.arange(len(COUNTS), scores.shape[1])])
        plain = made(method, head, scores)[:, every]
        found = made(method, head, scores[:, every], renamed)
        expect(
            torch.allclose(plain, found),
            "expected permuted scores under permuted class names, but they differ by up to "
            f"{(plain - found).abs().max():.2g}; a class's number must not count",
        )


def inputs_and_chance_untouched(method: Recipe) -> None:
    states = (torch.get_rng_state(), numpy_state(), random.getstate())
    for head in HEADS:
        scores = logits(head)
        made(method, head, scores)
        expect(
            torch.equal(scores, logits(head)),
            "expected stored scores as they were, but they changed; work on a copy",
        )
    expect(
        torch.equal(states[0], torch.get_rng_state())
        and np.array_equal(states[1], numpy_state())
        and states[2] == random.getstate(),
        "expected the global generators as they were, but one moved on; draw from run.rng",
    )


def shapes_and_kinds_are_kept(method: Recipe) -> None:
    for head in HEADS:
        for dtype in (torch.float32, torch.float64):
            scores = logits(head, dtype=dtype)
            found = made(method, head, scores)
            expect(
                (found.shape, found.dtype) == (scores.shape, dtype)
                and bool(found.isfinite().all()),
                f"expected finite scores {dtype} {list(scores.shape)}, but saw {found.dtype} "
                f"{list(found.shape)}",
            )


def proposals_are_scored_alone(method: Recipe) -> None:
    for head in HEADS:
        scores = logits(head)
        whole, half = made(method, head, scores), made(method, head, scores[:5])
        expect(
            torch.allclose(whole[:5], half),
            "expected a proposal's scores not to depend on the others, but they do; what uses "
            "test scores together belongs to no hook of this track",
        )


def facts_stay_as_they_are(method: Recipe) -> None:
    run = acting(Told("softmax", facts_of()), len(COUNTS), 7, CPU)
    before = copy.deepcopy(run.granted), run.counts.clone()
    copy.deepcopy(method).scores(logits("softmax"), run)
    same = all(
        torch.equal(getattr(before[0], name), getattr(run.granted, name))
        for name in ("locations", "labels", "images")
    )
    expect(
        same and torch.equal(before[1], run.counts),
        "expected what is granted as it was, but it changed; work on a copy",
    )


def rare_classes_are_handled(method: Recipe) -> None:
    """Classes with two boxes, one or none to train on must have finite scores."""
    for head in HEADS:
        found = made(method, head, logits(head), facts_of((30, 2, 1, 0)))
        expect(
            bool(found.isfinite().all()),
            "expected finite scores where a class has no box to train on, but some are not; "
            "run.counts is at least one",
        )


def small(truth: Boxes | None = None) -> tuple[Detection, Stored]:
    """A small protocol of stored scores, and these."""
    where = np.repeat(np.arange(PICTURES), EACH)
    left = np.tile(np.arange(EACH) * 10.0, PICTURES)
    corners = np.stack([left, left, left + 8, left + 8], axis=1)
    proposals = Boxes(where, corners, np.full(len(where), -1))
    told = truth or Boxes(where, corners, np.arange(len(where)) % len(COUNTS))
    stored = Stored(
        classes=tuple("abcd"),
        head="softmax",
        logits=logits("softmax", len(where)).numpy(),
        proposals=proposals,
        truth=told,
        sizes=np.full((PICTURES, 2), 48.0),
        facts=facts_of(),
    )
    protocol = Detection(
        name="check",
        version=1,
        description="",
        recipes=["erm"],
        seeds=1,
        compute=Compute(threads=1),
        data=Data("check", stored.fingerprint),
        keep=Keep(most=3, overlap=0.3, floor=1e-3),
        scoring=Scoring(metrics=["ap"], shot_splits=(5, 10)),
    )
    return protocol, stored


def truth_changes_nothing(method: Recipe) -> None:
    """A cell must answer alike whatever the boxes of the truth are."""
    said = []
    _, plain = small()
    for labels in (plain.truth.labels, len(COUNTS) - 1 - plain.truth.labels):
        protocol, stored = small(replace(plain.truth, labels=labels))
        divided = of_cut(protocol, 0, cut(protocol, stored, 0))
        recipe = copy.deepcopy(method)
        said.append(answer(protocol, recipe, 0, divided.given, divided.ask, CPU).scores)
    expect(torch.equal(*said), "expected the same scores whatever the truth is, but they differ")


def what_is_to_tune_can_be(method: Recipe) -> None:
    for part in method.methods:
        try:
            require_sound(type(part))
        except LTBenchError as error:
            raise Failure(f"expected values that its parameters take, but {error}") from None


def travels(method: Recipe) -> None:
    copied = pickle.loads(pickle.dumps(method))
    first, second = (made(one, "softmax", logits("softmax")) for one in (method, copied))
    expect(
        torch.equal(first, second), "expected a pickled method to act as before, but it does not"
    )
