"""What a method that takes several labels a row must pass."""

from dataclasses import replace

import torch
from torch.nn.functional import one_hot

from ltbench import Phase, Run
from ltbench.testing import Task, expect, named, rows_of, shared, trained
from ltbench_acme.contract import LabelGrants, LabelRecipe

ON_ONE_LABEL = {
    "class names do not matter",
    "rows are decided alone",
    "shapes and kinds are kept",
}
"""Shared checks that call hooks with one label a row."""


def checks():
    found = shared(Task(trained_on_labels)) | named([label_names_do_not_matter])
    return {name: check for name, check in found.items() if name not in ON_ONE_LABEL}


def trained_on_labels(method, counts, rows=None, **more):
    """A short training on the small task, where every other row has a second label."""
    rows = rows_of(counts) if rows is None else rows
    labels = one_hot(rows.labels, len(counts)).float()
    labels[::2] = torch.maximum(labels, labels.roll(1, dims=1))[::2]
    recipe = LabelRecipe(*getattr(method, "methods", [method]))
    more["granted"] = LabelGrants(rows=len(rows))
    return trained(recipe, labels.sum(dim=0).tolist(), replace(rows, labels=labels), **more)


def label_names_do_not_matter(method):
    chance = torch.Generator().manual_seed(0)
    scores = torch.randn(12, 4, generator=chance)
    labels = (torch.rand(12, 4, generator=chance) < 0.4).float()
    counts, order = torch.tensor([40.0, 20.0, 5.0, 1.0]), torch.tensor([2, 0, 3, 1])
    losses = losses_of(method, scores, labels, counts)
    renamed = losses_of(method, scores[:, order], labels[:, order], counts[order])
    expect(
        torch.allclose(losses, renamed),
        "expected the same losses under other label names, but they differ by up to "
        f"{(losses - renamed).abs().max():.2g}; a label's number must not count",
    )


def losses_of(method, scores, labels, counts):
    """The loss [N] of each row at the end of a training."""
    recipe = LabelRecipe(*method.methods)
    run = Run(
        counts=counts,
        seen=counts / counts.sum(),
        progress=torch.ones(()),
        phase=Phase("main", epochs=1, lr=0.1, weight_decay=0.0),
        granted=LabelGrants(rows=50),
    )
    recipe.prepare(run)
    return recipe.criterion(scores, labels, run)
