"""Recipes: "ldam+drw+sam(rho=0.8)" becomes one composed method, or a named conflict."""

import ast
import re
from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from ltbench import validation
from ltbench.contract.context import Batch, Output, Phase, Rows, Run
from ltbench.contract.method import (
    HOOKS,
    NAME,
    Closure,
    Method,
    declared,
    hooks,
    spelled,
    values,
)
from ltbench.errors import LTBenchError
from ltbench.texts import composed, line, readable

PART = re.compile(rf"\s*(?P<name>{NAME.pattern})\s*(\((?P<arguments>.*)\))?\s*", re.DOTALL)
LONGEST = 1000  # characters; a recipe names a folder and a row, so it is short

DRAWS = {"resample", "sampling_weights"}
AROUND = {"resample", "finish", "combine", "scores", "decide"}
IN_ORDER = ("resample", "build", "phases", "enter", "batch", "adjust", "finish", "scores")


class Recipe(Method):
    """Methods that act as one: each hook goes through those that override it.

    Hooks of the track's `contract` are composed by their own rules.

    Raises:
        LTBenchError: two owners of a hook that has one, or a method named twice.
    """

    contract: type[Method] = Method

    def __init__(self, *methods: Method, contract: type[Method] = Method) -> None:
        acting = [method for method in methods if hooks(type(method))] or list(methods[:1])
        _refuse_conflicts(acting)
        self.methods, self.contract = _in_canonical_order(acting), contract
        self.text = "+".join(map(spelled, self.methods))
        self.warnings = _prior_warnings(self.methods)
        self._chains: dict[tuple[str, str | None], tuple[Method, ...]] = {}

    def __repr__(self) -> str:
        return f"Recipe({self.text!r})"

    @property
    def all_needs(self) -> frozenset[str]:
        return frozenset().union(*(method.needs for method in self.methods))

    def chain(self, hook: str, run: Run) -> tuple[Method, ...]:
        """The methods whose `hook` acts now, in order."""
        rules = HOOKS if hook in HOOKS else declared(self.contract)
        role = self.role(run) if rules[hook].training else None
        key = (hook, role)
        if key not in self._chains:
            self._chains[key] = tuple(
                method
                for method in self.methods
                if hook in hooks(type(method)) and (role is None or role in method.roles)
            )
        return self._chains[key]

    def role(self, run: Run) -> str:
        """The role in which methods act now."""
        return run.phase.role

    def owner(self, hook: str, run: Run) -> Method:
        chain = self.chain(hook, run)
        return chain[0] if chain else PLAIN

    def resample(self, train: Rows, run: Run) -> Rows:
        for method in self.chain("resample", run):
            train = method.resample(train, run)
        return train

    def build(self, model: nn.Module, run: Run) -> nn.Module:
        for method in self.chain("build", run):
            model = method.build(model, run)
        return model

    def phases(self, plan: list[Phase], run: Run) -> list[Phase]:
        for method in self.chain("phases", run):
            plan = method.phases(plan, run)
            roles = [phase.role for phase in plan]
            for role in roles:
                if roles.count(role) > 1:
                    raise LTBenchError(
                        f"{method.name} adds a phase {role!r}, but another method of "
                        f"{self.text} has added one; leave one of them out"
                    )
        return plan

    def enter(self, train: Rows, run: Run) -> Rows:
        for method in self.chain("enter", run):
            train = method.enter(train, run)
        return train

    def sampling_weights(self, labels: Tensor, run: Run) -> Tensor | None:
        return self.owner("sampling_weights", run).sampling_weights(labels, run)

    def prepare(self, run: Run) -> None:
        for method in self.chain("prepare", run):
            method.prepare(run)

    def optimizer(self, model: nn.Module, run: Run) -> torch.optim.Optimizer:
        return self.owner("optimizer", run).optimizer(model, run)

    def batch(self, batch: Batch, run: Run) -> Batch:
        for method in self.chain("batch", run):
            batch = method.batch(batch, run)
        return batch

    def adjust(self, scores: Tensor, labels: Tensor, run: Run) -> Tensor:
        for method in self.chain("adjust", run):
            scores = method.adjust(scores, labels, run)
        return scores

    def weight(self, labels: Tensor, run: Run) -> Tensor | None:
        product = None
        for method in self.chain("weight", run):
            factor = method.weight(labels, run)
            if factor is not None:
                product = factor if product is None else product * factor
        return product

    def criterion(self, scores: Tensor, labels: Tensor, run: Run) -> Tensor:
        return self.owner("criterion", run).criterion(scores, labels, run)

    def extra(self, output: Output, batch: Batch, run: Run) -> Tensor | None:
        return total(m.extra(output, batch, run) for m in self.chain("extra", run))

    def beside(self, output: Output, batch: Batch, run: Run) -> list[Tensor | None]:
        """The scalars that are added to the loss, one after the other."""
        return [self.extra(output, batch, run)]

    def step(self, closure: Closure, optimizer: torch.optim.Optimizer, run: Run) -> None:
        self.owner("step", run).step(closure, optimizer, run)

    def finish(self, model: nn.Module, validation: Rows | None, run: Run) -> nn.Module:
        for method in self.chain("finish", run):
            model = method.finish(model, validation, run)
        return model

    def combine(self, output: Output, run: Run) -> Tensor:
        return self.owner("combine", run).combine(output, run)

    def scores(self, scores: Tensor, run: Run) -> Tensor:
        for method in self.chain("scores", run):
            scores = method.scores(scores, run)
        return scores

    def decide(self, scores: Tensor, run: Run) -> Tensor:
        return self.owner("decide", run).decide(scores, run)

    def adapt(self, model: nn.Module, inputs: Tensor, run: Run) -> nn.Module:
        return self.owner("adapt", run).adapt(model, inputs, run)

    def __getattr__(self, name: str) -> Any:
        """A hook of the track's contract, as the methods of the recipe make it together."""
        rule = declared(self.contract).get(name)
        if rule is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

        def composed(*given: Any) -> Any:
            run = next(one for one in given if isinstance(one, Run))
            acting = self.chain(name, run)
            if rule.through:
                first, *others = given
                for method in acting:
                    first = getattr(method, name)(first, *others)
                return first
            if rule.join is not None:
                return rule.join([getattr(method, name)(*given) for method in acting])
            return getattr(acting[0] if acting else self.contract(), name)(*given)

        return composed

    @property
    def adapts(self) -> bool:
        """Whether a method of this recipe uses unlabelled test inputs."""
        return any("adapt" in hooks(type(method)) for method in self.methods)


