"""Where records stand if nothing else is said."""

import os
from pathlib import Path


def results_folder() -> Path:
    """The folder that LTBENCH_RESULTS names, or `leaderboards` in the working folder."""
    told = os.environ.get("LTBENCH_RESULTS", "").strip()
    return Path(os.path.expanduser(told or "leaderboards"))
