"""Numbers of released code, from a folder `oracles` beside that of the data sets."""

import json
import os
from pathlib import Path

import pytest


def oracle(name):
    """What a file of numbers holds; a test without it is skipped."""
    data = os.environ.get("LTBENCH_DATA")
    file = Path(data or "").resolve().parent / "oracles" / f"{name}.json"
    if not data or not file.is_file():
        pytest.skip(f"no {name}.json in a folder oracles beside LTBENCH_DATA")
    return json.loads(file.read_text(encoding="utf-8"))
