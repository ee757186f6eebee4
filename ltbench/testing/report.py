"""What checks find, and how they say it."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ltbench.contract.recipes import Recipe
from ltbench.texts import traced
from ltbench.training import environment, failures

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
    """What one check found; `text` says what was expected, what was seen, and the mend.

    `trace` is the traceback of what the method raised, where that was asked for.
    """

    check: str
    status: Status
    text: str = ""
    trace: str = ""


@dataclass(frozen=True)
class Report:
    """The findings of every check on one recipe."""

    recipe: str
    findings: list[Finding]

    @property
    def passed(self) -> bool:
        return all(finding.status != "failed" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        told = [
            {key: value for key, value in asdict(one).items() if key != "trace" or value}
            for one in self.findings
        ]
        return {"passed": self.passed, "recipe": self.recipe, "findings": told}

    def __str__(self) -> str:
        count = sum(finding.status == "passed" for finding in self.findings)
        lines = [f"{self.recipe}: {'ok' if self.passed else 'FAILED'}, {count} checks passed"]
        said: dict[tuple[str, str, str], list[str]] = {}
        for finding in self.findings:
            if finding.status not in ("passed", "not applicable"):
                alike = finding.status, finding.text, finding.trace
                said.setdefault(alike, []).append(finding.check)
        for (status, text, trace), checks in said.items():
            lines.append(f"  {', '.join(checks)}: {status}: {text}")
            lines += [f"    {line}" for line in trace.splitlines()]
        return "\n".join(lines)


def report(method: Recipe, checks: Mapping[str, Callable[[Recipe], None]]) -> Report:
    """The findings of some checks, against what the methods say that they cannot pass."""
    expected = expected_of(method)
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


def expected_of(method: Recipe) -> dict[str, str]:
    """The checks that the methods of a recipe say they cannot pass, with the reasons."""
    return {name: why for part in method.methods for name, why in part.expected_failures.items()}


def _finding(name: str, check: Callable[[Recipe], None], method: Recipe) -> Finding:
    came: list[int] = []
    try:
        with environment.interrupts(came), environment.own(threads=1, seed=0):
            check(copy.deepcopy(method))
    except NotApplicable as reason:
        return Finding(name, "not applicable", str(reason))
    except Failure as failure:
        return Finding(name, "failed", str(failure))
    # A method under check may raise anything at all, and that is a finding.
    except BaseException as error:
        if came:  # it is the user who wants to stop
            raise
        return Finding(name, "failed", f"it raised {failures.placed(error, method)}", traced(error))
    return Finding(name, "passed")


def named(found: Sequence[Callable[[Recipe], None]]) -> dict[str, Callable[[Recipe], None]]:
    """Checks by what they hold, which their names say."""
    return {one.__name__.replace("_", " "): one for one in found}
