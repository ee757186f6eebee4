"""The checks that every method must pass; none of them knows a formula or a method's name."""

import copy
import io
import math
import pickle
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ltbench import environment
from ltbench.context import Batch, Phase, Rows
from ltbench.engine import State
from ltbench.errors import Diverged, LTBenchError
from ltbench.method import Method
from ltbench.recipes import Recipe
from ltbench.testing.estimators import on_estimators, run_marked
from ltbench.testing.probes import as_recipe, probe_loss, probe_run, probe_scores
from ltbench.testing.task import (
    BATCH,
    MARK,
    SHAPE,
    Spy,
    Trained,
    counts_for,
    marked,
    rows_of,
    trained,
)
from ltbench.tracks import recognition

Status = Literal["passed", "failed", "expected", "not applicable"]


class NotApplicable(Exception):
    """There is nothing to check, and why."""


class Failure(Exception):
    """A check that failed: what was expected, what was seen, and the mend."""


def expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise Failure(otherwise)


@dataclass(frozen=True)
class Finding:
    """What one check found; `text` says what was expected, what was seen, and the mend."""

    check: str
    status: Status
    text: str = ""


@dataclass(frozen=True)
class Report:
    """The findings of every check on one recipe."""

    recipe: str
    findings: list[Finding]

    @property
    def passed(self) -> bool:
        return all(finding.status != "failed" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        return {"passed": self.passed, **asdict(self)}

    def __str__(self) -> str:
        count = sum(finding.status == "passed" for finding in self.findings)
        lines = [f"{self.recipe}: {'ok' if self.passed else 'FAILED'}, {count} checks passed"]
        for finding in self.findings:
            if finding.status not in ("passed", "not applicable"):
                lines.append(f"  {finding.check}: {finding.status}: {finding.text}")
        return "\n".join(lines)


def check_method(recipe: str | Method) -> Report:
    """Every check on one method or recipe: on the CPU, offline, in seconds."""
    method = as_recipe(recipe)
    if "ipc" in method.all_needs:
        from ltbench.testing.distilled import CHECKS as OF_DISTILLERS

        return report(method, OF_DISTILLERS)
    if method.all_needs & {"teacher", "ood"}:
        from ltbench.testing.compressed import CHECKS as OF_COMPRESSORS

        return report(method, OF_COMPRESSORS)
    unmet = method.all_needs - {"two_classes", "test_inputs", "ordered"}
    if unmet:
        text = f"it needs {', '.join(sorted(unmet))}, which the checks cannot supply"
        return Report(method.text, [Finding(name, "not applicable", text) for name in CHECKS])
    return report(method, CHECKS)


def report(method: Recipe, checks: Mapping[str, Callable[[Recipe], None]]) -> Report:
    """The findings of some checks, against what the methods say that they cannot pass."""
    expected = {c: why for part in method.methods for c, why in part.expected_failures.items()}
    findings = []
    for name, check in checks.items():
        finding = _finding(name, check, method)
        if name in expected:
            finding = (
                Finding(name, "expected", expected[name])
                if finding.status == "failed"
                else Finding(name, "failed", "it passes after all; take it off expected_failures")
            )
        findings.append(finding)
    return Report(method.text, findings)


def _finding(name: str, check: Callable[[Recipe], None], method: Recipe) -> Finding:
    try:
        with environment.own(threads=1, seed=0):
            check(copy.deepcopy(method))
    except NotApplicable as reason:
        return Finding(name, "not applicable", str(reason))
    except Failure as failure:
        return Finding(name, "failed", str(failure))
    # A method under check may raise anything at all, and that is a finding.
    except Exception as error:
        return Finding(name, "failed", f"it raised {type(error).__name__}: {error}")
    return Finding(name, "passed")


def _train(method: Recipe, **options: Any) -> Trained:
    """A short training of a fresh copy, on as many classes as the method takes."""
    return trained(copy.deepcopy(method), counts_for(method), **options)


def _refuse_estimators(method: Recipe) -> None:
    if on_estimators(method):
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


def neutral_is_plain(method: Recipe) -> None:
    neutral = [part.neutral for part in method.methods]
    if None in neutral:
        raise NotApplicable("it states no parameters at which it is plain training")
    parts = zip(method.methods, neutral, strict=True)
    idle = _train(Recipe(*(type(part)(**given or {}) for part, given in parts)))
    plain = trained(Method(), counts_for(method))
    expect(
        torch.equal(idle.scores, plain.scores),
        f"expected the bits of plain training at {neutral}, but scores differ by up to "
        f"{(idle.scores - plain.scores).abs().max():.2g}; mend the formula or `neutral`",
    )


def same_seed_same_bits(method: Recipe) -> None:
    first, second = _train(method), _train(method)
    differing = _same(first.state, second.state)
    expect(
        not differing,
        f"expected one seed to give one network, but {', '.join(differing)} differ; "
        "draw from run.rng, never from a global generator",
    )


def inputs_and_chance_untouched(method: Recipe) -> None:
    rows = rows_of(counts_for(method))
    before = Rows(rows.inputs.clone(), rows.labels.clone())
    states = (torch.get_rng_state(), numpy_state(), random.getstate())
    _train(method, rows=rows)
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


def class_names_do_not_matter(method: Recipe) -> None:
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


def rare_classes_are_handled(method: Recipe) -> None:
    few: tuple[tuple[int, ...], ...] = ((29, 2, 1), (30, 1, 1))
    if "two_classes" in method.all_needs:
        few = ((30, 2), (31, 1))
    for counts in few:
        try:
            scores = trained(copy.deepcopy(method), counts).scores
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


def any_number_of_classes(method: Recipe) -> None:
    many = tuple(max(2, rows // 4) for rows in range(101, 1, -1))
    for counts in ((20, 10), many):
        if "two_classes" in method.all_needs and len(counts) > 2:
            continue
        scores = trained(copy.deepcopy(method), counts).scores
        expect(
            scores.shape[1] == len(counts) and torch.isfinite(scores).all(),
            f"expected finite scores for {len(counts)} classes, but saw {list(scores.shape)}",
        )


def held_out_rows_stay_out(method: Recipe) -> None:
    classes = min(3, len(counts_for(method)))
    spy = Spy()
    if on_estimators(method):
        run_marked(Recipe(*method.methods, spy), rows_of([20] * classes), MARK)
    else:
        protocol, dataset = marked(classes)
        recognition.run(protocol, Recipe(*method.methods, spy), 0, dataset, torch.device("cpu"))
    expect(
        spy.called and not spy.seen,
        f"expected training rows alone, but held-out ones reached {', '.join(sorted(spy.seen))}",
    )


def it_pickles(method: Recipe) -> None:
    again = pickle.loads(pickle.dumps(method))
    expect(
        again.text == method.text,
        f"expected {method.text} back from a pickle, but got {again.text}",
    )
    first, second = _train(method), _train(again)
    expect(
        torch.equal(first.scores, second.scores),
        "expected a pickled copy to train to the same bits; store parameters as they are given",
    )
    trained(again, counts_for(method))
    pickle.dumps(again)  # also once it has trained


def it_resumes(method: Recipe) -> None:
    _refuse_estimators(method)
    states: list[bytes] = []
    whole = _train(method, checkpoint=lambda state: states.append(_bytes(state)))
    for state in (states[0], states[len(states) // 2], states[-1]):
        kept = torch.load(io.BytesIO(state), weights_only=True)
        resumed = _train(method, resume=kept)
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


def frozen_parts_stay(method: Recipe) -> None:
    _refuse_estimators(method)
    plan = _plan(method)
    if not any(phase.learn for phase in plan):
        raise NotApplicable("no phase freezes a part of the network")
    states: dict[int, State] = {}

    def keep(state: State) -> None:
        states[state["position"]] = copy.deepcopy(state["model"])

    _train(method, checkpoint=keep)
    for position, phase in enumerate(plan):
        if position > 0 and phase.learn:
            moved = _same(states[position - 1], states[position])
            wrong = [name for name in moved if not f"{name}.".startswith(f"{phase.learn}.")]
            expect(
                not wrong,
                f"expected phase {phase.role} to leave all but {phase.learn} alone, buffers "
                f"included, but {', '.join(wrong)} changed; set frozen_bn",
            )


def statistics_move_once_a_step(method: Recipe) -> None:
    _refuse_estimators(method)
    plan = _plan(method)
    moving = sum(phase.epochs for phase in plan if not (phase.frozen_bn or phase.on_features))
    steps = moving * math.ceil(sum(counts_for(method)) / BATCH)
    state = _train(method).model.state_dict()
    seen = {int(value) for name, value in state.items() if name.endswith("num_batches_tracked")}
    expect(
        seen <= {steps},
        f"expected BatchNorm statistics to move once in each of {steps} steps, but they moved "
        f"{seen} times; a second pass belongs in the closure, which holds them still",
    )


def shapes_and_kinds_are_kept(method: Recipe) -> None:
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


def rows_are_decided_alone(method: Recipe) -> None:
    run = probe_run(method, counts_for(method), torch.float32)
    scores = torch.randn(8, run.num_classes, generator=run.rng)
    together = method.decide(method.scores(scores, run), run)
    alone = [method.decide(method.scores(row, run), run) for row in scores.split(1)]
    expect(
        torch.equal(together, torch.cat(alone)),
        "expected a row's label not to depend on the other rows, but it does; what uses the test "
        "inputs together belongs in adapt",
    )


def empty_class_is_refused(method: Recipe) -> None:
    try:
        trained(method, (10, 0, 5), rows=rows_of((10, 0, 5)))
    except LTBenchError as refusal:
        expect("no training rows" in str(refusal), f"expected one sentence, but saw: {refusal}")
    else:
        raise AssertionError("expected a class without rows to be refused, but training went on")


CHECKS: dict[str, Callable[[Recipe], None]] = {
    check.__name__.replace("_", " "): check
    for check in (
        neutral_is_plain,
        same_seed_same_bits,
        inputs_and_chance_untouched,
        class_names_do_not_matter,
        rare_classes_are_handled,
        any_number_of_classes,
        held_out_rows_stay_out,
        it_pickles,
        it_resumes,
        frozen_parts_stay,
        statistics_move_once_a_step,
        shapes_and_kinds_are_kept,
        rows_are_decided_alone,
        empty_class_is_refused,
    )
}
