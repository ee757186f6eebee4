"""For authors of methods: the checks every method must pass, and probes of its formulas."""

from ltbench.testing.checks import check_method
from ltbench.testing.probes import probe_loss, probe_scores, probe_steps
from ltbench.testing.report import Report

__all__ = ["Report", "check_method", "probe_loss", "probe_scores", "probe_steps"]
