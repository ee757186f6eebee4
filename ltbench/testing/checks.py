"""The checks that every method must pass; none of them knows a formula or a method's name."""

import copy
import io
import math
import pickle
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltbench.contract.context import Batch, Phase, Rows
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.errors import Diverged, LTBenchError
from ltbench.registry.registry import Registry, installed
from ltbench.testing.probes import as_recipe, probe_loss, probe_run, probe_scores
from ltbench.testing.report import Failure, Finding, NotApplicable, Report, expect, report
from ltbench.testing.task import BATCH, SHAPE, Task, counts_for, rows_of
from ltbench.training.engine import State
from ltbench.training.failures import named


def check_method(recipe: str | Method, registry: Registry | None = None) -> Report:
    """Every check on one method or recipe: on the CPU, offline, in seconds.

    The checks are those of the first track that has any for it. A track that raises when asked for
    them is passed over, and told of where no other has any.
    """
    method, broken = as_recipe(recipe), []
    for track in (registry or installed()).tracks().values():
        try:
            checks = dict(track.checks(method) or {})
        # A track may be a stranger's; what it raises must not cost the methods of others.
        except (Exception, SystemExit) as error:
            broken.append(f"track {track.name}, asked for its checks, raised {named(error)}")
            continue
        if checks:
            return report(method, checks)
    if broken:
        return Report(method.text, [Finding("all", "failed", "; ".join(broken))])
    needs = ", ".join(sorted(method.all_needs)) or "nothing"
    text = f"it needs {needs}, and no track has checks for that"
    return Report(method.text, [Finding("all", "not applicable", text)])


def _refuse_without_steps(task: Task) -> None:
    if not task.in_steps:
        raise NotApplicable("it builds estimators, which are not trained in steps")


def _plan(method: Recipe) -> list[Phase]:
    run = probe_run(method, counts_for(method), torch.float32)
    return method.phases([Phase("main", 3, 0.05, 1e-3)], run)


def _same(first: State, second: State) -> list[str]:
    """The entries in which two state dicts differ in a bit."""
    keys = first.keys() | second.keys()
    return sorted(
        k for k in keys if not (k in first and k in second and torch.equal(first[k], second[k]))
    )


def neutral_is_plain(method: Recipe, task: Task) -> None:
    neutral = [part.neutral for part in method.methods]
    if None in neutral:
        raise NotApplicable("it states no parameters at which it is plain training")
    parts = zip(method.methods, neutral, strict=True)
    idle = task.train(Recipe(*(type(part)(**given or {}) for part, given in parts)))
    plain = task.trained(Method(), counts_for(method))
    expect(
        torch.equal(idle.scores, plain.scores),
        f"expected the bits of plain training at {neutral}, but scores differ by up to "
        f"{(idle.scores - plain.scores).abs().max():.2g}; mend the formula or `neutral`",
    )


def same_seed_same_bits(method: Recipe, task: Task) -> None:
    first, second = task.train(method), task.train(method)
    differing = _same(first.state, second.state)
    expect(
        not differing,
        f"expected one seed to give one network, but {', '.join(differing)} differ; "
        "draw from run.rng, never from a global generator",
    )


def inputs_and_chance_untouched(method: Recipe, task: Task) -> None:
    rows = rows_of(counts_for(method))
    before = Rows(rows.inputs.clone(), rows.labels.clone())
    states = (torch.get_rng_state(), numpy_state(), random.getstate())
    task.train(method, rows=rows)
    expect(
        torch.equal(rows.inputs, before.inputs) and torch.equal(rows.labels, before.labels),
        "expected the training rows as they were, but they changed; work on a copy",
    )
    expect(
        torch.equal(states[0], torch.get_rng_state())
        and np.array_equal(states[1], numpy_state())
        and states[2] == random.getstate(),
        "expected the global generators as they were, but one moved on; draw from run.rng",
    )


def numpy_state() -> Any:
    return np.random.get_state(legacy=False)["state"]["key"].copy()


