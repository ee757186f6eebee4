"""For a plugin's own suite: every check of a method as a test of pytest."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Check
from ltbench.registry.registry import Registry, registry_of
from ltbench.testing.checks import checks_of
from ltbench.testing.report import Failure, Finding, NotApplicable, expected_of
from ltbench.training import environment

if TYPE_CHECKING:
    import pytest


def parametrize_with_checks(
    recipes: Sequence[str | Method | type[Method]],
    plugins: Sequence[str | Path] = (),
    thorough: bool = False,
) -> "pytest.MarkDecorator":
    """Has pytest run each check of each recipe as a test of its own, of a function of two values.

    It decorates `def test_checks(method, check): check(method)`. `recipes` are texts, methods or
    classes of methods; `plugins` are single files that bring them; `thorough` adds the checks that
    run whole cells. What a method says in `expected_failures` is a strict xfail with its reason: a
    check that passes after all fails. A check that has nothing to look at is skipped.

    Raises:
        LTBenchError: an unknown name, or a recipe in conflict with itself.
    """
    import pytest

    registry = registry_of(plugins)
    cases = [
        case for one in recipes for case in _cases(_as_recipe(one, registry), registry, thorough)
    ]
    parameters = [
        pytest.param(
            method,
            check,
            id=f"{method.text}: {check.name}",
            marks=[pytest.mark.xfail(reason=check.expected, strict=True)] * bool(check.expected),
        )
        for method, check in cases
    ]
    return pytest.mark.parametrize(("method", "check"), parameters)


@dataclass(frozen=True)
class CheckOfSuite:
    """A check as a test calls it. What the method itself raises keeps its traceback."""

    name: str
    check: Check
    expected: str = ""

    def __call__(self, method: Recipe) -> None:
        import pytest

        try:
            with environment.own(threads=1, seed=0):
                self.check(copy.deepcopy(method))
        except NotApplicable as reason:
            if not self.expected:  # else there is no failure either, which is told
                pytest.skip(str(reason))
        except Failure as failure:
            pytest.fail(str(failure), pytrace=False)


def _as_recipe(given: str | Method | type[Method], registry: Registry) -> Recipe:
    if isinstance(given, Method) and not isinstance(given, Recipe):
        return Recipe(given)
    if isinstance(given, type) and issubclass(given, Method):
        return Recipe(given())
    return registry.recipe(given)


def _cases(
    method: Recipe, registry: Registry, thorough: bool
) -> Iterator[tuple[Recipe, CheckOfSuite]]:
    checks, instead = checks_of(method, registry, thorough)
    if instead is not None:
        yield method, CheckOfSuite(instead.check, _telling(instead))
    expected = expected_of(method)
    for name, check in checks.items():
        yield method, CheckOfSuite(name, check, expected.get(name, ""))


def _telling(finding: Finding) -> Check:
    """A check that finds what is known already."""

    def tell(method: Any) -> None:
        raise (Failure if finding.status == "failed" else NotApplicable)(finding.text)

    return tell
