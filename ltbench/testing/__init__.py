"""For authors: the checks every method must pass, probes of formulas, what checks are made of."""

from ltbench.testing.checks import check_method, shared
from ltbench.testing.probes import probe_loss, probe_scores, probe_steps
from ltbench.testing.report import Report, expect, named
from ltbench.testing.task import Task, rows_of, trained

__all__ = [
    "Report",
    "Task",
    "check_method",
    "expect",
    "named",
    "probe_loss",
    "probe_scores",
    "probe_steps",
    "rows_of",
    "shared",
    "trained",
]
