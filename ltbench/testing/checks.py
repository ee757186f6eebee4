"""The checks that every method must pass; none of them knows a formula or a method's name."""

import copy
import io
import math
import pickle
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltbench.contract.context import Batch, Output, Rows
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.spaces import require_sound
from ltbench.contract.track import Check
from ltbench.errors import Diverged, LTBenchError
from ltbench.models.mlp import Network, Options
from ltbench.registry.registry import Registry, installed
from ltbench.testing.probes import as_recipe, planned, probe_loss, probe_run, probe_scores
from ltbench.testing.report import Failure, Finding, NotApplicable, Report, expect, report
from ltbench.testing.task import BATCH, SHAPE, Task, counts_for, rows_of, statistics_watched
from ltbench.training.engine import State
from ltbench.training.failures import named

DRAWS = 200  # of what a method draws, over which a mean is told
ALONE = (
    "expected a row's label not to depend on the other rows, but it does; a network is told to "
    "evaluate, and what uses the test inputs together belongs in adapt"
)


def check_method(
    recipe: str | Method, registry: Registry | None = None, thorough: bool = False
) -> Report:
    """Every check on one method or recipe: on the CPU, offline, in seconds.

    The checks are those of the first track that has any for it; `thorough` adds those that run
    whole cells. A track that raises when asked for its checks is passed over, and told of where no
    other has any.
    """
    method = as_recipe(recipe)
    checks, instead = checks_of(method, registry, thorough)
    return report(method, checks) if instead is None else Report(method.text, [instead])


def checks_of(
    method: Recipe, registry: Registry | None = None, thorough: bool = False
) -> tuple[Mapping[str, Check], Finding | None]:
    """The checks of a recipe by name, or a finding that says why there are none."""
    broken = []
    for track in (registry or installed()).tracks().values():
        try:
            checks = dict(track.checks(method) or {})
            if checks and thorough:
                checks |= track.thorough(method)
        # A track may be a stranger's; what it raises must not cost the methods of others.
        except (Exception, SystemExit) as error:
            broken.append(f"track {track.name}, asked for its checks, raised {named(error)}")
            continue
        if checks:
            return checks, None
    if broken:
        return {}, Finding("all", "failed", "; ".join(broken))
    needs = ", ".join(sorted(method.all_needs)) or "nothing"
    return {}, Finding(
        "all", "not applicable", f"it needs {needs}, and no track has checks for that"
    )


def _refuse_without_steps(task: Task) -> None:
    if not task.in_steps:
        raise NotApplicable("it builds estimators, which are not trained in steps")


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
    for role in [phase.role for phase in planned(method, counts)]:
        for progress in (0.0, 1.0):
            at = {"progress": progress, "features": features, "role": role}
            plain = partial(_loss_and_slope, method, scores, labels, counts, **at)
            renamed = partial(
                _loss_and_slope, method, scores[:, order], new_name[labels], counts[order], **at
            )
            with _if_probed(role):
                _expect_renamed(plain, renamed, order)
    after = probe_scores(method, scores, counts)[:, order]
    expect(
        torch.allclose(after, probe_scores(method, scores[:, order], counts[order])),
        "expected permuted scores under permuted class names; a class's number must not count",
    )


@contextmanager
def _if_probed(role: str) -> Iterator[None]:
    """Passes over a further phase in which a method acts on what probes lack, such as its rows.

    In the main one a method must do without. That it works in any is for trainings to show.
    """
    try:
        yield
    except AttributeError as error:
        if role == "main" or error.obj is not None:
            raise


def _expect_renamed(
    plain: Callable[..., Tensor], renamed: Callable[..., Tensor], order: Tensor
) -> None:
    """Losses and slopes must be those of other class names, if only on average over draws."""
    index = torch.cat([torch.zeros(1, dtype=torch.long), 1 + order])
    first, second = plain(seed=0)[:, index], renamed(seed=0)
    close = torch.allclose(first, second)
    if not close and not torch.equal(plain(seed=0), plain(seed=1)):
        draws = [torch.stack([one(seed=k) for k in range(DRAWS)]) for one in (plain, renamed)]
        gap = (draws[0].mean(0)[:, index] - draws[1].mean(0)).abs()
        error = (draws[0].var(0)[:, index] + draws[1].var(0)).div(DRAWS).sqrt()
        close = bool((gap <= 5 * error + 1e-6).all())
    expect(
        close,
        f"expected the same loss under other class names, but saw {first[0, 0]:.6g} and "
        f"{second[0, 0]:.6g}; a class's number must not count. What is drawn for each class may "
        "move the loss by chance, but not its mean over draws",
    )


def _loss_and_slope(
    method: Recipe, scores: Tensor, labels: Tensor, counts: Tensor, **at: Any
) -> Tensor:
    """The loss, once for each row, and beside it its slope in the scores: [N, 1 + C]."""
    scores = scores.clone().requires_grad_()
    loss = probe_loss(method, scores, labels, counts, **at)
    if loss.requires_grad:  # a phase may learn without scores
        loss.backward()
    slope = torch.zeros_like(scores) if scores.grad is None else scores.grad
    return torch.cat([loss.detach().expand(len(scores), 1), slope], dim=1)


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


