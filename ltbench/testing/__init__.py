"""For authors: the checks every method must pass, probes of formulas, what a suite is made of."""

from ltbench.testing.checks import check_method, shared
from ltbench.testing.probes import probe_loss, probe_scores, probe_steps
from ltbench.testing.report import Report, expect, named
from ltbench.testing.suites import parametrize_with_checks
from ltbench.testing.task import MarkedTask, Task, rows_of, trained

__all__ = [
    "MarkedTask",
    "Report",
    "Task",
    "check_method",
    "expect",
    "named",
    "parametrize_with_checks",
    "probe_loss",
    "probe_scores",
    "probe_steps",
    "rows_of",
    "shared",
    "trained",
]