PLAIN = Method()


def total(terms: Iterable[Tensor | None]) -> Tensor | None:
    """The sum of the terms that are there."""
    total = None
    for term in terms:
        if term is not None:
            total = term if total is None else total + term
    return total


def recipe(text: str, find: Callable[[str], type[Method]]) -> Recipe:
    """The composed method that `text` spells; `find` gives the class of a method's name.

    Raises:
        LTBenchError: a malformed text, an unknown name or parameter, a conflict.
    """
    return Recipe(*(make(find(name), given) for name, given in parse(text)))


def make(method: type[Method], given: dict[str, Any]) -> Method:
    """A method with its parameters checked.

    Raises:
        LTBenchError: a value is refused, or what the method keeps of it cannot be written down.
    """
    checked = validation.check(method.name, method, given)
    try:
        made = method(**checked)
        kept = values(made)
    # A stranger's constructor may raise anything at all.
    except Exception as error:
        raise LTBenchError(f"{method.name}: {line(error)}") from error
    for name, value in kept.items():
        if not validation.is_literal(value):
            told = validation.shown(value)
            raise LTBenchError(f"{method.name} keeps {told} as self.{name}, which is no literal")
    return made


def parse(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The names of a recipe with the literal arguments of each; nothing is evaluated."""
    if len(text) > LONGEST:
        raise LTBenchError(f"recipe of {len(text)} characters; at most {LONGEST} are read")
    if readable(text) != text:
        raise LTBenchError(f"recipe {readable(text)!r} is not written in UTF-8")
    text, parsed = composed(text), []
    for part in _split(text):
        match = PART.fullmatch(part)
        if match is None:
            raise LTBenchError(
                f"malformed recipe {text!r} at {part.strip()!r}; "
                "a recipe looks like 'ldam+drw+sam(rho=0.8)'"
            )
        parsed.append((match["name"], _arguments(match["arguments"] or "", text)))
    return parsed


def _split(text: str) -> list[str]:
    """The parts of a recipe between the "+" that stand outside of brackets."""
    depth, parts = 0, [""]
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "+" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _arguments(text: str, whole: str) -> dict[str, Any]:
    try:
        match ast.parse(f"_({text}\n)", mode="eval").body:
            case ast.Call(func=ast.Name(id="_"), args=[], keywords=keywords):
                return {_keyword(k): _literal(k.value) for k in keywords}
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        pass
    raise LTBenchError(
        f"malformed arguments ({text}) in recipe {whole!r}; "
        "arguments are literals by name, as in 'sam(rho=0.8)'"
    )


def _keyword(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise ValueError("** in place of a name")
    return keyword.arg


def _literal(node: ast.expr) -> Any:
    """A literal's value; inf and nan are let through, to be refused as what they are."""
    text = ast.unparse(node)
    return float(text) if text.lstrip("-") in ("inf", "nan") else ast.literal_eval(node)


def _meet(first: Method, second: Method, hook: str) -> bool:
    """Whether two methods override a hook and can both act in it."""
    both = hook in hooks(type(first)) and hook in hooks(type(second))
    rules = declared(type(first))
    return both and (not rules[hook].training or bool(set(first.roles) & set(second.roles)))


def _refuse_conflicts(methods: Iterable[Method]) -> None:
    for first, second in combinations(methods, 2):
        if first.name == second.name:
            raise LTBenchError(f"{first.name} stands twice in one recipe")
        for hook, rule in declared(type(first)).items():
            if not rule.many and _meet(first, second, hook):
                raise LTBenchError(f"{first.name} and {second.name} both {rule.decides}")


def _in_canonical_order(methods: list[Method]) -> list[Method]:
    """Methods by their first hook, then name; those that meet in an ordered hook stay as given."""
    waiting, ordered = list(methods), []
    while waiting:
        free = [
            method
            for position, method in enumerate(waiting)
            if not any(
                _meet(earlier, method, h)
                for earlier in waiting[:position]
                for h in (*IN_ORDER, *_through(method))
            )
        ]
        first = min(free, key=lambda method: (_first_hook(method), method.name))
        waiting.remove(first)
        ordered.append(first)
    return ordered


def _through(method: Method) -> list[str]:
    """The hooks of a track's own that hand on what they are given."""
    return [name for name, rule in declared(type(method)).items() if rule.through]


def _first_hook(method: Method) -> int:
    known = list(declared(type(method)))
    own = [known.index(hook) for hook in hooks(type(method)) if hook != "prepare"]
    return min(own, default=len(known))  # prepare says nothing of the idea


def _prior_warnings(methods: Iterable[Method]) -> list[str]:
    warnings = []
    correcting = [method for method in methods if method.corrects == "prior"]
    for first, second in combinations(correcting, 2):
        if not _act_together(first, second):
            continue
        drawn = [m.name for m in (first, second) if DRAWS & set(hooks(type(m)))]
        if len(drawn) == 1:
            other = second.name if drawn[0] == first.name else first.name
            warnings.append(
                f"{drawn[0]} evens out the classes already; {other} corrects only what that leaves"
            )
        else:
            warnings.append(f"{first.name} and {second.name} both correct the prior")
    return warnings


def _act_together(first: Method, second: Method) -> bool:
    """Whether both act in one phase, or one of them before or after all phases."""
    outside = any((AROUND & set(hooks(type(method)))) for method in (first, second))
    return outside or bool(set(first.roles) & set(second.roles))