def equal_counts_are_handled(method: Recipe, task: Task) -> None:
    counts = (10, 10) if "two_classes" in method.all_needs else (10, 10, 10)
    try:
        scores = task.trained(copy.deepcopy(method), counts).scores
    except Diverged as error:
        raise Failure(
            f"expected numbers where all classes have 10 rows, but {error}; a difference between "
            "the largest and the smallest class is 0 there"
        ) from None
    except LTBenchError:
        return  # refused in a sentence
    expect(
        torch.isfinite(scores).all(),
        "expected numbers where all classes have 10 rows, but scores are not finite; a difference "
        "between the largest and the smallest class is 0 there",
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
        for name, network in whole.run.kept.items():
            again = resumed.run.kept[name].state_dict() if name in resumed.run.kept else {}
            differing += [f"{name}.{one}" for one in _same(network.state_dict(), again)]
        expect(
            not differing,
            f"expected a training resumed after epoch {kept['epoch']} of phase "
            f"{kept['position'] + 1} to end in the same bits, but {', '.join(differing)} differ; "
            "keep state in the network, in run.keep or the optimizer, not in the method",
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
    plan = planned(method, counts_for(method))
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
                f"included, but {', '.join(wrong)} changed; set frozen_bn, or, where the source "
                "lets statistics move, say so in expected_failures",
            )


def statistics_move_once_a_step(method: Recipe, task: Task) -> None:
    _refuse_without_steps(task)
    plan = planned(method, counts_for(method))
    moving = sum(phase.epochs for phase in plan if not (phase.frozen_bn or phase.on_features))
    steps = moving * math.ceil(sum(counts_for(method)) / BATCH)
    with statistics_watched() as moved:
        model = task.train(method).model
    for name, module in model.named_modules():
        expect(
            moved.get(module, steps) == steps,
            f"expected BatchNorm statistics to move once in each of {steps} steps, but those of "
            f"{name} moved {moved[module]} times; a second pass belongs in the closure, which "
            "holds them still",
        )


def shapes_and_kinds_are_kept(method: Recipe, task: Task) -> None:
    for dtype in (torch.float32, torch.float64):
        for phase in planned(method, counts_for(method), dtype):
            with _if_probed(phase.role):
                network = None if phase.role == "main" else _network(method)
                run = probe_run(method, counts_for(method), dtype, 1.0, phase, network)
                labels = torch.arange(8) % run.num_classes
                scores = torch.randn(8, run.num_classes, generator=run.rng).to(dtype)
                run.output = Output((scores,), scores.new_zeros(8, 6))
                adjusted = method.adjust(scores, labels, run)
                _alike("adjust", adjusted, scores.shape, dtype)
                _alike("criterion", method.criterion(adjusted, labels, run), labels.shape, dtype)
                weight = method.weight(labels, run)
                if weight is not None:
                    _alike("weight", weight, labels.shape, dtype)
        run = probe_run(method, counts_for(method), dtype)
        labels = torch.arange(8) % run.num_classes
        scores = torch.randn(8, run.num_classes, generator=run.rng).to(dtype)
        after = method.scores(scores, run)
        _alike("scores", after, scores.shape, dtype)
        _alike("decide", method.decide(after, run), labels.shape, torch.int64)
        inputs = torch.randn(8, *SHAPE, generator=run.rng).to(dtype)
        batch = method.batch(Batch(inputs, [(labels, 1.0)], torch.arange(8)), run)
        _alike("batch", batch.inputs, batch.inputs.shape, dtype)


def _network(method: Recipe) -> Network:
    with torch.random.fork_rng(devices=[]):
        return Network(SHAPE, len(counts_for(method)), Options([16], batch_norm=True))


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
        ALONE,
    )
    expect_decided_alone(task.train(method).predict)


def expect_decided_alone(predict: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
    """A model as a whole must say of each row the same in any company: heads, scores, decisions."""
    inputs = rows_of([8, 8], seed=2).inputs
    together = predict(inputs)
    alone = [torch.cat(parts) for parts in zip(*map(predict, inputs.split(8)), strict=True)]
    expect(
        torch.allclose(together[0], alone[0], rtol=1e-4, atol=1e-4)
        and torch.equal(together[1], alone[1]),
        ALONE,
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


def search_spaces_are_sound(method: Recipe, task: Task) -> None:
    if not any(part.space for part in method.methods):
        raise NotApplicable("it declares nothing to tune")
    for part in method.methods:
        try:
            require_sound(type(part))
        except LTBenchError as error:
            raise Failure(f"expected values that its parameters take, but {error}") from None


SHARED: tuple[Callable[..., None], ...] = (
    neutral_is_plain,
    same_seed_same_bits,
    inputs_and_chance_untouched,
    class_names_do_not_matter,
    rare_classes_are_handled,
    equal_counts_are_handled,
    any_number_of_classes,
    it_pickles,
    it_resumes,
    frozen_parts_stay,
    statistics_move_once_a_step,
    shapes_and_kinds_are_kept,
    rows_are_decided_alone,
    classes_without_rows_are_handled,
    search_spaces_are_sound,
)


def shared(task: Task) -> dict[str, Callable[[Recipe], None]]:
    """The checks that hold on any track, with how this one trains on the small task."""
    return {one.__name__.replace("_", " "): partial(one, task=task) for one in SHARED}
