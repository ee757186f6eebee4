"""What tests of methods that tell domains apart share: a run on rows of several domains."""

import torch

from ltbench import Batch, Output, Rows, recipe
from ltbench.testing.probes import probe_run
from ltbench.tracks.domains.contract import DomainGrants
from ltbench.training.engine import objective

CELLS = [[100, 10, 1], [2, 20, 50]]  # of two domains and three classes


def run_of(text, cells=CELLS, model=None, progress=1.0, inputs=None):
    """A recipe and its run, on as many rows of each cell as `cells` [G, C] say."""
    method, cells = recipe(text), torch.tensor(cells, dtype=torch.float64)
    run = probe_run(method, cells.sum(0), torch.float64, progress)
    places = torch.arange(cells.numel()).repeat_interleave(cells.flatten().long())
    classes = cells.shape[1]
    inputs = torch.zeros(len(places), 1, dtype=torch.float64) if inputs is None else inputs
    run.train = Rows(inputs, places % classes, groups=places // classes)
    run.granted, run.model = DomainGrants(cells=cells), model
    if model is not None:
        run.model = method.build(model, run)
    method.prepare(run)
    return method, run


def loss_of(method, run, scores, labels, groups, features=None):
    """The scalar that a method would minimise for rows of domains `groups` [N]."""
    features = scores.new_zeros(len(scores), 1) if features is None else features
    batch = Batch(features, [(labels, 1.0)], torch.arange(len(labels)), groups=(groups,))
    return objective(method, Output((scores,), features), method.batch(batch, run), run)


def float64(values):
    return torch.tensor(values, dtype=torch.float64)
