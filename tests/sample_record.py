"""One record with its arrays, for tests of what is done with records."""

import numpy as np

from ltbench.results.records import Origin, Record, Timing

RECORD = Record(
    protocol="tiny",
    version=1,
    hash="0123456789abcdef",
    track="recognition",
    fingerprint="c10b9250e22f3a67",
    recipe="sam(rho=0.8)",
    parameters={"sam": {"rho": 0.8}},
    plugins={"sam": Origin("ltbench", "0.1.0", "aaaa")},
    seed=3,
    status="ok",
    environment={"cpu": "a processor", "threads": 1},
    measures={"balanced_accuracy": 0.1 + 0.2, "few": None},
    timing=Timing(1.0, 1.0, 0.5, 2.0, 2.0, 3.5),
)
PREDICTIONS = {
    "labels": np.array([0, 1], dtype=np.uint8),
    "predicted": np.array([1, 1], dtype=np.uint8),
    "confidence": np.array([0.5, 0.75], dtype=np.float32),
}
