"""ResNet-32 cells beside the loop of most research code: read `ratio`, on a quiet machine."""

import os

import numpy as np
import pytest
from side_by_side import images_a_second, ratio

ROUNDS = 5
USUAL = "usual steps=8"
OURS = "ours memory_format=channels_last steps=16"
CORES = os.cpu_count() or 1


def turns(benchmark, ways):
    """Images a second of each way in each round; the last way is what the clock shows."""
    rates = {name: [] for name in ways}

    def a_round():
        for name, programs in ways.items():
            rates[name].append(images_a_second(*programs))

    benchmark.pedantic(a_round, rounds=ROUNDS)
    benchmark.extra_info["images_a_second"] = {k: round(np.median(v)) for k, v in rates.items()}
    return rates


@pytest.mark.benchmark(group="a sweep of ResNet-32 cells on every core")
def test_sweep(benchmark):
    ways = {
        "usual, as most start it": [USUAL] * CORES,
        "usual, one thread each": [f"{USUAL} threads=1"] * CORES,
        "ours, float32": [f"{OURS} threads=1"] * CORES,
        "ours, bfloat16": [f"{OURS} threads=1 precision=bfloat16"] * CORES,
    }
    rates = turns(benchmark, ways)
    for peer in list(ways)[:2]:
        for mine in list(ways)[2:]:
            benchmark.extra_info[f"{mine} / {peer}"] = ratio(rates[mine], rates[peer])


@pytest.mark.benchmark(group="one ResNet-32 cell")
def test_one_cell(benchmark):
    ways = {
        "usual": [USUAL],
        "ours, float32": [f"{OURS} threads={CORES}"],
        "ours, bfloat16": [f"{OURS} threads={CORES} precision=bfloat16"],
    }
    rates = turns(benchmark, ways)
    for mine in list(ways)[1:]:
        benchmark.extra_info[f"{mine} / usual"] = ratio(rates[mine], rates["usual"])
