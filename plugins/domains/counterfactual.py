"""Counterfactual knowledge distillation: what flips a decision without being the object is added
under its old label (Hackstein and Bender, 2025)."""

from dataclasses import replace
from typing import Annotated

import torch
from msgspec import Meta
from torch.autograd import grad

from ltbench import LTBenchError, Method, Rows, hookimpl
from ltbench.tracks.domains.contract import ANNOTATOR


class Counterfactual(Method):
    """Trains a student plainly, looks for small changes of its rare training rows that flip what it
    decides, and keeps those of which an expert says that the object is the same. They are added
    under the labels they had, and the student trains on, by whatever else a recipe does.

    Rare rows are of classes below the mean size. A change sets at most so many `edits` numbers of
    an input to the least or the largest there is, each that by which the class's lead falls most
    along its gradient.

    The paper's generator, numbers and data could not be read, and no code of it was found: the
    changes, the one round and the rare rows are ours. With changed rows of frequent classes, which
    are many, the rare ones were lost among them.
    """

    name = "counterfactual"
    reference = "arXiv:2510.27650"
    needs = frozenset({ANNOTATOR})

    def __init__(self, edits: Annotated[int, Meta(ge=1)] = 4):
        self.edits = edits

    def build(self, model, run):
        shape = (1, 1) if run.train is None else (len(run.train), *run.train.shape)
        model.register_buffer("changed", torch.zeros(shape[0], dtype=torch.bool))
        model.register_buffer("changes", torch.zeros(shape))
        model.register_buffer("looked", torch.zeros((), dtype=torch.bool))
        return model.to(run.device)

    def phases(self, plan, run):
        at = next(k for k, phase in enumerate(plan) if phase.role == "main")
        return [*plan[:at], replace(plan[at], role="student"), *plan[at:]]

    def enter(self, train, run):
        model = run.model
        if not model.looked:  # else it goes on, with those it had
            changes, flipped = edited(train.inputs, train.labels, run, self.edits)
            rare = (run.counts < run.counts.mean())[train.labels]
            model.changed |= rare & flipped & ~run.granted.annotate(train.inputs, changes)
            model.changes.copy_(changes)
            model.looked.fill_(True)
        places = model.changed.nonzero()[:, 0]
        run.note(f"{len(places)} rows were added in which what was planted had changed")
        added = replace(train[places], inputs=model.changes[places])
        return joined(train, added)


def edited(inputs, labels, run, edits):
    """Inputs [N, ...] of which a few numbers are set to an end, and whether that flips them [N]."""
    if not inputs.is_floating_point():
        raise LTBenchError(
            f"counterfactual changes numbers of inputs, and those of these rows are {inputs.dtype}"
        )
    ends = torch.stack([inputs.min(), inputs.max()])
    model, changed = run.model.eval(), inputs.clone()
    for _ in range(edits):
        lead, slope = led(changed, labels, run)
        gain = (slope * (changed - torch.where(slope > 0, ends[0], ends[1]))).flatten(1)
        place = gain.argmax(dim=1, keepdim=True)
        end = ends[(slope.flatten(1).gather(1, place) < 0).long()]
        set_ = changed.flatten(1).scatter(1, place, end).view_as(changed)
        going_on = (lead > 0).view(-1, *[1] * (changed.dim() - 1))
        changed = torch.where(going_on, set_, changed)
    lead, _ = led(changed, labels, run)
    before, _ = led(inputs, labels, run)
    model.train()
    return changed, (before > 0) & (lead <= 0)


def led(inputs, labels, run):
    """By how much each row's class leads the next best score [N], and the slope of that."""
    with torch.enable_grad():
        x = inputs.clone().requires_grad_()
        scores = run.model.head(run.through(run.model, run.plain(x)))
        own = torch.nn.functional.one_hot(labels, run.num_classes).bool()
        lead = scores[own] - scores.masked_fill(own, -torch.inf).max(dim=1).values
        return lead.detach(), grad(lead.sum(), x)[0]


def joined(train, added):
    beside = {name: torch.cat([one, added.beside()[name]]) for name, one in train.beside().items()}
    inputs = torch.cat([train.inputs, added.inputs])
    rows = Rows(inputs, torch.cat([train.labels, added.labels]), categorical=train.categorical)
    return replace(rows, **beside)


@hookimpl
def register_methods(register):
    register(Counterfactual)
