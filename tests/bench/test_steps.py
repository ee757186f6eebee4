"""One training step of each method on digits-lt: read the ratios to erm, not the microseconds."""

import pytest
import torch

from ltbench import Batch, protocol, recipe
from ltbench.datasets import built_in
from ltbench.tracks import classification
from ltbench.training.engine import LossClosure, draw, shares
from ltbench.training.environment import own

DIGITS = protocol("digits-lt")


def a_step(text):
    """A function that makes one step of a recipe, and another, and another."""
    method = recipe(text)
    device = torch.device("cpu")
    parts = classification.split(DIGITS, built_in()["digits"](), 0)
    run = classification.begin(DIGITS, parts, 0, device)
    rows = method.resample(parts.train, run)
    run.model = method.build(run.model, run).train()
    run.seen = shares(rows.labels, method.sampling_weights(rows.labels, run), run.counts)
    run.progress.fill_(0.9)
    method.prepare(run)
    closure = LossClosure(method, method.optimizer(run.model, run), run)
    index = draw(len(rows), DIGITS.budget.batch_size, None, run.rng)
    batch = Batch(rows.inputs[index], [(rows.labels[index], 1.0)], index)
    loss = torch.zeros(())

    def step():
        closure.take(method.batch(batch, run), loss)
        method.step(closure, closure.optimizer, run)

    return step


@pytest.mark.benchmark(group="one step")
@pytest.mark.parametrize("text", DIGITS.recipes)
def test_step(benchmark, text):
    with own(threads=1, seed=0):
        benchmark.pedantic(a_step(text), rounds=200, iterations=5, warmup_rounds=20)