def class_names_do_not_matter(method: Recipe, task: Task) -> None:
    counts = torch.tensor(counts_for(method))
    classes = len(counts)
    order = torch.randperm(classes, generator=torch.Generator().manual_seed(1))
    new_name = order.argsort()
    chance = torch.Generator().manual_seed(0)
    scores = torch.randn(12, classes, generator=chance, dtype=torch.float64)
    features = torch.randn(12, 6, generator=chance, dtype=torch.float64)
    labels = torch.arange(12) % classes
    for progress in (0.0, 1.0):
        loss, slope = _loss_and_slope(method, scores, labels, counts, progress, features)
        renamed, slope_renamed = _loss_and_slope(
            method, scores[:, order], new_name[labels], counts[order], progress, features
        )
        close = torch.allclose(loss, renamed) and torch.allclose(slope[:, order], slope_renamed)
        expect(
            close,
            f"expected the same loss under other class names, but saw {loss:.6g} and "
            f"{renamed:.6g}; a class's number must not count",
        )
    after = probe_scores(method, scores, counts)[:, order]
    expect(
        torch.allclose(after, probe_scores(method, scores[:, order], counts[order])),
        "expected permuted scores under permuted class names; a class's number must not count",
    )


def _loss_and_slope(
    method: Recipe,
    scores: Tensor,
    labels: Tensor,
    counts: Tensor,
    progress: float,
    features: Tensor,
) -> tuple[Tensor, Tensor]:
    scores = scores.clone().requires_grad_()
    loss = probe_loss(method, scores, labels, counts, progress, features)
    (slope,) = torch.autograd.grad(loss, scores)
    return loss.detach(), slope


def rare_classes_are_handled(method: Recipe, task: Task) -> None:
    few: tuple[tuple[int, ...], ...] = ((29, 2, 1), (30, 1, 1))
    if "two_classes" in method.all_needs:
        few = ((30, 2), (31, 1))
    for counts in few:
        try:
            scores = task.trained(copy.deepcopy(method), counts).scores
        except Diverged as error:
            raise Failure(
                f"expected numbers with {counts} rows a class, but {error}; "
                "guard the division, or raise LTBenchError with a sentence"
            ) from None
        except LTBenchError:
            continue  # refused in a sentence
        expect(
            torch.isfinite(scores).all(),
            f"expected numbers with {counts} rows a class, but scores are not finite; "
            "guard the division, or raise LTBenchError with a sentence",
        )


