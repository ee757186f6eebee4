"""Self-training: the value of labels, its semi-supervised part (Yang and Xu, NeurIPS 2020)."""

from dataclasses import replace

import torch

from ltbench import Method, Rows, hookimpl
from ltbench.tracks.semi.contract import POOL, pool_of, room


class SelfTraining(Method):
    """Trains, gives each row of the pool its likeliest class, and trains anew on all of them.

    No row is left out, however doubtful. The second training has the whole budget and begins with
    fresh weights; what corrects the prior sees the pseudo-labels counted, in `run.seen`.
    """

    name = "self-training"
    reference = "arXiv:2006.07529"
    needs = frozenset({POOL})

    def build(self, model, run):
        unknown = torch.full((room(run),), -1, device=run.device)
        model.register_buffer("pool_labels", unknown)
        return model

    def phases(self, plan, run):
        again = f"{plan[-1].role} 2"
        return [*plan, replace(plan[-1], role=again, reset="")]

    def enter(self, train, run):
        pool, again = pool_of(run), run.phase.role.endswith(" 2")
        if pool is None or not again:
            return train
        labels = run.model.pool_labels
        if (labels < 0).any():  # else it goes on, with those it had
            labels.copy_(run.scores(pool).argmax(dim=1))
        return Rows(torch.cat([train.inputs, pool]), torch.cat([train.labels, labels]))


@hookimpl
def register_methods(register):
    register(SelfTraining)
