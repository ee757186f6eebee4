"""Fixtures of pytest: `pytest_plugins = "ltbench.testing.fixtures"` in a conftest.py has them."""

import pytest

from ltbench.testing.task import MarkedTask


@pytest.fixture
def marked_task() -> MarkedTask:
    """Rows of which those that are held out hold a mark, and a spy who looks for it."""
    return MarkedTask()