def any_number_of_classes(method: Recipe, task: Task) -> None:
    many = tuple(max(2, rows // 4) for rows in range(101, 1, -1))
    for counts in ((20, 10), many):
        if "two_classes" in method.all_needs and len(counts) > 2:
            continue
        scores = task.trained(copy.deepcopy(method), counts).scores
        expect(
            scores.shape[1] == len(counts) and torch.isfinite(scores).all(),
            f"expected finite scores for {len(counts)} classes, but saw {list(scores.shape)}",
        )


def it_pickles(method: Recipe, task: Task) -> None:
    again = pickle.loads(pickle.dumps(method))
    expect(
        again.text == method.text,
        f"expected {method.text} back from a pickle, but got {again.text}",
    )
    first, second = task.train(method), task.train(again)
    expect(
        torch.equal(first.scores, second.scores),
        "expected a pickled copy to train to the same bits; store parameters as they are given",
    )
    task.trained(again, counts_for(method))
    pickle.dumps(again)  # also once it has trained


def it_resumes(method: Recipe, task: Task) -> None:
    _refuse_without_steps(task)
    states: list[bytes] = []
    whole = task.train(method, checkpoint=lambda state: states.append(_bytes(state)))
    for state in (states[0], states[len(states) // 2], states[-1]):
        kept = torch.load(io.BytesIO(state), weights_only=True)
        resumed = task.train(method, resume=kept)
        differing = _same(whole.model.state_dict(), resumed.model.state_dict())
        expect(
            not differing,
            f"expected a training resumed after epoch {kept['epoch']} of phase "
            f"{kept['position'] + 1} to end in the same bits, but {', '.join(differing)} differ; "
            "keep state in the network or the optimizer, not in the method",
        )
        expect(
            torch.equal(whole.scores, resumed.scores),
            f"expected a training resumed after epoch {kept['epoch']} of phase "
            f"{kept['position'] + 1} to end in the same scores, but they differ by up to "
            f"{(whole.scores - resumed.scores).abs().max():.2g}; set constants in prepare",
        )


def _bytes(state: State) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def frozen_parts_stay(method: Recipe, task: Task) -> None:
    _refuse_without_steps(task)
    plan = _plan(method)
    if not any(phase.learn for phase in plan):
        raise NotApplicable("no phase freezes a part of the network")
    states: dict[int, State] = {}

    def keep(state: State) -> None:
        states[state["position"]] = copy.deepcopy(state["model"])

    task.train(method, checkpoint=keep)
    for position, phase in enumerate(plan):
        if position > 0 and phase.learn:
            moved = _same(states[position - 1], states[position])
            wrong = [name for name in moved if not f"{name}.".startswith(f"{phase.learn}.")]
            expect(
                not wrong,
                f"expected phase {phase.role} to leave all but {phase.learn} alone, buffers "
                f"included, but {', '.join(wrong)} changed; set frozen_bn",
            )


def statistics_move_once_a_step(method: Recipe, task: Task) -> None:
    _refuse_without_steps(task)
    plan = _plan(method)
    moving = sum(phase.epochs for phase in plan if not (phase.frozen_bn or phase.on_features))
    steps = moving * math.ceil(sum(counts_for(method)) / BATCH)
    state = task.train(method).model.state_dict()
    seen = {int(value) for name, value in state.items() if name.endswith("num_batches_tracked")}
    expect(
        seen <= {steps},
        f"expected BatchNorm statistics to move once in each of {steps} steps, but they moved "
        f"{seen} times; a second pass belongs in the closure, which holds them still",
    )


def shapes_and_kinds_are_kept(method: Recipe, task: Task) -> None:
    for dtype in (torch.float32, torch.float64):
        run = probe_run(method, counts_for(method), dtype)
        labels = torch.arange(8) % run.num_classes
        scores = torch.randn(8, run.num_classes, generator=run.rng).to(dtype)
        adjusted = method.adjust(scores, labels, run)
        _alike("adjust", adjusted, scores.shape, dtype)
        _alike("criterion", method.criterion(adjusted, labels, run), labels.shape, dtype)
        weight = method.weight(labels, run)
        if weight is not None:
            _alike("weight", weight, labels.shape, dtype)
        after = method.scores(scores, run)
        _alike("scores", after, scores.shape, dtype)
        _alike("decide", method.decide(after, run), labels.shape, torch.int64)
        inputs = torch.randn(8, *SHAPE, generator=run.rng).to(dtype)
        batch = method.batch(Batch(inputs, [(labels, 1.0)], torch.arange(8)), run)
        _alike("batch", batch.inputs, batch.inputs.shape, dtype)


def _alike(hook: str, found: Tensor, shape: Sequence[int], dtype: torch.dtype) -> None:
    expect(
        (list(found.shape), found.dtype) == (list(shape), dtype),
        f"expected {hook} to give {dtype} {list(shape)}, but saw {found.dtype} {list(found.shape)}",
    )


def rows_are_decided_alone(method: Recipe, task: Task) -> None:
    run = probe_run(method, counts_for(method), torch.float32)
    scores = torch.randn(8, run.num_classes, generator=run.rng)
    together = method.decide(method.scores(scores, run), run)
    alone = [method.decide(method.scores(row, run), run) for row in scores.split(1)]
    expect(
        torch.equal(together, torch.cat(alone)),
        "expected a row's label not to depend on the other rows, but it does; what uses the test "
        "inputs together belongs in adapt",
    )


def classes_without_rows_are_handled(method: Recipe, task: Task) -> None:
    empty: tuple[tuple[int, ...], ...] = ((10, 0, 5), (10, 5, 0))
    if "two_classes" in method.all_needs:
        empty = ((10, 0), (0, 10))
    for counts in empty:
        try:
            scores = task.trained(copy.deepcopy(method), counts).scores
        except Diverged as error:
            raise Failure(
                f"expected numbers with {counts} rows a class, but {error}; run.counts is 1 for a "
                "class without rows"
            ) from None
        except LTBenchError:
            continue  # refused in a sentence
        expect(
            scores.shape[1] == len(counts) and torch.isfinite(scores).all(),
            f"expected finite scores with {counts} rows a class, but saw others; run.counts is 1 "
            "for a class without rows, and what counts rows itself may find none",
        )


SHARED: tuple[Callable[..., None], ...] = (
    neutral_is_plain,
    same_seed_same_bits,
    inputs_and_chance_untouched,
    class_names_do_not_matter,
    rare_classes_are_handled,
    any_number_of_classes,
    it_pickles,
    it_resumes,
    frozen_parts_stay,
    statistics_move_once_a_step,
    shapes_and_kinds_are_kept,
    rows_are_decided_alone,
    classes_without_rows_are_handled,
)


def shared(task: Task) -> dict[str, Callable[[Recipe], None]]:
    """The checks that hold on any track, with how this one trains on the small task."""
    return {one.__name__.replace("_", " "): partial(one, task=task) for one in SHARED}
