"""Seconds that a compression takes, and the latency of the student beside its teacher's."""

import copy
import time

import pytest
import torch

from ltbench import protocol, recipe
from ltbench.registry.registry import installed
from ltbench.tracks import classification
from ltbench.tracks.compression import track as compression
from ltbench.tracks.compression.contract import CompressionGrants, Recovering
from ltbench.training.engine import train
from ltbench.training.environment import own

DIGITS = protocol("compress-digits")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prepared():
    """The few rows of a cell, its teacher and its pool."""
    source = installed().track("compression").load(installed(), DIGITS)[""]
    parts = classification.split(DIGITS, source, 0)
    with own(threads=1, seed=0):
        teacher = compression.Teachers(DIGITS, parts, 0, CPU)()
    return compression.few(DIGITS, parts, 0)[0], teacher, source.pool


def compress(text, prepared):
    rows, teacher, pool = prepared
    run = classification.begin(DIGITS, rows, 0, CPU)
    run.model = copy.deepcopy(teacher).requires_grad_(True)
    run.granted = CompressionGrants(
        run=run, teacher=teacher, compressing=DIGITS.compressing, ood=pool
    )
    recovering = Recovering(*recipe(text).methods)
    return train(recovering, rows.train, run, DIGITS.budget.batch_size)


@pytest.mark.benchmark(group="one compression, compress-digits", timer=time.process_time)
@pytest.mark.parametrize(
    "text", ["l1", "bp", "kd", "mir", "fskd", "cd", "kd+oe-fsmc", "fskd+oe-fsmc", "teacher-class"]
)
def test_one_compression(benchmark, text, prepared):
    with own(threads=1, seed=0):
        benchmark.pedantic(lambda: compress(text, prepared), rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="predicting 64 rows")
@pytest.mark.parametrize("who", ["teacher", "student"])
def test_latency(benchmark, who, prepared):
    rows, teacher, _ = prepared
    student = compress("l1", prepared)
    network = {"teacher": teacher, "student": student}[who]
    inputs = rows.train.inputs[:64]
    with own(threads=1, seed=0), torch.no_grad():
        ratio = compression.latency(student, teacher, inputs)
        benchmark.pedantic(lambda: network(inputs), rounds=50, warmup_rounds=5)
    benchmark.extra_info["student over teacher"] = round(ratio, 3)
