"""Resamplers on 100,000 x 50 float32 rows, one in ten of them rare, beside imbalanced-learn's.

`ratio` in `extra_info` is our processor time over theirs, medians of calls in turn: our wrapping
should cost less than 5 %. ENN and Tomek links look at all rows against all, which takes minutes.
"""

import imblearn.over_sampling as over
import imblearn.under_sampling as under
import numpy as np
import pytest
import torch

from ltbench import Rows, recipe
from ltbench.testing.probes import probe_run
from ltbench.training.environment import own
from ltbench.training.timing import Clock

THEIRS = {
    "smote": lambda: over.SMOTE(random_state=0),
    "borderline-smote": lambda: over.BorderlineSMOTE(random_state=0),
    "adasyn": lambda: over.ADASYN(random_state=0),
    "nearmiss": lambda: under.NearMiss(),
    "enn": lambda: under.EditedNearestNeighbours(),
    "tomek-links": lambda: under.TomekLinks(),
}


@pytest.fixture(scope="module")
def rows():
    random = np.random.RandomState(0)
    labels = (np.arange(100_000) % 10 == 0).astype(np.int64)
    inputs = random.randn(100_000, 50).astype(np.float32) + 0.3 * labels[:, None]
    return inputs.astype(np.float32), labels


def ours(name, inputs, labels):
    method = recipe(name)
    run = probe_run(method, np.bincount(labels).tolist(), torch.float32)
    train = Rows(torch.from_numpy(inputs), torch.from_numpy(labels))
    return lambda: method.resample(train, run)


@pytest.mark.parametrize("name", THEIRS)
def test_resampler(benchmark, rows, name):
    calls = {"ours": ours(name, *rows), "theirs": lambda: THEIRS[name]().fit_resample(*rows)}
    work = {who: [] for who in calls}
    peaks = {}
    with own(threads=1, seed=0):
        for _ in range(1 if name in ("enn", "tomek-links") else 5):
            for who, call in calls.items():
                with Clock(torch.device("cpu")) as clock:
                    call()
                work[who].append(clock.work)
                peaks[who] = round(clock.peak_memory_mb)
        benchmark.extra_info["ratio"] = float(np.median(work["ours"]) / np.median(work["theirs"]))
        benchmark.extra_info["peak_memory_mb"] = peaks
        benchmark.pedantic(calls["ours"], rounds=1, iterations=1)
